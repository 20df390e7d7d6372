import CasherSystem
import Glibc

extension Command {
  static let status = Command(
    name: "status", operands: "[DIR]", operandCount: 0...1, summary: "show what is mounted, and how it is doing",
    details: """
      Shows every mount, or the one that holds DIR: whether files are read and written without the daemon \
      (passthrough), how runs are told apart, what is running, and what the mount has done so far. A mount whose \
      daemon is gone is shown with what to run; the exit code is then 11.
      """,
    options: [Option.json], run: showStatus)
}

/// One mount as it was found.
private struct MountState: Sendable {
  var directory: FilePath
  /// Nil when the daemon is gone or does not answer.
  var answer: DaemonAnswer?
  var problem: String?

  /// How long a daemon may take to say how it is, nanoseconds.
  private static let patience: Int64 = 10_000_000_000

  /// Each mount is asked by a thread of its own: one that never answers keeps the others from nothing.
  static func all(of directories: [FilePath]) -> [MountState] {
    let asked = directories.map { directory in
      let answer = Monitor<MountState?>(nil)
      var isAsked = true
      do throws(Errno) {
        try SystemThread.start {
          let state = MountState(of: directory)
          answer.update { $0 = state }
        }
      } catch { isAsked = false }
      return (directory, answer, isAsked)
    }
    let end = Clock.monotonic() &+ patience
    return asked.map { directory, answer, isAsked in
      let state = isAsked ? answer.wait(timeout: max(0, end &- Clock.monotonic())) { $0 } : nil
      return state ?? MountState(silent: directory)
    }
  }

  private init(silent directory: FilePath) {
    self.directory = directory
    problem = "the daemon of this mount does not answer; 'casherfs unmount --lazy \(directory)' takes the mount away."
  }

  private init(of directory: FilePath) {
    self.directory = directory
    do throws(Errno) {
      let socket = try DaemonConnection.socket(servingDirectory: directory)
      let answered = try DaemonConnection.ask("status", at: socket)
      problem = answered.refusal
      if problem == nil { answer = answered }
    } catch {
      problem =
        error == .accessDenied || error == .notPermitted
        ? "this mount belongs to another user, and only that user and root can ask it."
        : "the daemon of this mount is gone (\(error)); 'casherfs mount \(directory)' goes on with it and all its files, "
          + "'casherfs unmount \(directory)' ends it."
    }
  }
}

private func showStatus(_ arguments: Arguments) throws(Failure) -> ExitCode {
  var directories = try MountedDirectory.all()
  if let given = arguments.operands.first { directories = [try holder(of: given, among: directories)] }
  let states = MountState.all(of: directories)
  if arguments.has("--json") {
    Console.print(bytes: Array(JSON.array(states.map(json)).text.utf8))
  } else if states.isEmpty {
    Console.print("nothing is mounted; 'casherfs mount DIR' mounts a directory.")
  } else {
    Console.print(states.map(text).joined(separator: "\n\n"))
  }
  return states.contains { $0.answer == nil } ? .dead : .success
}

/// The mount that the path is or lies in.
private func holder(of given: FilePath, among mounts: [FilePath]) throws(Failure) -> FilePath {
  if let path = try? given.resolved(),
    let mount = mounts.filter({ path.isWithin($0) }).max(by: { $0.bytes.count < $1.bytes.count })
  {
    return mount
  }
  return try MountedDirectory.find(given)
}

private func text(_ state: MountState) -> String {
  guard let answer = state.answer else { return "\(state.directory)\n  \(state.problem ?? "")" }
  let pairs = answer.pairs.filter { $0.key != "directory" }
  let width = pairs.map(\.key.count).max() ?? 0
  return
    (["\(state.directory)"]
    + pairs.map { "  \(Help.pad($0.key.replacing("_", with: " "), to: width))  \($0.value)" }).joined(separator: "\n")
}

private func json(_ state: MountState) -> JSON {
  var members: [(String, JSON)] = [
    ("directory", .path(state.directory)), ("alive", .bool(state.answer != nil)),
  ]
  var running: [JSON] = []
  for (key, value) in state.answer?.pairs ?? [] where key != "directory" {
    switch (key, value) {
    case ("running", _): running.append(.string(value))
    case (_, "true"), (_, "false"): members.append((key, .bool(value == "true")))
    default: members.append((key, Int64(value).map { .integer($0) } ?? .string(value)))
    }
  }
  if state.answer != nil { members.append(("running", .array(running))) }
  if let problem = state.problem { members.append(("problem", .string(problem))) }
  return .object(members)
}
