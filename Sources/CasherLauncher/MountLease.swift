import CasherRecord
import CasherSystem

/// A mount that is there for this call (`--mount`): made where there is none, shared with other calls that want the same,
/// and gone with the last of them.
final class MountLease {
  private let socket: MessageSocket

  private init(_ socket: MessageSocket) { self.socket = socket }

  /// How often the mount is looked for while another call makes it, or it is just ending; 20 ms lie between.
  private static let attempts = 250

  /// Mounts `directory` unless the working directory is in a mount already, and keeps the mount. Enters the working
  /// directory again, which is then in it.
  static func take(on directory: FilePath) -> Result<MountLease, NoCache> {
    if case .success(let location) = MountLocation.find(), let lease = ask(location.answer.socket) {
      return .success(lease)
    }
    let (here, target): (FilePath, FilePath)
    do throws(Errno) {
      here = try FilePath.currentDirectory()
      target = try directory.canonical()
      guard here.isWithin(target) else {
        return .failure(NoCache("\(directory) of --mount does not hold the working directory \(here)"))
      }
    } catch { return .failure(NoCache("\(directory) of --mount cannot be used (\(error))")) }
    var hasFailed = false
    for _ in 0..<attempts {
      // By its whole path: the working directory may be that of a mount that is just ending.
      if let failure = mount(target, as: directory) {
        // Who looks at a mount in the moment in which it ends is told of a broken connection.
        if hasFailed { return .failure(NoCache(failure)) }
        hasFailed = true
      }
      // From beneath the mount into it.
      try? here.makeCurrentDirectory()
      if case .success(let location) = MountLocation.find(), let lease = ask(location.answer.socket) {
        return .success(lease)
      }
      var nothing: [PollItem] = []
      _ = try? PollItem.wait(&nothing, timeout: 20)
    }
    return .failure(NoCache("\(directory) of --mount is being mounted and unmounted by others all the time"))
  }

  /// Nil when the mount is ending.
  private static func ask(_ path: FilePath) -> MountLease? {
    guard let socket = try? MessageSocket.connect(to: path) else { return nil }
    let lease = MountLease(socket)
    guard (try? socket.send(CallerMessage.control("lease").encoded)) != nil, lease.isAnswered() else {
      socket.close()
      return nil
    }
    return lease
  }

  private func isAnswered() -> Bool {
    guard let message = try? socket.receive(limit: 1 << 16) else { return false }
    for descriptor in message.descriptors { descriptor.close() }
    if case .answer = try? DaemonMessage(encoded: message.bytes) { return true }
    return false
  }

  /// Runs `casherfs mount`. Nil when there is a mount now, or another process is making or ending one; else why not.
  private static func mount(_ target: FilePath, as directory: FilePath) -> String? {
    do throws(Errno) {
      let null = try FileDescriptor.open("/dev/null", FileDescriptor.readOnly)
      defer { null.close() }
      let complaints = try FileDescriptor.makePipe()
      defer { complaints.reading.close() }
      var setup = ChildProcess.Setup()
      setup.descriptors = [(null, 0), (complaints.writing, 1), (complaints.writing, 2)]
      let child: ChildProcess
      do throws(Errno) {
        child = try ChildProcess.spawn(
          try program(), ["casherfs", "mount", "-o", "transient", "--", target], setup)
      } catch {
        complaints.writing.close()
        throw error
      }
      complaints.writing.close()
      let text = try complaints.reading.readAll(limit: 1 << 16)
      let status = try child.wait()
      if status == 0 || status == alreadyMounted || status == busy { return nil }
      let line = String(decoding: text.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
      let sentence = line.hasPrefix("casherfs: ") ? String(line.dropFirst(10)) : line
      return "\(directory) cannot be mounted: \(sentence.hasSuffix(".") ? String(sentence.dropLast()) : sentence)"
    } catch { return "casherfs cannot be started to mount \(directory) (\(error))" }
  }

  /// Exit statuses of `casherfs mount` (docs/exit-codes.md).
  private static let alreadyMounted: Int32 = 5
  private static let busy: Int32 = 6

  /// The casherfs beside this program, else that on PATH.
  private static func program() throws(Errno) -> FilePath {
    let beside = try FileDescriptor.workingDirectory.readLink("/proc/self/exe").parent.appending("casherfs")
    if (try? FileDescriptor.workingDirectory.status(of: beside)) != nil { return beside }
    let found = CommandSearch.program(Array("casherfs".utf8), environment: ProcessArguments.environment)
    guard let found else { throw .noSuchFile }
    return found
  }

  /// Needs the mount no more. When nobody else does, it is gone when this returns, and so is its daemon.
  func giveBack() {
    // No directory of the mount must be in use.
    try? FilePath("/").makeCurrentDirectory()
    try? socket.send(CallerMessage.control("release").encoded)
    while let message = try? socket.receive(limit: 1 << 16) {
      for descriptor in message.descriptors { descriptor.close() }
    }
    socket.close()
  }
}
