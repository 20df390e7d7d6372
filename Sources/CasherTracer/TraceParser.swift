import CasherRecord
import CasherSystem
import Glibc

/// Reads a trace of strace as it comes and tells what each process did with paths outside the mount.
///
/// Not for several threads at once. Where the trace leaves something open (which interpreter the kernel read, whether
/// an ENOTDIR means the name itself), the parser looks at the file as it is when the line comes.
public final class TraceParser {
  /// What is known before the first line.
  public struct Configuration: Sendable {
    /// The traced command's first working directory, absolute.
    public var directory: FilePath
    /// Where the mount is. What is below it is left out, unless a symlink there leads elsewhere.
    public var mount: FilePath?
    /// Further directories of which nothing is told: /proc, /sys, /dev. A path that comes by way of the mount may be
    /// among them.
    public var ignored: [FilePath]
    /// Unix sockets that a command may connect to without becoming uncacheable: the daemon's own.
    public var trustedSockets: [FilePath]

    public init(
      directory: FilePath, mount: FilePath? = nil, ignored: [FilePath] = [], trustedSockets: [FilePath] = []
    ) {
      self.directory = directory
      self.mount = mount
      self.ignored = ignored
      self.trustedSockets = trustedSockets
    }
  }

  let configuration: Configuration
  let scope: PathScope
  var log = AccessLog()
  let names = CallNames()
  let executables = ExecutableReader()

  var processes: [TracedProcess] = []
  /// The process that has an id now; one that has exited keeps it until it is given again.
  var current: [Int32: Int32] = [:]
  private var lastProcess: TracedProcess?
  /// Processes in the midst of clone, fork or vfork whose child has not shown up.
  var makers: Set<Int32> = []
  var holding = 0
  private var live = 0

  /// The number of the line.
  var order: UInt32 = 0
  /// While the lines of a held process are taken: the order of others' accesses is not that of arrival.
  var isReplaying = false
  private var carry = ByteBuffer()
  private let joined = ByteBuffer()

  /// Working space for the call that is being parsed.
  let text = ByteBuffer()
  let base = ByteBuffer()
  let first = PathArgument()
  let second = PathArgument()

  public init(_ configuration: Configuration) {
    self.configuration = configuration
    var ignored = configuration.ignored
    ignored.removeAll { $0 == configuration.mount }
    scope = PathScope(mount: configuration.mount, ignored: ignored)
  }

  // MARK: what came of it

  /// The command's own process id; nil before its first line.
  public var mainProcess: Int32? { processes.first?.id }

  /// The command's own status as wait(2) gives it, as soon as its end is in the trace.
  public private(set) var mainExit: Int32?

  /// Whether the end of the process is in the trace.
  public func hasExited(_ process: Int32) -> Bool {
    guard let index = current[process] else { return false }
    return processes[Int(index)].hasExited
  }

  /// Processes and threads that the trace has begun and not ended.
  public var liveProcesses: Int { live }

  /// As `liveProcesses`, of `process` and its descendants.
  public func liveProcesses(ofSubtree process: Int32) -> Int {
    subtree(of: process).reduce(0) { $0 + (processes[Int($1)].hasExited ? 0 : 1) }
  }

  /// What `process` and its descendants did, one for each path, sorted by path; of the whole trace when nil.
  ///
  /// An open that changed a file through symlinks is told under the file's own path as well.
  public func accesses(ofSubtree process: Int32? = nil) -> [OutsideAccess] {
    log.merged(subtree(of: process).map { processes[Int($0)].entries })
  }

  func subtree(of process: Int32?) -> [Int32] {
    guard let process else { return processes.map(\.index) }
    guard let root = current[process] else { return [] }
    var result = [root]
    var next = 0
    while next < result.count {
      result += processes[Int(result[next])].children
      next += 1
    }
    return result
  }

  // MARK: lines

  /// Takes the next bytes of the trace, cut anywhere.
  public func consume(_ bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
    var at = 0
    while at < bytes.count {
      guard let newline = memchr(start + at, 10, bytes.count - at) else {
        carry.append(start + at, count: bytes.count - at)
        return
      }
      let length = UnsafeRawPointer(start + at).distance(to: UnsafeRawPointer(newline))
      if carry.isEmpty {
        line(UnsafeBufferPointer(start: start + at, count: length))
      } else {
        carry.append(start + at, count: length)
        line(carry.bytes)
        carry.removeAll()
      }
      at += length + 1
    }
  }

  /// To be called at the end of the trace.
  public func finish() {
    if !carry.isEmpty {
      let rest = Array(carry.bytes)
      carry.removeAll()
      rest.withUnsafeBufferPointer { line($0) }
    }
    settleHeld()
  }

