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
  case noSuchFreeze = 14
  /// The run left nothing of that name.
  case noSuchOutput = 20
  /// Another program is needed and not installed.
  case missingProgram = 21
  /// A file to be imported is no archive of runs, or was changed.
  case damagedArchive = 22
  /// A configuration file says what it cannot.
  case badConfiguration = 30

  /// For people, in the order of docs/exit-codes.md, which says more.
  static let meanings: [(ExitCode, String)] = [
    (.success, "Done"), (.failure, "Something went wrong that has no number of its own"),
    (.usage, "The command line cannot be understood"), (.missing, "The directory is not there"),
    (.notDirectory, "It is not a directory"), (.alreadyMounted, "It is mounted already"), (.busy, "It is in use"),
    (.unreadable, "It may not be read or entered"), (.noFuse, "FUSE cannot be used"),
    (.storeUnusable, "The cache directory cannot be used"), (.notMounted, "It is not mounted"),
    (.dead, "It is mounted, but its daemon is gone"), (.noSuchRun, "There is no such run"),
    (.ambiguousRun, "Several runs begin with what was given"), (.noSuchFreeze, "There is no such freeze"),
    (.noSuchOutput, "The run left no such output"),
    (.missingProgram, "Another program is needed and not installed"),
    (.damagedArchive, "What is to be imported is no export, or was changed"),
    (.badConfiguration, "A configuration file says what it cannot"),
  ]
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
