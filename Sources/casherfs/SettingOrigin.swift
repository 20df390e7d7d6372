import CasherSystem

/// Where a setting's value comes from.
enum SettingOrigin {
  /// An option of this command.
  case flag(String)
  case environment(String)
  case file(FilePath, line: Int)
  case builtIn

  /// `from $CASHER_TTL`, `from casher.yml, line 3`, `built in`.
  var text: String {
    switch self {
    case .flag(let name): "from \(name)"
    case .environment(let name): "from $\(name)"
    case .file(let path, let line): "from \(path), line \(line)"
    case .builtIn: "built in"
    }
  }

  /// The members `origin` and `source` of JSON.
  var members: [(String, JSON)] {
    let (origin, source, line): (String, JSON, JSON) =
      switch self {
      case .flag(let name): ("command line", .string(name), .null)
      case .environment(let name): ("environment", .string(name), .null)
      case .file(let path, let line): ("file", .path(path), .integer(Int64(line)))
      case .builtIn: ("built in", .null, .null)
      }
    return [("origin", .string(origin)), ("source", source), ("line", line)]
  }
}
