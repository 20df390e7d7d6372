import CasherDaemon
import CasherLauncher
import CasherStore
import CasherSystem

extension Command {
  static let config = Command(
    name: "config", operands: "", operandCount: 0...0, summary: "show every setting, and where it comes from",
    details: """
      Shows the settings that are in force: where the cache is and how large it may get, how long the kernel keeps \
      names, which environment variables and which paths outside a mount never count, and the defaults of acache's \
      options. Each comes from the command line, from an environment variable, or is built in.
      """,
    options: [Option.json, Option.cacheDirectory], run: showConfiguration)
}

/// One setting and where it comes from.
private struct Setting {
  enum Origin {
    /// The option of this command.
    case flag(String)
    case environment(String)
    case builtIn
  }

  var name: String
  var value: JSON
  /// The value for people, a line each.
  var lines: [String]
  var origin: Origin

  init(_ name: String, _ value: JSON, _ lines: [String], _ origin: Origin) {
    self.name = name
    self.value = value
    self.lines = lines
    self.origin = origin
  }
}

private func showConfiguration(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let settings = generalSettings(try StoreAccess(arguments), arguments) + launcherSettings()
  if arguments.has("--json") {
    Console.print(bytes: Array(JSON.object(settings.map { ($0.name, json($0)) }).text.utf8))
  } else {
    Console.print(settings.map(text).joined(separator: "\n"))
  }
  return .success
}

private func generalSettings(_ store: StoreAccess, _ arguments: Arguments) -> [Setting] {
  let limit = "CASHER_MAX_CACHE_BYTES"
  let timeout = MountOptions().timeout
  let noise = EnvironmentPolicy.noise
  let outside = OutsidePaths.neverCounting
  return [
    Setting("cache_directory", .path(store.directory), ["\(store.directory)"], originOfDirectory(arguments)),
    Setting(
      "max_cache_bytes", .integer(store.limit), [Quantity.size(store.limit)],
      Environment.nonEmptyValue(limit) == nil ? .builtIn : .environment(limit)),
    Setting(
      "timeout_seconds", .number(Double(timeout) / 1e9),
      ["\(Quantity.duration(timeout)) unless 'casherfs mount -o timeout=' says otherwise"], .builtIn),
    Setting(
      "ignored_environment", .array(noise.map { .path($0) }), noise.map(\.description), .builtIn),
    Setting("ignored_outside", .array(outside.map { .path($0) }), outside.map(\.description), .builtIn),
  ]
}

private func originOfDirectory(_ arguments: Arguments) -> Setting.Origin {
  if arguments.has(Option.cacheDirectory.name) { return .flag(Option.cacheDirectory.name) }
  for name in ["CASHER_CACHE_DIR", "XDG_CACHE_HOME"] {
    guard let value = Environment.nonEmptyValue(name) else { continue }
    if name == "CASHER_CACHE_DIR" || value.isAbsolute { return .environment(name) }
  }
  return .builtIn
}

/// The options of acache that have a default in the environment.
private func launcherSettings() -> [Setting] {
  CasherLauncher.Option.all.compactMap { option in
    guard let variable = option.variable else { return nil }
    let given = Environment.nonEmptyValue(variable)
    return Setting(
      "acache_" + option.name.replacing("-", with: "_"), given.map { .path($0) } ?? .null,
      [given?.description ?? "not set"], given == nil ? .builtIn : .environment(variable))
  }
}

private func json(_ setting: Setting) -> JSON {
  let (origin, source): (String, JSON) =
    switch setting.origin {
    case .flag(let name): ("command line", .string(name))
    case .environment(let name): ("environment", .string(name))
    case .builtIn: ("built in", .null)
    }
  return .object([("value", setting.value), ("origin", .string(origin)), ("source", source)])
}

private func text(_ setting: Setting) -> String {
  let origin =
    switch setting.origin {
    case .flag(let name): "from \(name)"
    case .environment(let name): "from $\(name)"
    case .builtIn: "built in"
    }
  let head = Help.pad(setting.name, to: 22)
  if setting.lines.count == 1 { return "\(head)  \(setting.lines[0])  (\(origin))" }
  var result = ["\(head)  (\(origin))"]
  var line = ""
  for word in setting.lines {
    if line.count + word.count > 74 {
      result.append("   \(line)")
      line = ""
    }
    line += " \(word)"
  }
  return (result + ["   \(line)"]).joined(separator: "\n")
}
