import CasherRecord
import CasherSystem

extension Invocation {
  /// Parses acache's arguments (its own name first). Options end at `--` or at the first argument that is none; what
  /// follows is the command. `environment` gives the defaults: `CASHER_OPTIONS`, and see `Option.variable`.
  public init(arguments: [[UInt8]], environment: [[UInt8]]) throws(UsageError) {
    var rest = arguments.dropFirst()
    let given = try CommandLineParser.takeOptions(&rest)
    var defaults = try CommandLineParser.defaults(environment)
    // What is written on the command line is meant; a default that contradicts it is not.
    defaults.removeAll { setting in given.contains { Contradiction.between($0.option, setting.option) != nil } }
    try apply(defaults + given)
    command = Array(rest)
    guard request == .run else { return }
    guard !command.isEmpty else { throw UsageError("there is no command to run (acache --help tells how)") }
    completeKey()
  }

  /// A call by a link: all arguments are the command's, the environment gives the options.
  init(link: ToolLink.Call, environment: [[UInt8]]) throws(UsageError) {
    try apply(try CommandLineParser.defaults(environment))
    command = link.command
    linkEntry = link.environmentEntry
    completeKey()
  }

  private mutating func apply(_ all: [Setting]) throws(UsageError) {
    options.given = all.map { FilePath($0.option.name) }
    let settings = all.filter { !$0.isOff }
    for setting in settings {
      do throws(UsageError) { try setting.option.apply(&self, setting.value) } catch {
        throw UsageError("\(setting.origin): '\(FilePath(setting.value))' is \(error)")
      }
    }
    if request == .run { try Contradiction.check(settings, self) }
  }
}

/// One option as it was given.
struct Setting {
  let option: Option
  /// Empty for an option without a value.
  let value: [UInt8]
  /// What to call it in a message: `--ttl`, `-v`, `CASHER_TTL`.
  let origin: String
  /// A variable that says that the option is not meant, whatever a configuration file says.
  var isOff = false
}

/// Takes options apart, as getopt_long(3) does: `--name value`, `--name=value`, several letters behind one dash.
enum CommandLineParser {
  /// Takes the options from the front of `rest`.
  static func takeOptions(_ rest: inout ArraySlice<[UInt8]>) throws(UsageError) -> [Setting] {
    var settings: [Setting] = []
    while let argument = rest.first, argument.first == UInt8(ascii: "-"), argument.count > 1 {
      rest = rest.dropFirst()
      if argument.elementsEqual("--".utf8) { break }
      if argument.starts(with: "--".utf8) {
        settings.append(try takeLong(argument.dropFirst(2), &rest))
      } else {
        for letter in argument.dropFirst() { settings.append(try flag(letter)) }
      }
    }
    return settings
  }

  private static func takeLong(
    _ text: ArraySlice<UInt8>, _ rest: inout ArraySlice<[UInt8]>
  ) throws(UsageError) -> Setting {
    let name = text.prefix { $0 != UInt8(ascii: "=") }
    let attached = name.count < text.count ? Array(text.dropFirst(name.count + 1)) : nil
    let shown = "--" + FilePath(name).description
    guard let option = Option.all.first(where: { $0.name.utf8.elementsEqual(name) }) else {
      throw unknown(shown, nearest: Suggestion.nearest(to: name))
    }
    guard let value = option.value else {
      if attached != nil { throw UsageError("\(shown) takes no value") }
      return Setting(option: option, value: [], origin: shown)
    }
    // A command line that ends here, or goes on with the dashes before the command, has forgotten the value.
    guard let text = attached ?? (rest.first.map { !$0.elementsEqual("--".utf8) } ?? false ? rest.popFirst() : nil)
    else { throw UsageError("\(shown) needs a value: \(value.name)") }
    return Setting(option: option, value: text, origin: shown)
  }

  private static func flag(_ letter: UInt8) throws(UsageError) -> Setting {
    let shown = "-" + FilePath([letter]).description
    guard let option = Option.all.first(where: { $0.letter == Unicode.Scalar(letter) }) else {
      throw unknown(shown, nearest: nil)
    }
    return Setting(option: option, value: [], origin: shown)
  }

  private static func unknown(_ shown: String, nearest: String?) -> UsageError {
    let hint = nearest.map { "did you mean --\($0)?" } ?? "acache --help lists them"
    return UsageError("\(shown) is no option of acache (\(hint))")
  }

  // MARK: defaults

  /// What the environment sets: first `CASHER_OPTIONS`, then each option's own variable.
  static func defaults(_ environment: [[UInt8]]) throws(UsageError) -> [Setting] {
    var settings: [Setting] = []
    for entry in environment where entry.starts(with: "CASHER_".utf8) {
      let name = entry.prefix { $0 != UInt8(ascii: "=") }
      guard name.count < entry.count else { continue }
      let value = Array(entry.dropFirst(name.count + 1))
      if name.elementsEqual("CASHER_OPTIONS".utf8) {
        settings.insert(contentsOf: try options(value), at: 0)
      } else if let option = Option.all.first(where: { $0.isVariable(name) }),
        let setting = try setting(option, value, FilePath(name).description)
      {
        settings.append(setting)
      }
    }
    return settings
  }

  private static func setting(_ option: Option, _ value: [UInt8], _ shown: String) throws(UsageError) -> Setting? {
    if option.value != nil { return value.isEmpty ? nil : Setting(option: option, value: value, origin: shown) }
    switch String(decoding: value, as: UTF8.self) {
    case "1", "yes", "true", "on": return Setting(option: option, value: [], origin: shown)
    case "": return nil
    case "0", "no", "false", "off": return Setting(option: option, value: [], origin: shown, isOff: true)
    default: throw UsageError("\(shown) is '\(FilePath(value))', neither 1 nor 0")
    }
  }

  private static func options(_ text: [UInt8]) throws(UsageError) -> [Setting] {
    do throws(UsageError) {
      var words = try ShellWords.split(text)[...]
      let settings = try takeOptions(&words)
      if let surplus = words.first { throw UsageError("'\(FilePath(surplus))' is no option") }
      if let bad = settings.first(where: { $0.option.name == "help" || $0.option.name == "version" }) {
        throw UsageError("\(bad.origin) has no place in it")
      }
      return settings
    } catch { throw UsageError("CASHER_OPTIONS: \(error)") }
  }
}
