import CasherConfiguration
import CasherDaemon
import CasherLauncher
import CasherStore
import CasherRecord
import CasherSystem

extension Command {
  static let config = Command(
    name: "config", operands: "[check FILE]", operandCount: 0...2,
    summary: "show every setting, and where it comes from",
    details: """
      Shows the settings that are in force in this directory: where the cache is and how large it may get, how long the \
      kernel keeps names, which environment variables and which paths outside a mount never count, and what options of \
      acache are by default. Each comes from the command line, from an environment variable, from casher.yml in the \
      work directory, from the user's own ~/.config/casher/config.yml, or is built in; the first of these counts.
      'config check FILE' tells what is wrong with a configuration file, by line and column, and exits with 30 when \
      something is.
      """,
    options: [Option.json, Option.cacheDirectory], run: showConfiguration)
}

/// One setting and where it comes from.
private struct Setting {
  var name: String
  var value: JSON
  /// The value for people, a line each.
  var lines: [String]
  /// A list may come from several places; never empty.
  var origins: [SettingOrigin]

  init(_ name: String, _ value: JSON, _ lines: [String], _ origins: [SettingOrigin]) {
    self.name = name
    self.value = value
    self.lines = lines
    self.origins = origins.isEmpty ? [.builtIn] : origins
  }
}

private func showConfiguration(_ arguments: Arguments) throws(Failure) -> ExitCode {
  if let word = arguments.operands.first {
    guard word == "check" else {
      throw Arguments.misused(.config, "'\(word)' is one argument too many")
    }
    guard arguments.operands.count == 2 else { throw Arguments.misused(.config, "FILE is missing after check") }
    return try checkFile(arguments.operands[1], arguments)
  }
  let access = try StoreAccess(arguments)
  let settings = try mountSettings(access) + callSettings(access.configuration) + [rules(access.configuration)]
  for warning in access.configuration.warnings { Console.complain("\(warning).") }
  if arguments.has("--json") {
    Console.print(JSON.object(settings.map { ($0.name, json($0)) }))
  } else {
    Console.print(settings.map(text).joined(separator: "\n"))
  }
  return .success
}

private func checkFile(_ given: FilePath, _ arguments: Arguments) throws(Failure) -> ExitCode {
  var problems: [InvalidConfiguration.Problem] = []
  let text: [UInt8]
  do throws(Errno) {
    let file = try FileDescriptor.open(given, FileDescriptor.readOnly)
    defer { file.close() }
    text = try file.readAll(limit: 1 << 20)
  } catch { throw Failure(.failure, "\(given) cannot be read: \(error).") }
  do throws(InvalidConfiguration) { _ = try ConfigurationFile(path: given, text: text) } catch {
    problems = error.problems
    if !arguments.has("--json") { for line in error.lines { Console.print(line) } }
  }
  if arguments.has("--json") {
    Console.print(
      JSON.object([
        ("file", .path(given)), ("valid", .bool(problems.isEmpty)),
        (
          "problems",
          .array(
            problems.map { problem in
              .object([
                ("line", .integer(Int64(problem.position?.line ?? 0))),
                ("column", .integer(Int64(problem.position?.column ?? 0))), ("message", .string(problem.message)),
              ])
            })
        ),
      ]))
  } else if problems.isEmpty {
    Console.print("\(given): nothing is wrong")
  }
  return problems.isEmpty ? .success : .badConfiguration
}

// MARK: the settings

private func mountSettings(_ store: StoreAccess) throws(Failure) -> [Setting] {
  var timeout = MountOptions().timeout
  var timeoutOrigin = SettingOrigin.builtIn
  if let found = store.configuration.value(of: "mount_timeout"), case .number(let value) = found.value {
    timeout = value
    timeoutOrigin = .file(found.file, line: found.line)
  }
  let logSize = try store.logLimit()
  let level = store.options.compressionLevel
  let durability = store.durability.rawValue
  let journalMode = store.options.journalMode.rawValue
  let noise = EnvironmentPolicy.noise
  let outside = OutsidePaths.neverCounting
  return [
    Setting(
      "cache_directory", .path(store.directory), ["\(store.directory)"], [store.origin(of: "cache_directory")]),
    Setting(
      "max_cache_size", .integer(store.limit), [Quantity.size(store.limit)], [store.origin(of: "max_cache_size")]),
    Setting(
      "compression", level.map { .integer(Int64($0)) } ?? .null, [level.map { "level \($0)" } ?? "off"],
      [store.origin(of: "compression")]),
    Setting("durability", .string(durability), [durability], [store.origin(of: "durability")]),
    Setting("journal_mode", .string(journalMode), [journalMode], [store.origin(of: "journal_mode")]),
    Setting(
      "mount_timeout", .number(Double(timeout) / 1e9),
      ["\(Quantity.duration(timeout)) unless 'casherfs mount -o timeout=' says otherwise"], [timeoutOrigin]),
    Setting(
      "log_size", .integer(logSize), [Quantity.size(logSize)],
      [try store.find("log_size")?.origin ?? .builtIn]),
    Setting("ignored_environment", .array(noise.map { .path($0) }), noise.map(\.description), []),
    Setting("ignored_outside", .array(outside.map { .path($0) }), outside.map(\.description), []),
  ]
}

