import CasherRecord
import CasherSystem

/// A command that runs: its streams relayed, its trace read, the daemon's questions about it answered, until it ends.
///
/// Everything happens in one loop around poll(2): each source says what it waits for and is told when that is there.
final class CommandRun {
  /// The command's status as wait(2) gives it; nil while it runs.
  private(set) var status: Int32?
  /// Processes of the command are still there though it has ended.
  private(set) var leftProcesses = false
  private(set) var spool: TranscriptSpool
  /// The command took longer than it may, and all that it had started was ended.
  private(set) var isTimedOut = false
  /// What the command wrote to a file of its own cannot be told from that file.
  private(set) var isOutputUnclear = false

  private let process: Int32
  private let changes: FileDescriptor
  private let outputs: [StreamRelay]
  private let turns: OutputTurns?
  private let files: [DirectOutput]
  private let input: StandardInputRelay?
  private let trace: TraceRelay?
  private let calls: WatchedCalls?
  private let daemon: DaemonConnection?

  /// `changes` is `CommandSignals.childChanges()`.
  init(
    process: Int32, changes: FileDescriptor, outputs: [StreamRelay], turns: OutputTurns?, files: [DirectOutput],
    input: StandardInputRelay?, trace: TraceRelay?, calls: WatchedCalls?, daemon: DaemonConnection?,
    spool: TranscriptSpool
  ) {
    self.process = process
    self.changes = changes
    self.outputs = outputs
    self.turns = turns
    self.files = files
    self.input = input
    self.trace = trace
    self.calls = calls
    self.daemon = daemon
    self.spool = spool
  }

  /// Waits for the end of the command, which is brought about at `deadline` (CLOCK_MONOTONIC, nanoseconds). What it
  /// printed has been written on when this returns, and the trace is read up to its end.
  func wait(until deadline: Int64? = nil) throws(Errno) {
    for output in outputs {
      output.interruption = (
        changes,
        {
          self.noteChildren()
          return self.status == nil || !CommandSignals.wasInterrupted
        }
      )
    }
    noteChildren()
    while status == nil {
      if let deadline, Clock.monotonic() >= deadline {
        try endTree()
      } else {
        try proceed(timeout: nearest(timeoutOfAnswers, CommandRun.milliseconds(until: deadline)))
      }
    }
    if let trace {
      while trace.isOpen && !trace.mainHasEnded { try proceed() }
    }
    try waitForOthers()
    turns?.end(&spool)
    for output in outputs {
      while output.proceed(&spool) {}
    }
    for file in files {
      // What is left behind may write on: then there is no end to what was written.
      if leftProcesses || spool.descriptor == nil {
        file.close()
      } else if !file.capture(&spool) {
        isOutputUnclear = true
      }
    }
    if spool.descriptor != nil, outputs.contains(where: { !$0.announceWriting() }) { isOutputUnclear = true }
    input?.settle()
    answer(finally: true)
  }

  /// Processes that end right after the command's own count as ended with it.
  private func waitForOthers() throws(Errno) {
    let deadline = Clock.monotonic() &+ TraceRelay.grace
    while true {
      leftProcesses = othersAreLeft()
      let rest = (deadline &- Clock.monotonic()) / 1_000_000
      if !leftProcesses || rest <= 0 { break }
      try proceed(timeout: Int32(clamping: rest))
    }
  }

  /// To be called when nothing more is wanted of the run.
  func close() {
    for output in outputs { output.close() }
    changes.close()
  }

  // MARK: the end of its time

  /// What the processes of a command get to end by themselves, and how long one is waited for that cannot be ended, in
  /// nanoseconds.
  private static let lastWords: Int64 = 2_000_000_000
  private static let patience: Int64 = 10_000_000_000

  /// Ends the command and everything that it has started: politely, then not.
  private func endTree() throws(Errno) {
    isTimedOut = true
    let tracer: Set<Int32> = [CommandSignals.tracer(of: process)]
    ProcessTree.terminate(besides: tracer)
    try proceed(until: Clock.monotonic() &+ CommandRun.lastWords) { ProcessTree.descendants(besides: tracer).isEmpty }
    ProcessTree.kill(besides: tracer)
    try proceed(until: Clock.monotonic() &+ CommandRun.patience) { ProcessTree.descendants(besides: tracer).isEmpty }
    // A process that even SIGKILL does not end is waited for as without acache.
    while status == nil { try proceed() }
  }

  private func proceed(until deadline: Int64, _ isDone: () -> Bool) throws(Errno) {
    while Clock.monotonic() < deadline {
      noteChildren()
      if status != nil, isDone() { return }
      try proceed(timeout: 20)
    }
  }

  private static func milliseconds(until deadline: Int64?) -> Int32 {
    guard let deadline else { return -1 }
    return Int32(clamping: max(0, (deadline &- Clock.monotonic()) / 1_000_000 &+ 1))
  }

