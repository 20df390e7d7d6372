import CasherStore
import CasherSystem

extension Command {
  static let doctor = Command(
    name: "doctor", operands: "", operandCount: 0...0, summary: "check that everything Casher needs is there",
    details: """
      Looks at what mounting and observing take: /dev/fuse and fusermount3, namespaces, strace and the right to trace, \
      the kernel's passthrough by a mount of its own in a temporary directory, the configuration files, and the cache, \
      its filesystem and the space on it. What is wrong is named with what mends it. The exit code is 1 when \
      something is wrong, and 0 when all is well or slower than it could be.
      """,
    options: [Option.json, Option.cacheDirectory], run: examine)
}

/// What was found about one thing.
struct Finding {
  enum State: String {
    case ok
    /// It works, but less well than it could.
    case warning
    case problem
  }

  var name: String
  var state: State
  /// What is the case, a sentence without its full stop.
  var detail: String
  /// What to do about it; empty when nothing is to be done.
  var remedy = ""

  init(_ name: String, _ state: State, _ detail: String, _ remedy: String = "") {
    self.name = name
    self.state = state
    self.detail = detail
    self.remedy = remedy
  }
}

private func examine(_ arguments: Arguments) throws(Failure) -> ExitCode {
  var findings = SystemCheck.device() + [SystemCheck.helper(), SystemCheck.namespaces()] + SystemCheck.tracer()
  do throws(Failure) {
    let access = try StoreAccess(arguments)
    findings.append(configuration(access))
    findings += SystemCheck.trialMount(access)
    findings += StoreCheck.findings(access)
  } catch {
    let name = error.code == .badConfiguration ? "configuration" : "cache"
    findings.append(
      Finding(name, .problem, error.message.hasSuffix(".") ? String(error.message.dropLast()) : error.message))
  }
  let isWell = !findings.contains { $0.state == .problem }
  if arguments.has("--json") {
    Console.print(
      JSON.object([
        ("ok", .bool(isWell)),
        (
          "checks",
          .array(
            findings.map { finding in
              .object([
                ("name", .string(finding.name)), ("state", .string(finding.state.rawValue)),
                ("detail", .string(finding.detail)), ("remedy", .string(finding.remedy)),
              ])
            })
        ),
      ]))
  } else {
    for finding in findings { Console.print(text(finding)) }
  }
  return isWell ? .success : .failure
}

private func configuration(_ access: StoreAccess) -> Finding {
  let files = access.configuration.files.map(\.path.description)
  if let warning = access.configuration.warnings.first {
    return Finding("configuration", .warning, warning, "chown and chmod make it yours alone, if it is to count")
  }
  return Finding("configuration", .ok, files.isEmpty ? "no configuration file" : files.joined(separator: ", "))
}

private func text(_ finding: Finding) -> String {
  let style: Style =
    switch finding.state {
    case .ok: .green
    case .warning: .yellow
    case .problem: .red
    }
  let line = "\(style(Help.pad(finding.state.rawValue, to: 7)))  \(Help.pad(finding.name, to: 13))  \(finding.detail)"
  return finding.remedy.isEmpty ? line : line + "\n" + String(repeating: " ", count: 24) + "-> \(finding.remedy)"
}

/// Checks of the cache and the disk that it is on.
enum StoreCheck {
  /// Free bytes below which storing results soon fails, and below which it may.
  private static let little: Int64 = 64 << 20
  private static let few: Int64 = 1 << 30

  static func findings(_ access: StoreAccess) -> [Finding] {
    var findings: [Finding] = []
    do throws(Failure) {
      if let store = try access.open() {
        defer { store.close() }
        findings.append(Finding("cache", .ok, "\(access.directory)"))
      } else {
        findings.append(Finding("cache", .ok, "\(access.directory) is not there yet; the first mount makes it"))
      }
    } catch {
      findings.append(
        Finding("cache", .problem, error.message, "mend that, or name another directory with CASHER_CACHE_DIR"))
    }
    // The directory itself, or where it would be made.
    var place = access.directory
    while (try? FileDescriptor.workingDirectory.status(of: place)) == nil, place != "/", !place.isEmpty {
      place = place.parent
    }
    guard let directory = try? FileDescriptor.open(place, FileDescriptor.readOnly) else { return findings }
    defer { directory.close() }
    if let type = try? directory.filesystemType(), let name = Store.remoteFilesystem(type) {
      findings.append(
        Finding(
          "filesystem", .problem, "\(place) is on \(name), where several machines' locks and memory do not meet",
          "keep the cache on a local disk: CASHER_CACHE_DIR=DIR"))
    } else {
      findings.append(Finding("filesystem", .ok, "\(place) is on a local filesystem"))
    }
    guard let status = try? directory.fileSystemStatus() else { return findings }
    let free = Int64(clamping: UInt64(status.f_bavail) &* UInt64(status.f_frsize))
    let remedy = "'casherfs evict --until-free 5G' makes room, or free some yourself"
    let detail = "\(Quantity.size(free)) free, the cache may take \(Quantity.size(access.limit))"
    findings.append(
      free < little
        ? Finding("disk", .problem, detail, remedy)
        : Finding("disk", free < few ? .warning : .ok, detail, free < few ? remedy : ""))
    return findings
  }
}
