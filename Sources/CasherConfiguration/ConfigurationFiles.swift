import CasherSystem

/// The configuration files that a mount, or a call of casherfs, goes by.
public struct ConfigurationFiles: Sendable {
  private let sources: [ConfigurationSource]

  /// What the files say now.
  public struct Contents: Sendable {
    /// Those that go before others first.
    public var files: [ConfigurationFile] = []
    /// Sentences about files that were left out.
    public var warnings: [String] = []

    public init() {}

    /// The setting of a mount in the first file that has it.
    public func value(of name: String) -> (value: SettingValue, file: FilePath, line: Int)? {
      for file in files {
        if let entry = file.settings[name] { return (entry.value, file.path, entry.line) }
      }
      return nil
    }
  }

  /// `workDirectory` is at `path`, and `directory` is open on it; nil where there is none.
  public init(workDirectory path: FilePath?, open directory: FileDescriptor?) {
    var sources: [ConfigurationSource] = []
    if let path, let directory { sources.append(.ofWorkDirectory(path, open: directory)) }
    if let user = ConfigurationSource.ofUser() { sources.append(user) }
    self.sources = sources
  }

  public func read() throws(InvalidConfiguration) -> Contents {
    var contents = Contents()
    for source in sources {
      switch try source.current() {
      case .none: break
      case .file(let file): contents.files.append(file)
      case .untrusted(let sentence): contents.warnings.append(sentence)
      }
    }
    return contents
  }
}
