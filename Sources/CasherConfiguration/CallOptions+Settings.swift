import CasherRecord
import CasherSystem

extension CallOptions {
  /// Adds what configuration files say to the options of a call.
  ///
  /// `files`: those that go before others first. `given`: names of acache's options that the command line or the
  /// environment has decided, which no file changes. `text` is the command as `casherfs log` shows it.
  ///
  /// Lists add to each other. Of anything else the first that says it counts: the options, then of each file the rules
  /// that fit the command, the last rule first, then the file's other settings.
  public mutating func apply(
    _ files: [ConfigurationFile], given: Set<String>, text: FilePath, program: FilePath
  ) {
    var decided = Set(given.map { $0.replacing("-", with: "_") })
    for layer in files.flatMap({ $0.layers(text, program: program) }) {
      for key in SettingKey.all where key.scope == .call {
        guard let entry = layer[key.name] else { continue }
        if !key.kind.isList || key.name == "only_env" {
          if decided.contains(key.name) || contradicts(key.name) { continue }
          decided.insert(key.name)
        }
        apply(key.name, entry.value)
      }
    }
  }

  /// Whether what the call was asked for by options makes no sense with the setting.
  private func contradicts(_ name: String) -> Bool {
    switch name {
    case "no_cache": force || readOnly || check || noStore
    case "no_store": noCache
    default: false
    }
  }

  private mutating func apply(_ name: String, _ value: SettingValue) {
    switch (name, value) {
    case ("env", .list(let names)): addEnvironment(names)
    case ("ignore_env", .list(let names)): ignoreEnvironment(names)
    case ("only_env", .list(let names)): keepEnvironment(names)
    case ("ignore", .list(let patterns)): CallOptions.add(patterns.map { FilePath($0) }, to: &ignored)
    case ("input", .list(let paths)): CallOptions.add(paths.map { FilePath($0) }, to: &inputs)
    case ("output_root", .list(let paths)): CallOptions.add(paths.map { FilePath($0) }, to: &outputRoots)
    case ("tag", .list(let list)):
      let known = Set(tags.map(CallOptions.tagName))
      tags += list.filter { !known.contains(CallOptions.tagName($0)) }
    case ("salt", .text(let text)): extras.append(Array("salt".utf8) + [0] + text)
    case ("outside", .text(let word)):
      outside = ["auto": .automatic, "view": .view, "strace": .strace][CallOptions.word(word)] ?? .trust
    case ("outside_writes", .text(let word)):
      outsideWrites = ["capture": .capture, "refuse": .refuse][CallOptions.word(word)] ?? .ignore
    case ("restore", .text(let word)):
      restore = ["always": .always, "if-missing": .ifMissing][CallOptions.word(word)] ?? .never
    case ("ttl", .number(let time)): timeToLive = time
    case ("timeout", .number(let time)): timeLimit = time
    case ("retries", .number(let count)): retries = UInt32(clamping: count)
    case (_, .flag(let isOn)): if let flag = CallOptions.settable[name] { self[keyPath: flag] = isOn }
    default: break
    }
  }

  private static let settable: [String: WritableKeyPath<CallOptions, Bool> & Sendable] = [
    "strict": \.strict, "mtime": \.observeTimes, "relocatable": \.relocatable, "allow_network": \.allowNetwork,
    "cache_failures": \.cacheFailures, "no_store": \.noStore, "no_cache": \.noCache, "sync": \.synchronous,
  ]

  private static func word(_ text: [UInt8]) -> String { String(decoding: text, as: UTF8.self) }

  private static func tagName(_ tag: [UInt8]) -> [UInt8] { Array(tag.prefix { $0 != UInt8(ascii: "=") }) }

  private static func add(_ paths: [FilePath], to list: inout [FilePath]) {
    for path in paths where !list.contains(path) { list.append(path) }
  }

  // MARK: environment

  // What was said before goes first: a variable that counts is not ignored by what comes later, nor the other way round.

  private mutating func addEnvironment(_ names: [[UInt8]]) {
    let wanted = names.map { FilePath($0) }.filter { !environmentIgnored.contains($0) }
    if environmentOnly == nil { CallOptions.add(wanted, to: &environmentAdded) }
  }

  private mutating func ignoreEnvironment(_ names: [[UInt8]]) {
    let counted = environmentAdded + (environmentOnly ?? [])
    CallOptions.add(names.map { FilePath($0) }.filter { !counted.contains($0) }, to: &environmentIgnored)
  }

  private mutating func keepEnvironment(_ names: [[UInt8]]) {
    var only = environmentAdded
    CallOptions.add(names.map { FilePath($0) }.filter { !environmentIgnored.contains($0) }, to: &only)
    environmentOnly = only
  }
}