/// What calls of acache take for granted: what files say, and the variables of options.
private func callSettings(_ files: ConfigurationFiles.Contents) -> [Setting] {
  var result: [Setting] = []
  let keys = SettingKey.all.filter { $0.scope == .call }
  let options = CasherLauncher.Option.all
  for key in keys {
    let variable = options.first { $0.name == key.name.replacing("_", with: "-") }?.variable
    let given = variable.flatMap { name in Environment.nonEmptyValue(name).map { (name, $0) } }
    let entries = files.files.compactMap { file in file.settings[key.name].map { (file.path, $0) } }
    if let (name, text) = given {
      result.append(Setting(key.name, .path(text), ["\(text)"], [.environment(name)]))
    } else if key.kind.isList, key.name != "only_env", !entries.isEmpty {
      var values: [[UInt8]] = []
      for case (_, .list(let list)) in entries.map({ ($0.0, $0.1.value) }) {
        values += list.filter { !values.contains($0) }
      }
      result.append(
        Setting(
          key.name, .array(values.map { .bytes($0) }), values.map { "\(FilePath($0))" },
          entries.map { .file($0.0, line: $0.1.line) }))
    } else if let (path, entry) = entries.first {
      let (value, lines) = shown(entry.value, key)
      result.append(Setting(key.name, value, lines, [.file(path, line: entry.line)]))
    } else {
      result.append(Setting(key.name, .null, ["not set"], []))
    }
  }
  for option in options {
    let name = option.name.replacing("-", with: "_")
    guard let variable = option.variable, !keys.contains(where: { $0.name == name }) else { continue }
    let given = Environment.nonEmptyValue(variable)
    result.append(
      Setting(
        name, given.map { .path($0) } ?? .null, [given?.description ?? "not set"],
        given == nil ? [] : [.environment(variable)]))
  }
  return result
}

private func rules(_ files: ConfigurationFiles.Contents) -> Setting {
  var values: [JSON] = []
  var lines: [String] = []
  var origins: [SettingOrigin] = []
  for file in files.files {
    for rule in file.rules {
      origins.append(.file(file.path, line: rule.line))
      let settings = SettingKey.all.compactMap { key in rule.settings[key.name].map { (key, $0) } }
      values.append(
        .object([
          (SettingKey.match, .array(rule.patterns.map { .path($0) })), ("source", .path(file.path)),
          ("line", .integer(Int64(rule.line))),
          ("settings", .object(settings.map { ($0.name, shown($1.value, $0).0) })),
        ]))
      let words = settings.map { "\($0.name)=\(shown($1.value, $0).1.joined(separator: ","))" }
      lines.append("'\(rule.patterns.map(\.description).joined(separator: "', '"))': " + words.joined(separator: " "))
    }
  }
  return Setting(SettingKey.rules, .array(values), lines.isEmpty ? ["none"] : lines, origins)
}

/// A value for JSON, sizes in bytes and durations in seconds, and for people.
private func shown(_ value: SettingValue, _ key: SettingKey) -> (JSON, [String]) {
  switch value {
  case .flag(let isOn): (.bool(isOn), [isOn ? "true" : "false"])
  case .number(let number):
    switch key.kind {
    case .duration: (.number(Double(number) / 1e9), [Quantity.duration(number)])
    case .size: (.integer(number), [Quantity.size(number)])
    default: (.integer(number), ["\(number)"])
    }
  case .off: (.null, ["off"])
  case .text(let text): (.bytes(text), ["\(FilePath(text))"])
  case .list(let list): (.array(list.map { .bytes($0) }), list.map { "\(FilePath($0))" })
  }
}

// MARK: printing

private func json(_ setting: Setting) -> JSON {
  let first = setting.origins.first ?? .builtIn
  return .object(
    [("value", setting.value)] + first.members + [("sources", .array(setting.origins.map { .object($0.members) }))])
}

private func text(_ setting: Setting) -> String {
  var origins: [String] = []
  for origin in setting.origins.map(\.text) where !origins.contains(origin) { origins.append(origin) }
  let origin = origins.joined(separator: ", ")
  let head = Help.pad(setting.name, to: 22)
  if setting.name == SettingKey.rules, !setting.origins.isEmpty, setting.lines != ["none"] {
    return (["\(head)"] + zip(setting.lines, setting.origins).map { "    \($0)  (\($1.text))" }).joined(separator: "\n")
  }
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
