import CasherConfiguration
import CasherLauncher
import CasherSystem

/// The manual pages, made from the tables that the programs read their command lines and files by.
enum ManualPages {
  /// Prints a page in man(7)'s format; not for people.
  static let privateArgument = "__man"

  /// The page of that name, `casherfs.1`, `acache.1` or `casher.yml.5`; nil when there is none.
  static func text(_ name: String) -> String? {
    switch name {
    case "casherfs.1": casherfs
    case "acache.1": acache
    case "casher.yml.5": configuration
    default: nil
    }
  }

  private static let others = "acache(1), casherfs(1), casher.yml(5), strace(1), fuse(4)"

  // MARK: casherfs(1)

  private static var casherfs: String {
    var page = ManualPage("CASHERFS", section: 1, version: CasherVersion.current, heading: "Casher")
    page.section("Name")
    page.paragraphs("casherfs - mount directories whose commands are remembered, and look after the cache")
    page.section("Synopsis")
    page.line(bold: "casherfs", "COMMAND [OPTION...] [OPERAND...]")
    page.section("Description")
    page.paragraphs(
      """
      Casher remembers what commands do. A directory is mounted over itself with 'casherfs mount'; a command that is run \
      in it under acache(1) is observed, and the next time that it would meet the same inputs, its files, output and \
      exit status come back without running it.
      """)
    page.section("Commands")
    for command in Command.all {
      page.subsection("casherfs \(command.name)" + (command.operands.isEmpty ? "" : " \(command.operands)"))
      page.paragraphs(command.details)
      for option in command.options { page.item(head(option), sentence(option.help)) }
    }
    page.section("Mount helper")
    page.paragraphs(
      """
      mount.fuse.casherfs is casherfs by another name, for mount(8): 'mount -t fuse.casherfs DIR DIR -o OPTIONS', and lines \
      of fstab(5) with the directory in the first two fields and the type fuse.casherfs. The options are those of 'casherfs \
      mount -o', and cache_dir=DIR for the cache; those that every filesystem has mean nothing here.
      The unit casherfs@.service mounts a directory in a session of systemd(1); its instance is the directory's path as \
      systemd-escape(1) writes it with --path.
      """)
    page.section("Capability")
    page.paragraphs(
      """
      The kernel reads and writes a mount's files by itself (passthrough) where the daemon may register them, which takes \
      CAP_SYS_ADMIN (capabilities(7)). Root has it; others get it where the file of casherfs carries it as permitted, as \
      'scripts/install --with-capability' makes it, or where casherfs is started with it in the ambient set.
      Only the daemon keeps it, out of its effective set but around the call that registers a file, and no program that \
      the daemon starts is given it. A daemon whose file carries it takes neither directories nor programs from the \
      environment; 'casherfs mount' tells it on its command line. It opens each file with the user's own rights before \
      the kernel may.
      """)
    page.section("Exit status")
    page.paragraphs("Numbers that are not listed mean what they do for every command:")
    for (code, meaning) in ExitCode.meanings { page.item("\(code.rawValue)", meaning + ".") }
    page.section("Environment")
    for key in SettingKey.all {
      guard let variable = key.variable else { continue }
      page.item(variable, sentence("\(key.help) (\(key.name) in casher.yml(5))"))
    }
    page.item("CASHER_JOURNAL", "The socket of the system's journal; empty for none.")
    page.item("NO_COLOR", "When it is set to anything, no colours are used; see https://no-color.org.")
    page.item("TMPDIR", "Where 'casherfs doctor' tries to mount.")
    files(&page)
    page.section("See also")
    page.paragraphs(others)
    return page.text
  }

  private static func head(_ option: Option) -> String {
    (option.short.map { $0 + ", " } ?? "") + option.name + (option.value.map { " " + $0 } ?? "")
  }

  private static func files(_ page: inout ManualPage) {
    page.section("Files")
    page.item("casher.yml", "In a work directory: its settings; see casher.yml(5).")
    page.item("~/.config/casher/config.yml", "The user's own settings; see casher.yml(5).")
    page.item("~/.cache/casher", "The cache.")
    page.item("~/.cache/casher/mounts/ID/log", "What the daemon of a mount did; 'casherfs log --daemon' prints it.")
  }

  // MARK: acache(1)

