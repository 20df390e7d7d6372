import CasherOverlay
import CasherStore
import CasherSystem
import Glibc

/// What survives a loss of power of what is placed. A daemon or acache that is killed never loses anything.
public enum Durability: String, Sendable, CaseIterable {
  /// Nothing is synced.
  case none
  /// The journal is synced now and then, everything when files become ordinary ones at a freeze or unmount.
  case normal
  /// Each step is on the disk before anyone is told of it.
  case full
}

/// What came of making placed files ordinary ones.
public struct FreezeReport: Sendable {
  /// Files that were placed, and are ordinary now.
  public var files = 0
  public var bytes: Int64 = 0
  /// Paths, relative to the mount's root, of what is still only in the cache, with the reason.
  public var failures: [(path: FilePath, reason: String)] = []
  /// What could not be had when the journal of a killed daemon was read.
  public var lost: [(path: FilePath, reason: String)] = []
  /// Those of both kinds that were given up after it.
  public var forgotten: [(path: FilePath, reason: String)] = []
  /// What the store has the freeze under; nil when it was not put on record.
  public var record: Int64?
  /// Why it could not be put on record.
  public var unrecorded: String?

  public init() {}

  public var isComplete: Bool { failures.isEmpty && lost.isEmpty }
}

/// Makes every placed file an ordinary one.
struct Freezing: Sendable {
  let overlay: Overlay
  let blobs: PlacedBlobs
  let durability: Durability
  let log: DaemonLog
  let recording: FreezeRecording

  /// `cause`: what the freeze is put on record as having been made by; nil when another follows that will be.
  func run(_ cause: FreezeCause?) -> FreezeReport {
    let again = overlay.recoverLost()
    if !again.isEmpty { blobs.adopt(again) }
    let (files, bytes) = (overlay.placements.count, overlay.placements.bytes)
    var report = FreezeReport()
    var failures = overlay.materialiseAll().map { ($0.path, $0.cause.description) }
    do throws(Errno) {
      if durability != .none, files > 0 || overlay.placements.hasUnsynced { try synchronizeLower() }
      overlay.forgetOrdinary()
    } catch {
      failures.append((FilePath("."), "not synced: \(error)"))
    }
    if durability != .none { try? overlay.synchronizeJournal() }
    report.failures = failures
    report.lost = overlay.placements.lost.map { ($0.missing.path, $0.missing.reason) }
    report.files = max(0, files - overlay.placements.count)
    report.bytes = max(0, bytes - overlay.placements.bytes)
    var results = 0
    if let cause {
      do throws(StoreError) {
        let recorded = try recording.record(cause)
        (report.record, results) = (recorded.id, recorded.results)
      } catch { report.unrecorded = "\(error)" }
    }
    if files > 0 || !report.isComplete || cause != nil { write(report, cause, results: results) }
    return report
  }

  /// Gives up what a freeze could not have.
  func giveUp(_ report: inout FreezeReport) {
    let missing = Set(overlay.forgetMissing())
    report.forgotten += report.failures.filter { missing.contains($0.path) }
    report.failures.removeAll { missing.contains($0.path) }
    if (try? overlay.forgetLost()) != nil {
      report.forgotten += report.lost
      report.lost = []
    }
    for (path, reason) in report.forgotten { log.write("forgotten", [("path", "\(path)"), ("reason", reason)]) }
  }

  private func synchronizeLower() throws(Errno) {
    let root = try overlay.rootDescriptor.open(".", O_RDONLY | O_DIRECTORY)
    defer { root.close() }
    try root.synchronizeFilesystem()
  }

  /// A line for the freeze, and one for each file that is not in the directory.
  private func write(_ report: FreezeReport, _ cause: FreezeCause?, results: Int) {
    var fields = [
      ("files", "\(report.files)"), ("bytes", "\(report.bytes)"),
      ("failed", "\(report.failures.count + report.lost.count)"),
    ]
    if let cause { fields.append(("cause", cause.rawValue)) }
    if let id = report.record { fields += [("id", "\(id)"), ("results", "\(results)")] }
    if let reason = report.unrecorded { fields.append(("unrecorded", reason)) }
    log.write("freeze", fields)
    for (path, reason) in report.failures + report.lost {
      log.write("not-frozen", [("path", "\(path)"), ("reason", reason)])
    }
  }
}

extension Daemon {
  /// Whether the daemon of a directory left word of something placed, or of results that no freeze has recorded.
  public static func hasJournal(_ configuration: DaemonConfiguration) -> Bool {
    let mounts = configuration.storeDirectory.appending("mounts").appending(configuration.mountID)
    if MountRuns.hasAny(in: mounts) { return true }
    let status = try? FileDescriptor.workingDirectory.statusIfPresent(of: MountState.journal(in: mounts))
    let isThere = (status ?? nil).map { $0.size > 0 } ?? false
    return isThere || configuration.journalCopy?.isThere ?? false
  }

  /// The journal of the mount that a socket belongs to.
  public static func journal(beside socket: FilePath) -> FilePath { MountState.journal(in: socket.parent) }

  /// Makes ordinary files of what was placed when the daemon of a directory, which is not mounted now, was killed.
  /// `givingUp`: what cannot be had is to be forgotten. `following` calls what it is given second, which writes the
  /// files, and may ask what it is given first how many are left, from any thread.
  public static func freezeUnmounted(
    _ configuration: DaemonConfiguration, givingUp: Bool,
    following: (@escaping @Sendable () -> (files: Int, bytes: Int64), () -> FreezeReport) -> FreezeReport
  ) throws(DaemonError) -> FreezeReport {
    let state = try MountState(configuration)
    defer { state.close() }
    let overlay = try state.makeOverlay(recorder: RunTable { _ in [] })
    let recovery = state.recover(overlay)
    let placements = overlay.placements
    let freezing = state.freezing(overlay, state.makeDigester(overlay))
    var report = following({ (placements.count, placements.bytes) }) { freezing.run(.recovery) }
    if recovery.wasTorn { report.failures.append((configuration.directory, Recovery.tornReason)) }
    report.failures += recovery.suspected.map { ($0.path, "may be missing: \($0.reason)") }
    if givingUp { freezing.giveUp(&report) }
    state.settle(overlay)
    return report
  }
}
