import CLinux
import CasherRecord
import CasherSystem
import Foundation
import Testing

@testable import CasherTracer

/// Held while a file is written and while a process is started: a child that is between fork and exec holds every
/// descriptor of the tests, and a program that is open for writing cannot be executed.
private let starting = NSLock()

/// A directory for one test, gone with it; its path has no symlinks.
final class Scratch {
  let path: FilePath

  init() throws {
    let template = FileManager.default.temporaryDirectory.appendingPathComponent("casher-tracer-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: template, withIntermediateDirectories: true)
    path = try FilePath(template.path).canonical()
  }

  deinit { try? FileManager.default.removeItem(atPath: path.description) }

  func callAsFunction(_ name: String) -> FilePath { path.appending(name) }

  @discardableResult
  func write(_ name: String, _ content: String = "content\n", executable: Bool = false) throws -> FilePath {
    let file = path.appending(name)
    try FileManager.default.createDirectory(
      atPath: file.parent.description, withIntermediateDirectories: true)
    try starting.withLock { try Data(content.utf8).write(to: URL(fileURLWithPath: file.description)) }
    if executable { chmod(file.description, 0o755) }
    return file
  }

  /// Compiles a C program.
  func compile(_ source: String, _ flags: [String] = []) throws -> FilePath {
    let program = self("program-\(UUID().uuidString)")
    let file = try write("\(program.lastComponent).c", source)
    let compiler = Process()
    compiler.executableURL = URL(fileURLWithPath: "/usr/bin/gcc")
    compiler.arguments = ["-w", "-o", program.description, file.description, "-pthread"] + flags
    try starting.withLock { try compiler.run() }
    compiler.waitUntilExit()
    try #require(compiler.terminationStatus == 0)
    return program
  }
}

/// A finished trace.
struct Trace {
  let parser: TraceParser
  /// What the traced command wrote to stdout.
  let output: [UInt8]
  /// The trace as it came.
  let text: [UInt8]

  var accesses: [FilePath: OutsideAccess] {
    Dictionary(uniqueKeysWithValues: parser.accesses().map { ($0.path, $0) })
  }

  subscript(path: FilePath) -> OutsideAccess { accesses[path] ?? OutsideAccess(path: path) }
}

let straceOptions: [FilePath] = ["/proc", "/sys", "/dev"]

/// Runs `command` under strace the way acache does, and parses the trace as it comes.
func trace(
  _ command: [String], in directory: FilePath, mount: FilePath? = nil, ignored: [FilePath] = straceOptions,
  environment: [String] = ["PATH=/usr/bin:/bin", "LC_ALL=C"], chunk: Int = 65536
) throws -> Trace {
  let strace = try #require(StraceCommand.find(path: "/usr/local/bin:/usr/bin:/bin"))
  var pipe: [Int32] = [0, 0]
  var output: [Int32] = [0, 0]
  try #require(casher_pipe2(&pipe, O_CLOEXEC) == 0 && casher_pipe2(&output, O_CLOEXEC) == 0)
  let name = try FileDescriptor.open(FileDescriptor(rawValue: pipe[1]).procPath, Int32(CASHER_O_PATH))

  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_adddup2(&actions, name.rawValue, 900)
  posix_spawn_file_actions_adddup2(&actions, output[1], 1)
  let arguments = strace.arguments(output: "/proc/self/fd/900", command: command.map { Array($0.utf8) })
  // The test's thread has signals blocked, which a shell that waits for its children does not expect.
  var attributes = posix_spawnattr_t()
  posix_spawnattr_init(&attributes)
  defer { posix_spawnattr_destroy(&attributes) }
  var none = sigset_t()
  sigemptyset(&none)
  var all = sigset_t()
  sigfillset(&all)
  posix_spawnattr_setsigmask(&attributes, &none)
  posix_spawnattr_setsigdefault(&attributes, &all)
  posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
  let inDirectory = ["/usr/bin/env", "-C", directory.description].map { Array($0.utf8) } + arguments
  var argv = inDirectory.map { strdup(String(decoding: $0, as: UTF8.self)) } + [nil]
  var envp = environment.map { strdup($0) } + [nil]
  defer { for pointer in argv + envp { free(pointer) } }
  var process: pid_t = 0
  let failure = starting.withLock { posix_spawn(&process, "/usr/bin/env", &actions, &attributes, &argv, &envp) }
  try #require(failure == 0)
  name.close()
  close(output[1])

  let parser = TraceParser(.init(directory: directory, mount: mount, ignored: ignored))
  var text: [UInt8] = []
  var printed: [UInt8] = []
  var writer: Int32? = pipe[1]
  var buffer = [UInt8](repeating: 0, count: chunk)
  var open = [pipe[0], output[0]]
  while !open.isEmpty {
    var polled = open.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    poll(&polled, nfds_t(polled.count), -1)
    for entry in polled where entry.revents != 0 {
      let count = read(entry.fd, &buffer, buffer.count)
      if count <= 0 {
        open.removeAll { $0 == entry.fd }
        // strace has not come to open the pipe when it could not start.
        if let end = writer { close(end) }
        writer = nil
        continue
      }
      if entry.fd == output[0] {
        printed += buffer[..<count]
        continue
      }
      if let end = writer { close(end) }
      writer = nil
      text += buffer[..<count]
      buffer[..<count].withUnsafeBytes { parser.consume($0) }
    }
  }
  parser.finish()
  close(pipe[0])
  close(output[0])
  var status: Int32 = 0
  waitpid(process, &status, 0)
  return Trace(parser: parser, output: printed, text: text)
}

/// Parses lines as they might stand in a trace.
func parse(_ lines: String, directory: FilePath = "/start", mount: FilePath? = nil, chunk: Int? = nil) -> TraceParser {
  let parser = TraceParser(.init(directory: directory, mount: mount, ignored: straceOptions))
  let bytes = Array(lines.utf8)
  for start in stride(from: 0, to: bytes.count, by: chunk ?? max(bytes.count, 1)) {
    bytes[start..<min(start + (chunk ?? bytes.count), bytes.count)].withUnsafeBytes { parser.consume($0) }
  }
  parser.finish()
  return parser
}
