import Foundation
import Testing

@Suite("Manual pages, completions and what scripts/install installs")
struct ManualTests {
  /// The repository, where the tests are run.
  private static let root = FileManager.default.currentDirectoryPath

  private func installed(_ body: (Place, String) throws -> Void) throws {
    let place = try Place()
    place.environment["DESTDIR"] = place.base + "/root"
    place.environment["CASHER_BIN_DIR"] = Programs.directory
    let outcome = try run(Self.root + "/scripts/install", ["/usr"], in: Self.root, environment: place.environment)
    try #require(outcome.status == 0, "\(outcome.error)")
    try body(place, place.base + "/root")
  }

  @Test("Programs, pages, completions, the mount helper and the unit are installed where they are looked for")
  func files() throws {
    try installed { place, root in
      for path in [
        "usr/bin/acache", "usr/bin/casherfs", "usr/share/man/man1/casherfs.1", "usr/share/man/man1/acache.1",
        "usr/share/man/man5/casher.yml.5", "usr/share/bash-completion/completions/casherfs",
        "usr/share/bash-completion/completions/acache", "usr/share/zsh/site-functions/_casherfs",
        "usr/share/fish/vendor_completions.d/casherfs.fish", "usr/lib/systemd/user/casherfs@.service",
      ] { #expect(FileManager.default.fileExists(atPath: root + "/" + path), "\(path)") }
      #expect(try place.shell("readlink \(root.quoted)/sbin/mount.fuse.casherfs").output == "/usr/bin/casherfs\n")
      let unit = try place.shell("cat \(root.quoted)/usr/lib/systemd/user/casherfs@.service").output
      #expect(unit.contains("ExecStart=/usr/bin/casherfs mount %f\n"))
      #expect(!unit.contains("@bindir@"))
    }
  }

  @Test("The pages are formatted without a complaint and have every command and option")
  func pages() throws {
    try installed { place, root in
      place.environment["MANWIDTH"] = "100"
      for (page, words) in [
        ("1/casherfs.1", ["casherfs mount", "--max-size SIZE", "casherfs doctor", "CASHER_CACHE_DIR", "30"]),
        ("1/acache.1", ["--only-env=A,B", "-v, --verbose", "CASHER_OPTIONS", "124"]),
        ("5/casher.yml.5", ["cache_failures: true or false", "max_cache_size", "commands:", "- match: \"gcc *\""]),
      ] {
        let path = "\(root)/usr/share/man/man\(page)"
        let shown = try place.shell("man --warnings -l \(path.quoted) | cat")
        #expect(shown.error == "", "\(page)")
        for word in words { #expect(shown.output.contains(word), "\(page): \(word)") }
        let lint = try place.shell("mandoc -Tlint -Wwarning \(path.quoted)")
        #expect(lint.output + lint.error == "", "\(page)")
      }
    }
  }

  @Test("Each command that casherfs lists is in its page, and each option of acache's help in acache's")
  func complete() throws {
    let place = try Place()
    let page = try place.casherfs("__man", "casherfs.1").output
    for line in try place.casherfs("--help").output.split(separator: "\n") where line.hasPrefix("  ") {
      let name = line.split(separator: " ").first ?? ""
      if line.dropFirst(2).first != " ", name != "casherfs" { #expect(page.contains(".SS \"casherfs \(name)")) }
    }
    let options = try place.shell("acache --help | grep -oE -- '--[a-z-]+' | sort -u").output.split(separator: "\n")
    let acache = try place.casherfs("__man", "acache.1").output.replacing("\\-", with: "-")
    for option in options { #expect(acache.contains(option)) }
    #expect(options.count > 20)
  }

  @Test("Each setting of calls in casher.yml is an option of acache")
  func settings() throws {
    let place = try Place()
    let settings = try place.casherfs("config", "--json").json(as: [String: Any].self).keys
    let help = try place.shell("acache --help").output
    let ofTheMount: Set = [
      "cache_directory", "max_cache_size", "compression", "durability", "journal_mode", "mount_timeout",
      "log_size",
      "ignored_environment", "ignored_outside", "commands",
    ]
    for name in settings where !ofTheMount.contains(name) {
      #expect(help.contains("--" + name.replacing("_", with: "-")), "\(name)")
    }
  }

  /// What bash would offer for a line that ends at the cursor, sorted.
  private func completed(_ place: Place, _ words: String..., load: String = "") throws -> [Substring] {
    let list = words.map(\.quoted).joined(separator: " ")
    let script = """
      set -u; eval "$(casherfs completions bash)"
      COMP_WORDS=(\(list)); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
      "_${COMP_WORDS[0]}"; printf '%s\\n' "${COMPREPLY[@]}" | sort
      """
    let outcome = try run("/bin/bash", ["-c", script], in: place.work, environment: place.environment)
    #expect(outcome.error == "")
    return outcome.output.split(separator: "\n")
  }

  @Test("bash completes commands, options, values, runs and files")
  func bash() throws {
    try withMount { place throws in
      try place.shell("mkdir dir; echo > file; acache --sync -- true")
      #expect(try completed(place, "casherfs", "mo") == ["mount"])
      #expect(try completed(place, "casherfs", "").contains("doctor"))
      #expect(try completed(place, "casherfs", "mount", "--opt") == ["--options"])
      #expect(try completed(place, "casherfs", "mount", "") == ["dir"])
      #expect(try completed(place, "casherfs", "log", "--status", "") == ["failed", "ok"])
      #expect(try completed(place, "casherfs", "log", "--status", "=", "f") == ["failed"])
      let run = try place.casherfs("log", "--json").json(as: [[String: Any]].self).first?["id"] as? String ?? "-"
      #expect(try completed(place, "casherfs", "show", "").contains { run.hasPrefix($0) })
      #expect(try completed(place, "acache", "--res") == ["--restore"])
      #expect(try completed(place, "acache", "--restore", "=", "") == ["always", "if-missing", "never"])
      #expect(try completed(place, "acache", "--only-env", "PAT") == ["PATH"])
      #expect(try completed(place, "acache", "--mount", "") == ["dir"])
      #expect(try completed(place, "acache", "-v", "--", "casherf") == ["casherfs"])
      #expect(try completed(place, "acache", "--", "cat", "fi") == ["file"])
      #expect(try completed(place, "acache", "cat", "--res").isEmpty)
    }
  }

  @Test("The scripts for the shells are well formed")
  func wellFormed() throws {
    let place = try Place()
    for (shell, check) in [("bash", "bash -n"), ("zsh", "zsh -n"), ("fish", "fish --no-execute")] {
      let program = check.split(separator: " ").first ?? ""
      let outcome = try place.shell(
        "casherfs completions \(shell) > script && { ! command -v \(program) > ../found || \(check) script; }")
      #expect(outcome == Outcome(status: 0, output: "", error: ""), "\(shell)")
    }
    #expect(try place.casherfs("completions", "tcsh").status == 2)
    #expect(try place.casherfs("__man", "nothing.1").status == 2)
  }
}

extension String {
  /// As a shell takes it for one word.
  fileprivate var quoted: String { "'" + replacing("'", with: "'\\''") + "'" }
}
