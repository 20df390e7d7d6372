import CLinux
import CasherRecord
import CasherSystem
import Foundation

/// A directory that says of itself that it is a mount, served by a thread of the test that speaks the daemon's part of
/// the protocol. What is not in it is a filesystem: its view is an ordinary directory.
final class FakeMount: Sendable {
  let directory: FilePath
  let socket: FilePath
  private let listener: FileDescriptor
  private let log = Monitor<[CallerMessage]>([])

  /// The view that `run` replies name.
  static let view = FilePath(".views/one")

  /// Serves every connection with `body`, one after the other's acceptance, each on a thread of its own.
  init(_ body: @escaping @Sendable (Conversation) throws -> Void) throws {
    var template = Array("/tmp/acache-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw Errno.current }
    let base = FilePath(template.dropLast().map { UInt8(bitPattern: $0) })
    directory = base.appending("mount")
    socket = base.appending("socket")
    let here = FileDescriptor.workingDirectory
    try here.makeDirectory(directory, mode: 0o755)
    for name in [".views", ".views/one", ".views/one/sub", "sub"] {
      try here.makeDirectory(directory.appending(name), mode: 0o755)
    }
    try FakeMount.mark(directory, MountAnswer(socket: socket, mount: directory, directory: "", view: ""))
    try FakeMount.mark(
      directory.appending("sub"), MountAnswer(socket: socket, mount: directory, directory: "sub", view: ""))
    // Whoever is in the view sees its directories under the mount's path.
    for (name, path) in [("", ""), ("sub", "sub")] {
      try FakeMount.mark(
        directory.appending(FakeMount.view).appending(name),
        MountAnswer(socket: socket, mount: directory, directory: FilePath(path), view: FakeMount.view))
    }
    listener = try MessageSocket.listen(at: socket)
    let (listener, log) = (listener, log)
    try SystemThread.start {
      while let connection = try? MessageSocket.accept(on: listener) {
        try? SystemThread.start {
          let conversation = Conversation(connection, log)
          try? body(conversation)
          connection.close()
        }
      }
    }
  }

  deinit {
    shutdown(listener.rawValue, Int32(SHUT_RDWR))
    listener.close()
    try? FileManager.default.removeItem(atPath: directory.parent.description)
  }

  private static func mark(_ directory: FilePath, _ answer: MountAnswer) throws {
    let value = answer.encoded
    let result = directory.withCString { casher_setxattr($0, ProtocolVersion.attribute, value, value.count) }
    if result != 0 { throw Errno.current }
  }

  /// Everything that any caller has said so far.
  var messages: [CallerMessage] { log.withLock { $0 } }

  var reports: [FinishReport] {
    messages.compactMap { if case .finished(let report) = $0 { report } else { nil } }
  }

  /// Runs a shell script in the mount, in which `acache` is the program under test, and `eventually CONDITION` waits until
  /// those words of the shell hold: two minutes at most, after which it says so and ends the script with all its jobs.
  func shell(_ script: String, in place: String = ".") throws -> Outcome {
    try FakeMount.shell("cd \(directory)/\(place)\n" + script)
  }

  static func shell(_ script: String) throws -> Outcome {
    let (out, error) = (try FileDescriptor.makePipe(), try FileDescriptor.makePipe())
    let null = try FileDescriptor.open("/dev/null", O_RDONLY)
    var setup = ChildProcess.Setup()
    setup.descriptors = [(null, 0), (out.writing, 1), (error.writing, 2)]
    let prologue = """
      export PATH='\(programs):/usr/bin:/bin'
      eventually() {
        for attempt in $(seq 12000); do eval "$1" && return; sleep 0.01; done
        echo "never: $1"; kill -KILL $(jobs -p); exit 99
      }

      """
    let process = try ChildProcess.spawn("/bin/bash", ["bash", "-c", FilePath(prologue + script)], setup)
    for end in [out.writing, error.writing, null] { end.close() }
    let errors = Monitor<[UInt8]?>(nil)
    try SystemThread.start {
      let bytes = (try? error.reading.readAll()) ?? []
      errors.update { $0 = bytes }
      error.reading.close()
    }
    let output = try out.reading.readAll()
    out.reading.close()
    let errorText = errors.wait { $0 } ?? []
    return Outcome(
      output: String(decoding: output, as: UTF8.self), error: String(decoding: errorText, as: UTF8.self),
      status: try process.wait())
  }

  /// The directory of this build's executables.
  private static var programs: String {
    let this = (try? FileDescriptor.workingDirectory.readLink("/proc/self/exe").parent) ?? ""
    // The tests run either in a program of their own beside acache or in the toolchain's runner.
    for candidate in [this.description, FileManager.default.currentDirectoryPath + "/.build/debug"]
    where FileManager.default.isExecutableFile(atPath: candidate + "/acache") {
      return candidate
    }
    return this.description
  }

  struct Outcome: Equatable {
    var output: String
    var error: String
    var status: Int32
  }
}

/// The daemon's side of one connection.
struct Conversation: Sendable {
  private let socket: MessageSocket
  private let log: Monitor<[CallerMessage]>

  init(_ socket: MessageSocket, _ log: Monitor<[CallerMessage]>) {
    self.socket = socket
    self.log = log
  }

  struct Ended: Error {}

  func receive() throws -> CallerMessage {
    guard let received = try socket.receive(limit: ProtocolVersion.messageLimit) else { throw Ended() }
    for descriptor in received.descriptors { descriptor.close() }
    let message = try CallerMessage(encoded: received.bytes)
    log.update { $0.append(message) }
    return message
  }

  func receiveCall() throws -> CallRequest {
    guard case .call(let request) = try receive() else { throw Ended() }
    return request
  }

  func send(_ message: DaemonMessage, _ descriptors: [FileDescriptor] = []) throws {
    try socket.send(message.encoded, descriptors: descriptors)
  }

  /// Lets the command run, and answers its report. Returns what was kept of its streams.
  @discardableResult
  func run(view: FilePath = FakeMount.view, outside: CallOptions.OutsidePolicy = .trust) throws -> [UInt8] {
    let spool = FileDescriptor(rawValue: casher_memfd_create("spool", 1))
    defer { spool.close() }
    try send(
      .run(
        RunReply(view: view, run: Digest(words: (1, 2, 3, 4)), outside: outside, outsideIgnored: [], messages: [])),
      [spool])
    conversation: while true {
      switch try receive() {
      case .finished: break conversation
      case .withoutView: try send(.proceed)
      default: break
      }
    }
    try send(.recorded(uncacheable: nil, lines: ["recorded"]))
    try spool.seek(to: 0)
    return try spool.readAll()
  }
}
