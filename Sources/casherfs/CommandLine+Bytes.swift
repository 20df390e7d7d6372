import CasherSystem

extension CommandLine {
  /// What the program was called as; nil when its caller did not say.
  static var programName: FilePath? {
    argc > 0 ? unsafeArgv[0].map { FilePath(cString: $0) } : nil
  }

  /// The program's arguments without its name, byte for byte: `arguments` would replace what is not UTF-8.
  static var byteArguments: [FilePath] {
    (1..<max(1, Int(argc))).compactMap { index in unsafeArgv[index].map { FilePath(cString: $0) } }
  }
}