  private func line(_ line: UnsafeBufferPointer<UInt8>) {
    order &+= 1
    var at = 0
    var id: Int32 = 0
    while at < line.count, line[at] >= UInt8(ascii: "0"), line[at] <= UInt8(ascii: "9") {
      id = id &* 10 &+ Int32(line[at] &- UInt8(ascii: "0"))
      at &+= 1
    }
    guard at > 0, at < line.count, line[at] == UInt8(ascii: " ") else { return }
    while at < line.count, line[at] == UInt8(ascii: " ") { at &+= 1 }
    let process = process(id)
    event(UnsafeBufferPointer(rebasing: line[at...]), of: process)
  }

  /// Takes a line of `process` without the process id.
  func event(_ line: UnsafeBufferPointer<UInt8>, of process: TracedProcess) {
    guard let kind = line.first else { return }
    if process.held != nil {
      process.held?.append((order, Array(line)))
      return
    }
    switch kind {
    case UInt8(ascii: "<"): resumed(line, of: process)
    case UInt8(ascii: "+"): ended(line, process)
    case UInt8(ascii: "-"), UInt8(ascii: "["), UInt8(ascii: "?"): break  // a signal, a change of personality, no call
    default:
      if line.hasEnding(" <unfinished ...>") {
        begin(UnsafeBufferPointer(rebasing: line.dropLast(17)), of: process)
      } else if let changed = line.processChange {
        // An execve of a thread other than the first: it goes on under the first one's id (ptrace(2)).
        begin(UnsafeBufferPointer(rebasing: line[..<changed.length]), of: process)
        takeOver(process, by: changed.process)
      } else {
        call(line, of: process, result: nil)
      }
    }
  }

  private func begin(_ line: UnsafeBufferPointer<UInt8>, of process: TracedProcess) {
    process.unfinished = Array(line)
    process.isMakingProcess = line.starts(with: "clone") || line.starts(with: "vfork") || line.starts(with: "fork")
    process.madeProcess = nil
    if process.isMakingProcess { makers.insert(process.index) }
  }

  /// `<... openat resumed>…` ends what `openat(… <unfinished ...>` began.
  private func resumed(_ line: UnsafeBufferPointer<UInt8>, of process: TracedProcess) {
    guard let mark = line.offset(of: " resumed>") else { return broken(line, process) }
    guard !process.unfinished.isEmpty else {
      // A process that was killed before strace could see which call it was in.
      if !line.starts(with: "<... ????") { broken(line, process) }
      return
    }
    var rest = UnsafeBufferPointer(rebasing: line[(mark + 9)...])
    if rest.starts(with: " <unfinished ...>") { rest = UnsafeBufferPointer(rebasing: rest[17...]) }
    joined.removeAll()
    joined.append(process.unfinished)
    if let start = rest.baseAddress { joined.append(start, count: rest.count) }
    process.unfinished = []
    makers.remove(process.index)
    let isTakenOver = process.isTakenOver
    process.isTakenOver = false
    call(joined.bytes, of: process, result: isTakenOver ? .success(0) : nil)
    process.isMakingProcess = false
  }

  private func takeOver(_ thread: TracedProcess, by id: Int32) {
    guard let index = current[id], processes[Int(index)] !== thread else { return }
    let leader = processes[Int(index)]
    leader.unfinished = thread.unfinished
    leader.isTakenOver = true
    leader.directory = thread.directory
    thread.unfinished = []
    exit(thread)
  }

  private func ended(_ line: UnsafeBufferPointer<UInt8>, _ process: TracedProcess) {
    var status: Int32 = 0
    if line.starts(with: "+++ exited with ") {
      for byte in line[16...] {
        guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { break }
        status = status &* 10 &+ Int32(byte &- UInt8(ascii: "0"))
      }
      status = (status & 0xff) << 8
    } else if line.starts(with: "+++ killed by ") {
      status = SignalName.number(UnsafeBufferPointer(rebasing: line[14...]))
      if line.offset(of: "(core dumped)") != nil { status |= 0x80 }
    } else {
      return
    }
    if !process.unfinished.isEmpty {
      // It died in a call, which may have taken effect.
      let interrupted = process.unfinished + Array(") = ?".utf8)
      process.unfinished = []
      interrupted.withUnsafeBufferPointer { call($0, of: process, result: .unknown) }
    }
    exit(process)
    if process.index == 0 { mainExit = status }
  }

  private func exit(_ process: TracedProcess) {
    if process.hasExited { return }
    process.hasExited = true
    live -= 1
  }