  /// The smaller of two timeouts, of which -1 is none.
  private func nearest(_ one: Int32, _ other: Int32) -> Int32 { one < 0 ? other : other < 0 ? one : min(one, other) }

  /// After `wait`, when processes are left: goes on for them in a process of its own, so that their output arrives and
  /// their readers see its end when they are gone.
  func relayForTheRest() throws(Errno) {
    guard leftProcesses, try CommandSignals.split() else { return }
    CommandSignals.ignore()
    for output in outputs { output.interruption = nil }
    daemon?.close()
    changes.close()
    spool.descriptor?.close()
    spool = TranscriptSpool(nil)
    var held: [FileDescriptor] = [.standardInput, .standardOutput, .standardError]
    while true {
      // Whoever waits for the end of a stream must not wait for this process.
      held.removeAll { descriptor in
        if isNeeded(descriptor) { return false }
        descriptor.close()
        return true
      }
      let isWanted = outputs.contains(where: \.isOpen) || trace?.isOpen == true || calls?.isOpen == true
      guard isWanted, (try? proceed()) != nil else { endProcess(0) }
    }
  }

  private func isNeeded(_ descriptor: FileDescriptor) -> Bool {
    if descriptor == .standardInput { return input.map { !$0.isOver } ?? false }
    return outputs.contains { $0.isOpen && $0.target == descriptor }
  }

  // MARK: the loop

  /// Waits for something to happen, at most `timeout` milliseconds, and lets each source proceed that has something.
  private func proceed(timeout: Int32 = -1) throws(Errno) {
    var items: [PollItem] = []
    var actions: [(PollItem) -> Void] = []
    func watch(_ item: PollItem?, _ action: @escaping (PollItem) -> Void) {
      guard let item else { return }
      items.append(item)
      actions.append(action)
    }
    for output in outputs { watch(output.waitsFor) { _ in output.proceed(&self.spool) } }
    watch(trace?.waitsFor) { _ in self.trace?.proceed() }
    watch(calls?.waitsFor) { self.calls?.proceed($0) }
    watch(input?.waitsFor) { self.input?.proceed($0) }
    if changes.isOpen { watch(.reading(changes)) { _ in self.noteChildren() } }
    watch(daemon?.descriptor.map { .reading($0) }) { _ in self.listen() }
    try PollItem.wait(&items, timeout: nearest(timeout, turns?.timeout ?? -1))
    for (item, action) in zip(items, actions) where item.isReady { action(item) }
    turns?.take(&spool)
    answer(finally: false)
  }

  private func noteChildren() {
    if let told = try? changes.readSome(1024), CommandSignals.tellsWindow(told) { adoptSizes() }
    while true {
      switch CommandSignals.nextChange() {
      case .ended(process, let ended):
        status = ended
        // From here on a signal is this process's own.
        CommandSignals.forward(to: 0)
      // The shell that waits for this process must see that its job has stopped.
      case .stopped(process):
        // Its last output, and the settings it has restored, come before the shell's prompt.
        for output in outputs where output.terminal != nil { while output.proceed(&spool) {} }
        CommandSignals.stop()
        adoptSizes()
      case .ended, .stopped: break
      case .none:
        hasChildren = true
        return
      case .noChildren:
        hasChildren = false
        return
      }
    }
  }

  private func adoptSizes() { for output in outputs { output.terminal?.adoptSize() } }

  private var hasChildren = false

  /// Orphans among the descendants have become this process's children; so has the tracer, which does not count.
  private func othersAreLeft() -> Bool {
    if let trace, trace.isOpen { return trace.hasLiveProcesses }
    noteChildren()
    return hasChildren
  }

  // MARK: the daemon

  private func listen() {
    guard let (message, descriptors) = daemon?.receive() else { return }
    for descriptor in descriptors { descriptor.close() }
    if case .traceWanted(let wanted) = message { want(wanted) }
  }

  private func want(_ process: Int32) {
    if let trace {
      trace.want(process)
    } else if let calls {
      // A call is told before it is carried out, so nothing of it is still on its way.
      daemon?.send(.traced(process: process, accesses: [], obstacles: calls.obstacles(of: process)))
    } else {
      daemon?.send(
        .traced(process: process, accesses: [], obstacles: [.nested("the outer command is not traced")]))
    }
  }

  private func answer(finally: Bool) {
    guard let trace, trace.isWanted else { return }
    for message in trace.answers(finally: finally) { daemon?.send(message) }
  }

  /// Milliseconds until a question about the trace may have to be answered though nothing has come.
  private var timeoutOfAnswers: Int32 { trace?.isWanted == true ? Int32(TraceRelay.grace / 1_000_000) : -1 }
}
