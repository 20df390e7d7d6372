import CasherSystem

/// Makes settings of the parts of a YAML document, and notes everything that is wrong on the way.
struct SettingReader {
  /// Where relative places begin.
  let directory: FilePath
  private(set) var settings: [String: ConfigurationFile.Entry] = [:]
  private(set) var rules: [ConfigurationFile.Rule] = []
  var problems: [YAMLNode.Problem] = []

  init(directory: FilePath) { self.directory = directory }

  mutating func readFile(_ root: YAMLNode) {
    if case .scalar(let text, isPlain: true) = root.content, text.isEmpty { return }
    guard case .mapping(let pairs) = root.content else {
      return complain(root, "there are settings of the form NAME: VALUE expected")
    }
    var entries: [String: ConfigurationFile.Entry] = [:]
    for (key, value) in self.pairs(withoutRepetition: pairs) {
      if key.name == SettingKey.rules {
        readRules(value)
      } else {
        read(key.name, key.node, value, in: nil, into: &entries)
      }
    }
    checkEnvironment(entries, root)
    settings = entries
  }

  private mutating func readRules(_ node: YAMLNode) {
    guard case .sequence(let elements) = node.content else {
      return complain(node, "\(SettingKey.rules) is a list of rules, each with \(SettingKey.match) and settings")
    }
    for element in elements { readRule(element) }
  }

  private mutating func readRule(_ node: YAMLNode) {
    guard case .mapping(let pairs) = node.content else {
      return complain(node, "a rule has \(SettingKey.match) and settings, of the form NAME: VALUE")
    }
    var patterns: [FilePath]?
    var entries: [String: ConfigurationFile.Entry] = [:]
    for (key, value) in self.pairs(withoutRepetition: pairs) {
      if key.name == SettingKey.match {
        patterns = texts(value, SettingKey.match, .texts)?.map { FilePath($0) } ?? []
      } else {
        read(key.name, key.node, value, in: SettingKey.rules, into: &entries)
      }
    }
    guard let patterns else {
      return complain(node, "a rule needs \(SettingKey.match), the commands that it is about")
    }
    checkEnvironment(entries, node)
    rules.append(ConfigurationFile.Rule(patterns: patterns, settings: entries, line: node.position.line))
  }

  private mutating func pairs(
    withoutRepetition pairs: [(key: YAMLNode, value: YAMLNode)]
  ) -> [(key: (name: String, node: YAMLNode), value: YAMLNode)] {
    var seen: [String: Int] = [:]
    var result: [(key: (name: String, node: YAMLNode), value: YAMLNode)] = []
    for (key, value) in pairs {
      guard case .scalar(let bytes, _) = key.content else {
        complain(key, "the name of a setting is expected here")
        continue
      }
      let name = String(decoding: bytes, as: UTF8.self)
      if let line = seen[name] {
        complain(key, "\(name) is set twice, in line \(line) too")
      } else {
        seen[name] = key.position.line
        result.append(((name, key), value))
      }
    }
    return result
  }

  /// `rule`: the name of the list that the setting stands in.
  private mutating func read(
    _ name: String, _ key: YAMLNode, _ node: YAMLNode, in rule: String?,
    into entries: inout [String: ConfigurationFile.Entry]
  ) {
    let known = SettingKey.all.filter { rule == nil || $0.scope == .call }.map(\.name)
    guard let setting = SettingKey.named(name) else {
      let candidates = known + [rule == nil ? SettingKey.rules : SettingKey.match]
      let dashed = name.replacing("-", with: "_")
      let nearest =
        candidates.contains(dashed) ? dashed : Spelling.nearest(to: Array(name.utf8)[...], among: candidates)
      let hint = nearest.map { "did you mean \($0)?" } ?? "'man casher.yml' lists them"
      return complain(key, "there is no setting \(FilePath(name)) (\(hint))")
    }
    guard known.contains(name) else {
      return complain(key, "\(name) is about the whole mount and cannot stand in a rule")
    }
    guard let value = value(node, setting) else { return }
    entries[name] = ConfigurationFile.Entry(value: value, line: key.position.line)
  }

  // MARK: values

  private mutating func value(_ node: YAMLNode, _ setting: SettingKey) -> SettingValue? {
    switch setting.kind {
    case .texts, .variables, .paths, .assignments:
      return texts(node, setting.name, setting.kind).map { .list($0) }
    case .text: return scalar(node, setting)?.text.map { .text($0) }
    case .flag, .choice, .size, .duration, .place, .level, .count: break
    }
    guard let (text, isPlain) = scalar(node, setting), let text else { return nil }
    let value = setting.kind == .flag && !isPlain ? nil : setting.value(ofWord: text, below: directory)
    if value == nil {
      complain(node, "\(setting.name) is \(setting.kind.description), not '\(FilePath(text))'")
    }
    return value
  }

  private mutating func scalar(_ node: YAMLNode, _ setting: SettingKey) -> (text: [UInt8]?, isPlain: Bool)? {
    guard case .scalar(let text, let isPlain) = node.content else {
      complain(node, "\(setting.name) is \(setting.kind.description), not a \(node.content.noun)")
      return nil
    }
    guard !isPlain || !SettingReader.isNull(text) else {
      complain(node, "\(setting.name) has no value; it is \(setting.kind.description)")
      return nil
    }
    return (text, isPlain)
  }

