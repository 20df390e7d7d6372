import CasherSystem
import Foundation
import Testing

@testable import CasherOverlay

/// A directory of its own, mounted over itself and served by this process.
final class Mount {
  let base: String
  let directory: String
  let overlay: Overlay
  let log = CallLog()

  init(passthrough: Bool = true, timeout: Double = 1, descriptorLimit: Int? = nil) throws {
    base = "/tmp/casher-overlay-tests.\(getpid()).\(UInt64.random(in: 0 ..< .max))"
    directory = base + "/work"
    for path in [directory, base + "/twin"] {
      try FileManager.default.createDirectory(
        atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
    }
    var configuration = Overlay.Configuration(directory: FilePath(directory))
    configuration.wantsPassthrough = passthrough
    configuration.timeout = timeout
    configuration.descriptorLimit = descriptorLimit
    configuration.trace = ProcessInfo.processInfo.environment["CASHER_TEST_TRACE"] != nil
    overlay = try Overlay(configuration: configuration, recorder: log)
    try overlay.mount()
    // It takes the process's umask away, which other tests' files and commands depend on.
    umask(0o022)
  }

  func end() {
    overlay.stop()
    try? FileManager.default.removeItem(atPath: base)
  }

  /// The directory beneath, reached without the mount.
  var lower: String { "/proc/\(getpid())/fd/\(overlay.rootDescriptor.rawValue)" }

  func view(_ token: String) -> (view: View, path: String) {
    (overlay.makeView(token: FilePath(token), attachment: nil), "\(directory)/.casher-views/\(token)")
  }

  /// Runs a shell script in a directory (the mount's root unless told), and gives what it wrote and its status.
  @discardableResult
  func sh(_ script: String, in place: String? = nil) throws -> Outcome {
    try Outcome.of(script, in: place ?? directory)
  }
}

/// What a shell script did.
struct Outcome: Equatable, CustomStringConvertible {
  var output: String
  var status: Int32

  var description: String { "status \(status): \(output)" }

  /// The lines that only one of the two has; empty when they are equal.
  func difference(from expected: Outcome) -> String {
    if self == expected { return "" }
    let lines = output.split(separator: "\n", omittingEmptySubsequences: false)
    let expectedLines = expected.output.split(separator: "\n", omittingEmptySubsequences: false)
    let changes = lines.difference(from: expectedLines).map { change in
      switch change {
      case .insert(_, let line, _): "+ \(line)"
      case .remove(_, let line, _): "- \(line)"
      }
    }
    return "status \(status), expected \(expected.status)\n" + changes.joined(separator: "\n")
  }

  @discardableResult
  static func of(_ script: String, in directory: String) throws -> Outcome {
    try Background(script, in: directory).outcome()
  }
}

/// A shell script that runs beside the test.
final class Background {
  private let process = Process()
  private let output = Pipe()

  init(_ script: String, in directory: String) throws {
    process.executableURL = URL(fileURLWithPath: "/bin/bash")
    process.arguments = ["-c", "cd '\(directory)' || exit 99; umask 022; exec 2>&1; \(script)"]
    process.environment = ["PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "HOME": "/tmp"]
    process.standardOutput = output
    process.standardInput = FileHandleForNothing.null
    try process.run()
  }

  var isRunning: Bool { process.isRunning }

  /// Waits for its end.
  func outcome() -> Outcome {
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Outcome(output: String(decoding: data, as: UTF8.self), status: process.terminationStatus)
  }
}

private enum FileHandleForNothing {
  static var null: Foundation.FileHandle? { Foundation.FileHandle(forReadingAtPath: "/dev/null") }
}

/// Calls `body` with a mount, and takes it away again whatever happens.
func withMount(
  passthrough: Bool = true, timeout: Double = 1, descriptorLimit: Int? = nil, _ body: (Mount) throws -> Void
) throws {
  let mount = try Mount(passthrough: passthrough, timeout: timeout, descriptorLimit: descriptorLimit)
  defer { mount.end() }
  try body(mount)
}

/// Waits until a condition holds that only the kernel's work makes true; false after half a minute.
func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
  for _ in 0..<3000 {
    if try condition() { return true }
    usleep(10_000)
  }
  return false
}
