import CasherRecord
import CasherSystem
import CasherTracer

/// The trace of a command's system calls, as it comes from strace, and what nested calls want to know of it.
final class TraceRelay {
  private let source: FileDescriptor
  private let complaints: FileDescriptor
  private let parser: TraceParser
  private(set) var isOpen = true
  /// Processes of nested calls, whose part of the trace is wanted once they have ended; and since when they have
  /// (CLOCK_MONOTONIC, nanoseconds).
  private var wanted: [(process: Int32, ended: Int64?)] = []

  /// Processes that end this soon after the command's own count as ended with it, in nanoseconds.
  static let grace: Int64 = 30_000_000

  init(trace: FileDescriptor, complaints: FileDescriptor, _ configuration: TraceParser.Configuration) {
    source = trace
    self.complaints = complaints
    parser = TraceParser(configuration)
  }

  var waitsFor: PollItem? { isOpen ? .reading(source) : nil }

  /// Reads what is there.
  func proceed() {
    guard isOpen else { return }
    withUnsafeTemporaryAllocation(byteCount: 65536, alignment: 16) { buffer in
      do throws(Errno) {
        let count = try source.read(into: buffer)
        if count > 0 {
          parser.consume(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        } else {
          end()
        }
      } catch {
        if error != .wouldBlock { end() }
      }
    }
  }

  private func end() {
    isOpen = false
    parser.finish()
    source.close()
  }

  /// Whether the end of the command's own process is in the trace.
  var mainHasEnded: Bool { parser.mainExit != nil }

  var hasLiveProcesses: Bool { parser.liveProcesses > 0 }

  var accesses: [OutsideAccess] { parser.accesses() }

  /// What the trace itself forbids, and whether there is a trace at all.
  var obstacles: [Uncacheable] {
    if parser.mainProcess == nil { return [.tracerUnavailable(complaint ?? "strace did not say anything")] }
    if !mainHasEnded { return parser.obstacles() + [.outsideUnobserved("strace ended before the command")] }
    return parser.obstacles()
  }

  /// What strace wrote to its stderr.
  private var complaint: String? {
    guard let bytes = try? complaints.readSome(4096), !bytes.isEmpty else { return nil }
    let line = bytes.prefix { $0 != UInt8(ascii: "\n") }
    return FilePath(line).description
  }

  func want(_ process: Int32) { wanted.append((process, nil)) }

  var isWanted: Bool { !wanted.isEmpty }

  /// The answers that can be given now, or all with `finally`.
  func answers(finally: Bool) -> [CallerMessage] {
    var result: [CallerMessage] = []
    let now = Clock.monotonic()
    wanted = wanted.compactMap { entry in
      let hasEnded = parser.hasExited(entry.process)
      let live = parser.liveProcesses(ofSubtree: entry.process)
      let ended = entry.ended ?? (hasEnded ? now : nil)
      let isDue = ended.map { live == 0 || now - $0 > TraceRelay.grace } ?? false
      guard isDue || finally || !isOpen else { return (entry.process, ended) }
      var obstacles = parser.obstacles(ofSubtree: entry.process)
      if !hasEnded {
        obstacles.append(.nested("the trace of the outer command ended before it did"))
      } else if live > 0 {
        obstacles.append(.backgroundProcess)
      }
      result.append(
        .traced(
          process: entry.process, accesses: parser.accesses(ofSubtree: entry.process), obstacles: obstacles))
      return nil
    }
    return result
  }

  func close() {
    if isOpen { end() }
    complaints.close()
  }
}