  func broken(_ line: UnsafeBufferPointer<UInt8>, _ process: TracedProcess) {
    process.findings.insert(.unobserved("the trace has the line \(FilePath(Array(line.prefix(200))))"))
  }

  // MARK: processes

  private func process(_ id: Int32) -> TracedProcess {
    if let lastProcess, lastProcess.id == id, !lastProcess.hasExited { return lastProcess }
    let result: TracedProcess
    if let index = current[id], !processes[Int(index)].hasExited {
      result = processes[Int(index)]
    } else {
      result = newcomer(id)
    }
    lastProcess = result
    return result
  }

  /// A process whose first line comes before its parent's call has returned.
  private func newcomer(_ id: Int32) -> TracedProcess {
    if processes.isEmpty {
      return add(id, WorkingDirectory(path: PathArgument.clean(configuration.directory.bytes), isCanonical: false))
    }
    if holding == 0, makers.count == 1, let maker = makers.first {
      let parent = processes[Int(maker)]
      if let sharing = TraceParser.sharesDirectory(parent.unfinished) {
        parent.madeProcess = id
        makers.remove(maker)
        return adopt(id, parent, sharing: sharing)
      }
    }
    let process = add(id, WorkingDirectory(path: [UInt8(ascii: "/")], isCanonical: false))
    process.held = []
    holding += 1
    return process
  }

  private func add(_ id: Int32, _ directory: WorkingDirectory) -> TracedProcess {
    let process = TracedProcess(id: id, index: Int32(truncatingIfNeeded: processes.count), directory: directory)
    processes.append(process)
    current[id] = process.index
    live += 1
    return process
  }

  private func adopt(_ id: Int32, _ parent: TracedProcess, sharing: Bool) -> TracedProcess {
    let child = add(id, sharing ? parent.directory : parent.directory.copy())
    parent.children.append(child.index)
    return child
  }

  /// Whether the child of this call shares its parent's directory; nil when the flags are not in the text (yet).
  static func sharesDirectory(_ call: [UInt8]) -> Bool? {
    call.withUnsafeBufferPointer { call in
      if call.starts(with: "vfork") || call.starts(with: "fork") { return false }
      guard let flags = call.offset(of: "flags=") else { return nil }
      var end = flags
      while end < call.count, call[end] != UInt8(ascii: ","), call[end] != UInt8(ascii: "}") { end += 1 }
      guard end < call.count else { return nil }
      return UnsafeBufferPointer(rebasing: call[(flags + 6)..<end]).hasFlag("CLONE_FS")
    }
  }

  /// clone, fork or vfork of `parent` has returned `id`.
  func didMake(_ id: Int32, _ parent: TracedProcess, sharing: Bool) {
    // It has shown itself already; `id` may be another number, that of its own pid namespace.
    if parent.madeProcess != nil { return }
    if let index = current[id] {
      let child = processes[Int(index)]
      if child.held != nil {
        child.directory = sharing ? parent.directory : parent.directory.copy()
        parent.children.append(child.index)
        release(child)
        return
      }
    }
    _ = adopt(id, parent, sharing: sharing)
  }

  private func release(_ child: TracedProcess) {
    let lines = child.held ?? []
    child.held = nil
    let outer = (order, isReplaying)
    isReplaying = true
    for (order, line) in lines {
      self.order = order
      line.withUnsafeBufferPointer { event($0, of: child) }
    }
    (order, isReplaying) = outer
    holding -= 1
  }

  /// At the end: nobody's child is the command's own, with what it did before it was known where it stood.
  private func settleHeld() {
    for process in processes where process.held != nil {
      process.findings.insert(.unobserved("the trace does not tell which process started \(process.id)"))
      process.directory = processes[0].directory.copy()
      processes[0].children.append(process.index)
      release(process)
    }
  }
}

extension UnsafeBufferPointer<UInt8> {
  fileprivate func hasEnding(_ text: StaticString) -> Bool {
    guard let base = baseAddress, count >= text.utf8CodeUnitCount else { return false }
    return memcmp(base + (count - text.utf8CodeUnitCount), text.utf8Start, text.utf8CodeUnitCount) == 0
  }

  /// `… <pid changed to 17 ...>`: 17, and the length of what stands before it.
  fileprivate var processChange: (process: Int32, length: Int)? {
    guard hasEnding(" ...>"), let mark = offset(of: " <pid changed to ") else { return nil }
    var id: Int32 = 0
    for byte in self[(mark + 17)...] {
      guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { break }
      id = id &* 10 &+ Int32(byte &- UInt8(ascii: "0"))
    }
    return (id, mark)
  }
}