  private static func isNull(_ text: [UInt8]) -> Bool {
    ["", "~", "null", "Null", "NULL"].contains { $0.utf8.elementsEqual(text) }
  }

  private mutating func texts(_ node: YAMLNode, _ name: String, _ kind: SettingKey.Kind) -> [[UInt8]]? {
    var elements = [node]
    if case .sequence(let list) = node.content { elements = list }
    var result: [[UInt8]] = []
    for element in elements {
      guard case .scalar(let text, let isPlain) = element.content else {
        complain(element, "\(name) is \(kind.description), not a \(element.content.noun)")
        return nil
      }
      guard !text.isEmpty, !isPlain || !SettingReader.isNull(text), !text.contains(0) else {
        complain(element, "\(name) has an empty value; it is \(kind.description)")
        return nil
      }
      guard let value = part(text, name, kind, element) else { return nil }
      result += value
    }
    return result
  }

  private mutating func part(
    _ text: [UInt8], _ name: String, _ kind: SettingKey.Kind, _ node: YAMLNode
  ) -> [[UInt8]]? {
    switch kind {
    case .variables:
      let names = text.split(separator: UInt8(ascii: ",")).map { Array($0) }
      if !names.contains(where: { $0.contains(UInt8(ascii: "=")) || $0.contains(UInt8(ascii: " ")) }) { return names }
    case .assignments:
      if let split = text.firstIndex(of: UInt8(ascii: "=")), split > 0 { return [text] }
    case .paths:
      let path = FilePath(text)
      let names = path.components.filter { $0 != "." }
      if !names.contains("..") {
        let plain = names.reduce(FilePath([])) { $0.appending($1) }
        return [path.isAbsolute ? FilePath("/").appending(plain).bytes : plain.bytes]
      }
      complain(node, "\(name) is a path without '..', from the work directory's root or from /")
      return nil
    default: return [text]
    }
    complain(node, "\(name) is \(kind.description), not '\(FilePath(text))'")
    return nil
  }

  private mutating func checkEnvironment(_ entries: [String: ConfigurationFile.Entry], _ node: YAMLNode) {
    guard case .list(let ignored) = entries["ignore_env"]?.value else { return }
    for name in ["env", "only_env"] {
      guard let entry = entries[name], case .list(let counted) = entry.value,
        let both = counted.first(where: { ignored.contains($0) })
      else { continue }
      problems.append(
        YAMLNode.Problem(
          position: TextPosition(line: entry.line, column: node.position.column),
          message: "\(FilePath(both)) stands in \(name) and in ignore_env"))
    }
  }

  private mutating func complain(_ node: YAMLNode, _ message: String) {
    problems.append(YAMLNode.Problem(position: node.position, message: message))
  }
}

extension YAMLNode.Content {
  fileprivate var noun: String {
    switch self {
    case .scalar: "text"
    case .sequence: "list"
    case .mapping: "mapping"
    }
  }
}

extension SettingKey {
  /// The value that an environment variable gives; nil when it is none. A relative place begins at the working directory.
  public func value(of text: FilePath) -> SettingValue? {
    value(ofWord: text.bytes, below: FilePath([]))
  }

  /// The value of a setting that is no list. A relative place begins at `directory`.
  func value(ofWord text: [UInt8], below directory: FilePath) -> SettingValue? {
    let word = String(decoding: text, as: UTF8.self)
    switch kind {
    case .flag: return SettingKey.flag(word).map { .flag($0) }
    case .choice(let words): return words.contains(word) ? .text(text) : nil
    case .size: return Quantity.bytes(word).map { .number($0) }
    case .duration:
      // A command that may take no time at all could never run.
      return Quantity.nanoseconds(word).flatMap { name == "timeout" && $0 == 0 ? nil : .number($0) }
    case .place: return SettingKey.place(text, below: directory).map { .text($0) }
    case .level:
      if SettingKey.flag(word) == false { return .off }
      return Int64(word).flatMap { (1...19).contains($0) ? .number($0) : nil }
    case .count: return Int64(word).flatMap { (0...1_000_000).contains($0) ? .number($0) : nil }
    case .text: return .text(text)
    case .texts, .variables, .paths, .assignments: return nil
    }
  }

  /// YAML 1.1's words for truth values.
  private static func flag(_ word: String) -> Bool? {
    switch word.lowercased() {
    case "true", "yes", "on": true
    case "false", "no", "off": false
    default: nil
    }
  }

  private static func place(_ text: [UInt8], below directory: FilePath) -> [UInt8]? {
    let path = FilePath(text)
    if path.isEmpty || text.contains(0) { return nil }
    if path.isAbsolute { return text }
    if text.starts(with: "~/".utf8) {
      return Environment.nonEmptyValue("HOME").map { $0.appending(FilePath(text.dropFirst(2))).bytes }
    }
    // The directory has no symlink in it: what `..` leads to can be told from the names.
    var names = directory.components
    for name in path.components where name != "." {
      if name != ".." { names.append(name) } else if names.last != ".." { _ = names.popLast() }
    }
    let joined = names.reduce(FilePath([])) { $0.appending($1) }
    return directory.isAbsolute ? FilePath("/").appending(joined).bytes : path.bytes
  }
}
