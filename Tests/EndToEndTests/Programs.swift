import Foundation
import Testing

/// The built programs: those of $CASHER_BIN_DIR, else of the release build.
///
/// They are copied to where any user may read them, because some tests run them as an ordinary user.
enum Programs {
  static let directory: String = {
    let built = ProcessInfo.processInfo.environment["CASHER_BIN_DIR"] ?? ".build/release"
    let copy = NSTemporaryDirectory() + "/casher-programs-\(getpid())"
    try? FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
    for name in ["acache", "casherfs"] {
      try? FileManager.default.copyItem(atPath: "\(built)/\(name)", toPath: "\(copy)/\(name)")
    }
    atexit { try? FileManager.default.removeItem(atPath: NSTemporaryDirectory() + "/casher-programs-\(getpid())") }
    return copy
  }()

  static var acache: String { directory + "/acache" }
  static var casherfs: String { directory + "/casherfs" }
}

extension Trait where Self == ConditionTrait {
  /// For what only root can do: the tests are run as an ordinary user too (`scripts/test --user`).
  static var root: Self { .enabled("only root can do this") { geteuid() == 0 } }
}

/// How a command came out.
struct Outcome: Equatable {
  var status: Int32
  var output: String
  var error: String

  /// What was printed as JSON.
  func json<Value>(as _: Value.Type = Value.self) throws -> Value {
    let value = try? JSONSerialization.jsonObject(with: Data(output.utf8), options: [.fragmentsAllowed])
    guard let value = value as? Value else { throw UnexpectedJSON(status: status, text: output, error: error) }
    return value
  }
}

struct UnexpectedJSON: Error {
  let status: Int32
  let text: String
  let error: String
}

/// Runs a program to its end, with the usual umask: that of the process that runs the tests is changed by the
/// filesystems which other tests serve in it. Its status is 128 and the signal's number when a signal ended it.
func run(
  _ program: String, _ arguments: [String], in directory: String = "/", input: String? = nil,
  environment: [String: String]
) throws -> Outcome {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/bin/sh")
  process.arguments = ["-c", "umask 022; exec \"$0\" \"$@\"", program] + arguments
  process.currentDirectoryURL = URL(fileURLWithPath: directory)
  process.environment = environment
  let (output, error) = (Pipe(), Pipe())
  process.standardOutput = output
  process.standardError = error
  // Tests run on threads that block most signals, which a child would inherit: a shell that blocks SIGCHLD waits for
  // ever, and one that blocks SIGTERM cannot be ended by timeout(1).
  var (none, blocked) = (sigset_t(), sigset_t())
  sigemptyset(&none)
  pthread_sigmask(SIG_SETMASK, &none, &blocked)
  defer { pthread_sigmask(SIG_SETMASK, &blocked, nil) }
  if let input {
    let pipe = Pipe()
    process.standardInput = pipe
    try process.run()
    pipe.fileHandleForWriting.write(Data(input.utf8))
    try pipe.fileHandleForWriting.close()
  } else {
    process.standardInput = FileHandle.nullDevice
    try process.run()
  }
  // Both at once: a command that fills one pipe while the other is read would wait for ever.
  nonisolated(unsafe) var errorData = Data()
  let group = DispatchGroup()
  DispatchQueue.global().async(group: group) { errorData = error.fileHandleForReading.readDataToEndOfFile() }
  let outputData = output.fileHandleForReading.readDataToEndOfFile()
  group.wait()
  process.waitUntilExit()
  let status =
    process.terminationReason == .uncaughtSignal ? 128 + process.terminationStatus : process.terminationStatus
  return Outcome(
    status: status, output: String(decoding: outputData, as: UTF8.self),
    error: String(decoding: errorData, as: UTF8.self)
  )
}
