import CasherSystem

extension CommandLine {
  /// The program's arguments without its name, byte for byte: `arguments` would replace what is not UTF-8.
  static var byteArguments: [FilePath] {
    (1..<max(1, Int(argc))).compactMap { index in unsafeArgv[index].map { FilePath(cString: $0) } }
  }
}
