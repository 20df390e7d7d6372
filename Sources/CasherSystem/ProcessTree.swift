import Glibc

/// The processes that descend from the calling one, which has adopted their orphans
/// (`CommandSignals.adoptOrphans`): none of them gets out of it by forking twice or leaving the session.
public enum ProcessTree {
  /// All of them but `left` that have not ended (proc_pid_stat(5)).
  public static func descendants(besides left: Set<Int32> = []) -> [Int32] {
    var children: [Int32: [Int32]] = [:]
    for entry in (try? FileDescriptor.workingDirectory.entries(of: "/proc")) ?? [] {
      guard let number = Int32(String(decoding: entry.name.bytes, as: UTF8.self)),
        let process = ProcessEntry(of: number), !process.isZombie
      else { continue }
      children[process.parent, default: []].append(number)
    }
    var result: [Int32] = []
    var open = children[getpid()] ?? []
    while let process = open.popLast() {
      if !left.contains(process) { result.append(process) }
      open += children[process] ?? []
    }
    return result
  }

  /// Asks all of them to end (SIGTERM), those that are stopped too. Those in `left` are not asked.
  public static func terminate(besides left: Set<Int32>) {
    for process in descendants(besides: left) {
      Glibc.kill(process, SIGTERM)
      Glibc.kill(process, SIGCONT)
    }
  }

  /// Ends all of them that there are (SIGKILL). First all are stopped, until there are none that could start new ones.
  public static func kill(besides left: Set<Int32>) {
    var stopped: Set<Int32> = []
    while true {
      let new = descendants(besides: left).filter { !stopped.contains($0) }
      if new.isEmpty { break }
      for process in new {
        Glibc.kill(process, SIGSTOP)
        stopped.insert(process)
      }
    }
    for process in stopped { Glibc.kill(process, SIGKILL) }
  }
}