  private static var acache: String {
    var page = ManualPage("ACACHE", section: 1, version: CasherVersion.current, heading: "Casher")
    page.section("Name")
    page.paragraphs("acache - run a command, or replay what it did")
    page.section("Synopsis")
    page.line(bold: "acache", "[OPTION...] [--] COMMAND [ARGUMENT...]")
    page.section("Description")
    page.paragraphs(
      """
      Runs the command in a directory that casherfs(1) has mounted, and remembers what it read and made. When the same \
      command meets the same inputs again, its files, output and exit status come back and nothing runs.
      A link to acache with another name runs and caches the program of that name that is next on PATH.
      Where there is nothing to cache with, acache says so in one line and runs the command plainly.
      """)
    page.section("Options")
    for section in CasherLauncher.Option.Section.allCases {
      page.subsection(section.rawValue)
      for option in CasherLauncher.Option.all where option.section == section {
        var help = sentence(option.help)
        if let variable = option.variable { help += " Default: $\(variable)." }
        page.item(option.synopsis, help)
      }
    }
    page.section("Exit status")
    page.paragraphs("The command's own; 128 and the signal's number when a signal ended it. Besides:")
    page.item("75", "--read-only found no result, and nothing was run.")
    page.item("124", "The command took longer than --timeout and was ended.")
    page.item("125", "acache itself failed, or its command line cannot be understood.")
    page.item("126", "The command cannot be executed.")
    page.item("127", "There is no command of that name.")
    page.section("Environment")
    page.item("CASHER_OPTIONS", "Options for every call, as a shell has words. They go before those of the variables.")
    page.paragraph(
      "Options with a variable take their default from it; those without a value are on with 1 and off with 0.")
    page.section("See also")
    page.paragraphs(others)
    return page.text
  }

  // MARK: casher.yml(5)

  private static var configuration: String {
    var page = ManualPage("CASHER.YML", section: 5, version: CasherVersion.current, heading: "Casher")
    page.section("Name")
    page.paragraphs("casher.yml - settings of Casher")
    page.section("Description")
    page.paragraphs(
      """
      Settings for a work directory are in its casher.yml, those of a user in $XDG_CONFIG_HOME/casher/config.yml, else \
      ~/.config/casher/config.yml. Both are YAML 1.1 and may hold the same settings.
      Of an option on the command line, an environment variable, the work directory's file, and the user's file the first \
      that says something counts; lists add to each other. 'casherfs config' shows what is in force, and where it comes \
      from; 'casherfs config check FILE' tells what is wrong with a file.
      A work directory's file counts only when the user who mounts owns it and nobody else may write it.
      Settings of calls take effect with the next call, those of the mount with the next mount. While a file says what it \
      cannot, acache says so and runs commands without cache. The file is no input of commands that do not read it.
      """)
    for (scope, name) in [
      (SettingKey.Scope.mount, "Settings of the mount and the cache"), (.call, "Settings of calls"),
    ] {
      page.section(name)
      if scope == .call {
        page.paragraphs("Each is called as the option of acache(1) is, and means the same.")
      }
      for key in SettingKey.all where key.scope == scope {
        let variable = key.variable.map { " $\($0) goes before it." } ?? ""
        page.item("\(key.name): \(key.kind.description)", sentence(key.help) + variable)
      }
    }
    page.section("Rules for commands")
    page.item(
      "\(SettingKey.rules): a list of rules",
      """
      Each rule has \(SettingKey.match), a shell pattern or a list of them, and settings of calls for the commands that \
      fit. A pattern with a space is compared with the whole command, as 'casherfs log' shows it; one without with the \
      program's name alone. Of rules that say different things the last that fits counts, and before what stands outside \
      the rules.
      """)
    page.section("Examples")
    page.example(example)
    page.section("See also")
    page.paragraphs(others)
    return page.text
  }

  private static let example = """
    max_cache_size: 50G
    ignore: ["*.log", "tmp/*"]
    ignore_env: [BUILD_NUMBER]
    commands:
      - match: "gcc *"
        only_env: [PATH, LANG]
      - match: pytest
        cache_failures: true
        timeout: 10m
      - match: date
        no_cache: true
    """

  private static func sentence(_ help: String) -> String {
    guard let first = help.first else { return help }
    return first.uppercased() + help.dropFirst() + "."
  }
}
