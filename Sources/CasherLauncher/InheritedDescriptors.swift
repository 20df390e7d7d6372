import CasherRecord
import CasherSystem
import Glibc

/// The descriptors besides the standard streams that acache was given and that its command gets: a shell's process
/// substitutions and redirections (`3< file`), and what a program above has left open by mistake.
///
/// What is read from and written to them nobody observes. So a file counts with its content and must be as it was when
/// the command has ended; where a pipe, a socket or a directory seems to be meant for the command, nothing is cached.
struct InheritedDescriptors {
  private struct File {
    let descriptor: FileDescriptor
    let offset: Int64
    let status: FileStatus
  }

  private var files: [File] = []
  /// Pieces of the key.
  private(set) var pieces: [[UInt8]] = []
  /// The first one that keeps the call from being cached.
  private var unobservable: FileDescriptor?

  /// Larger files (bytes) count with their status alone.
  private static let contentLimit: Int64 = 64 << 10
  /// What stands below this number has been put there by somebody who meant it: shells take these for redirections.
  private static let deliberate: Int32 = 10

  init(command: [[UInt8]], environment: [[UInt8]]) {
    let jobServer = InheritedDescriptors.jobServer(environment)
    let entries = (try? FileDescriptor.workingDirectory.entries(of: "/proc/self/fd")) ?? []
    let numbers = entries.compactMap { Int32(String(decoding: $0.name.bytes, as: UTF8.self)) }.sorted()
    for number in numbers where number > 2 && !jobServer.contains(number) {
      let descriptor = FileDescriptor(rawValue: number)
      guard descriptor.isInherited, let status = try? descriptor.status() else { continue }
      let isMeant = number < InheritedDescriptors.deliberate || InheritedDescriptors.names(number, command)
      switch status.type {
      case .regular: add(descriptor, status)
      case .fifo: if isMeant || descriptor.isReadable { refuse(descriptor) }
      case .socket, .directory: if isMeant { refuse(descriptor) }
      case .symlink, .characterDevice, .blockDevice, .unknown: break
      }
    }
  }

  private mutating func add(_ descriptor: FileDescriptor, _ status: FileStatus) {
    guard let offset = try? descriptor.seek(to: 0, from: SEEK_CUR) else { return refuse(descriptor) }
    files.append(File(descriptor: descriptor, offset: offset, status: status))
    var text = Array("\(descriptor.rawValue) \(offset) ".utf8)
    if descriptor.isReadable {
      if status.size <= InheritedDescriptors.contentLimit {
        guard let content = content(of: descriptor, size: Int(status.size)) else { return refuse(descriptor) }
        text += content
      } else {
        text += "\(status.key) \(status.size) \(status.modified) \(status.changed)".utf8
      }
    }
    pieces.append(Invocation.piece("descriptor", text))
  }

  private func content(of descriptor: FileDescriptor, size: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: size)
    var count = 0
    while count < size {
      let begin = count
      let got = bytes.withUnsafeMutableBytes {
        try? descriptor.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[begin...]), at: Int64(begin))
      }
      guard let got, got > 0 else { return nil }
      count += got
    }
    return bytes
  }

  /// No recorded run has this piece in its key.
  private mutating func refuse(_ descriptor: FileDescriptor) {
    if unobservable == nil { unobservable = descriptor }
    pieces.append(Invocation.piece("descriptor", Array("\(getpid()) \(Clock.now())".utf8)))
  }

  /// Why the run is not to be stored, once the command has ended.
  func obstacle() -> Uncacheable? {
    if let unobservable { return .inheritedDescriptor(unobservable.rawValue) }
    let used = files.first { file in
      guard let now = try? file.descriptor.status(), now.isSameGeneration(as: file.status) else { return true }
      return (try? file.descriptor.seek(to: 0, from: SEEK_CUR)) != file.offset
    }
    return used.map { .inheritedDescriptor($0.descriptor.rawValue) }
  }

  /// Whether an argument speaks of the descriptor: `/dev/fd/N`, as a shell's process substitution does, or `>&N`.
  private static func names(_ number: Int32, _ command: [[UInt8]]) -> Bool {
    let patterns = [Array("/fd/\(number)".utf8), Array("&\(number)".utf8)]
    return command.contains { argument in
      patterns.contains { pattern in
        guard argument.count >= pattern.count else { return false }
        return (0...(argument.count - pattern.count)).contains { begin in
          let end = begin + pattern.count
          guard argument[begin] == pattern[0], argument[begin..<end].elementsEqual(pattern) else { return false }
          return end == argument.count || !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(argument[end])
        }
      }
    }
  }

  /// The pipe by which make(1) shares out its jobs, which says nothing that a result depends on
  /// (`--jobserver-auth=3,4` in $MAKEFLAGS).
  private static func jobServer(_ environment: [[UInt8]]) -> [Int32] {
    guard let flags = environment.first(where: { $0.starts(with: "MAKEFLAGS=".utf8) }) else { return [] }
    return flags.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }.flatMap { word -> [Int32] in
      guard word.starts(with: "--jobserver".utf8), let equals = word.firstIndex(of: UInt8(ascii: "=")) else {
        return []
      }
      return word[(equals + 1)...].split(separator: UInt8(ascii: ",")).compactMap {
        Int32(String(decoding: $0, as: UTF8.self))
      }
    }
  }
}
