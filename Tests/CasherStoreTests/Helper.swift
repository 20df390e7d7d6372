import Foundation

/// The helper process beside the test bundle.
enum Helper {
  struct Outcome {
    /// The exit status; the signal with a minus where there was one.
    let status: Int32
    let output: String
  }

  /// Starts it and gives what waits for its end.
  static func start(
    _ arguments: [String], fault: String? = nil, user: UInt32? = nil
  ) throws -> () -> Outcome {
    let process = Process()
    let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let helper = URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("StoreTestHelper")
    process.executableURL = helper
    process.arguments = arguments
    if let user {
      process.executableURL = URL(fileURLWithPath: "/usr/bin/setpriv")
      process.arguments = ["--reuid", "\(user)", "--regid", "\(user)", "--clear-groups", helper.path] + arguments
    }
    var environment = ProcessInfo.processInfo.environment
    environment["CASHER_FAULT"] = fault
    process.environment = environment
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    return {
      let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      let sign: Int32 = process.terminationReason == .uncaughtSignal ? -1 : 1
      return Outcome(status: sign * process.terminationStatus, output: output)
    }
  }

  static func run(_ arguments: [String], fault: String? = nil, user: UInt32? = nil) throws -> Outcome {
    try start(arguments, fault: fault, user: user)()
  }
}
