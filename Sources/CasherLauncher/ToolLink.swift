import CasherSystem

/// acache called by another name: a link to it that stands for the program of that name which is next on PATH.
enum ToolLink {
  /// Where the calls of links are noted that a process descends from: a digest each.
  private static let variable = "CASHER_LINKS"
  /// A program may call itself again with the same arguments, having changed something else before; not this often.
  private static let repetitions = 8
  private static let remembered = 64

  /// What a call by a link stands for.
  struct Call {
    /// The program's path and the arguments.
    var command: [[UInt8]]
    /// What the command gets besides its environment.
    var environmentEntry: [UInt8]
  }

  /// Why a link leads to no program: a sentence, and acache's exit status.
  struct Failure: Error {
    let sentence: String
    let status: Int32
  }

  /// Nil when acache was called by its own name.
  static func resolve(_ arguments: [[UInt8]], _ environment: [[UInt8]]) throws(Failure) -> Call? {
    let name = FilePath(arguments.first ?? []).lastComponent
    if name.isEmpty || name.bytes.starts(with: "acache".utf8) { return nil }
    guard let program = next(name, environment) else {
      throw Failure(
        sentence: "\(name): there is no program of this name on PATH but links to acache", status: ExitStatus.notFound)
    }
    let command = [program.bytes] + arguments.dropFirst()
    let digest = String(self.digest(of: command), radix: 16)
    var calls = calls(environment)
    if calls.count(where: { $0.elementsEqual(digest.utf8) }) >= repetitions {
      throw Failure(
        sentence: "\(program) calls \(name) again and again, which is a link to acache that leads to \(program): "
          + "give it the path of the program that it means", status: ExitStatus.failure)
    }
    calls.append(Array(digest.utf8)[...])
    let entry = Array("\(variable)=".utf8) + calls.suffix(remembered).joined(separator: [UInt8(ascii: ":")])
    return Call(command: command, environmentEntry: entry)
  }

  /// The environment of the command.
  static func environment(_ environment: [[UInt8]], with entry: [UInt8]) -> [[UInt8]] {
    environment.filter { !$0.starts(with: "\(variable)=".utf8) } + [entry]
  }

  private static func calls(_ environment: [[UInt8]]) -> [ArraySlice<UInt8>] {
    guard let entry = environment.first(where: { $0.starts(with: "\(variable)=".utf8) }) else { return [] }
    return entry.dropFirst(variable.utf8.count + 1).split(separator: UInt8(ascii: ":"))
  }

  /// The first executable file of that name on PATH that is not acache.
  private static func next(_ name: FilePath, _ environment: [[UInt8]]) -> FilePath? {
    let own = try? status(of: "/proc/self/exe").key
    let path = environment.first { $0.starts(with: "PATH=".utf8) }?.dropFirst(5) ?? Array("/bin:/usr/bin".utf8)[...]
    for directory in path.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false) {
      let place = FilePath(directory.isEmpty ? Array(".".utf8)[...] : directory).appending(name)
      guard let status = try? status(of: place), status.type == .regular, place.isExecutable, status.key != own,
        (try? place.canonical())?.lastComponent != "acache"
      else { continue }
      return place
    }
    return nil
  }

  private static func status(of path: FilePath) throws(Errno) -> FileStatus {
    let file = try FileDescriptor.open(path, FileDescriptor.pathOnly)
    defer { file.close() }
    return try file.status()
  }

  /// FNV-1a, 64 bits, of the command and the working directory.
  private static func digest(of command: [[UInt8]]) -> UInt64 {
    var digest: UInt64 = 0xcbf2_9ce4_8422_2325
    for piece in command + [(try? FilePath.currentDirectory())?.bytes ?? []] {
      for byte in piece + [0] { digest = (digest ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }
    return digest
  }
}
