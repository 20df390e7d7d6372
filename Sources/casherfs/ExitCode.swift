/// How casherfs ends (docs/exit-codes.md). The numbers are promised to scripts and never given another meaning.
enum ExitCode: Int32, Sendable {
  case success = 0
  /// Something went wrong that has no number of its own.
  case failure = 1
  /// The command line cannot be understood.
  case usage = 2
  /// The directory is not there.
  case missing = 3
  case notDirectory = 4
  case alreadyMounted = 5
  /// Processes still use the mount, or another mount is being made there.
  case busy = 6
  /// The directory may not be read or entered.
  case unreadable = 7
  /// The kernel or the system does not let this user mount with FUSE.
  case noFuse = 8
  /// The cache directory cannot be used.
  case storeUnusable = 9
  case notMounted = 10
  /// There is a mount, but the daemon that served it is gone.
  case dead = 11
  case noSuchRun = 12
  /// The beginning of an id fits several runs.
  case ambiguousRun = 13
  /// The run left nothing of that name.
  case noSuchOutput = 20
  /// Another program is needed and not installed.
  case missingProgram = 21
  /// A file to be imported is no archive of runs, or was changed.
  case damagedArchive = 22
  /// A configuration file says what it cannot.
  case badConfiguration = 30
}

/// What ends a command early: one sentence that says what is wrong and what to do about it.
struct Failure: Error {
  let code: ExitCode
  let message: String

  init(_ code: ExitCode, _ message: String) {
    self.code = code
    self.message = message
  }
}
