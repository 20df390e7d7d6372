import CasherOverlay
import CasherSystem

/// Ends the daemon when its mount is gone.
///
/// A copy of the mount in another mount namespace would keep the filesystem alive, and the daemon with it: every
/// `unshare -m`, container or run of another mount has one where mounts are private.
struct MountWatcher: Sendable {
  let overlay: Overlay
  /// Nil where nothing runs.
  let rootView: RootView?
  let directory: FilePath

  /// How long views that are being left may take, nanoseconds.
  private static let patience: Int64 = 2_000_000_000

  /// To be run on a thread of its own; returns when the daemon has been told to end.
  func run(_ watch: MountTableWatch) {
    while (try? watch.waitForChange()) != nil {
      let entry = (try? MountTable.top(at: directory)) ?? nil
      if entry?.type == MountEntry.casherType { continue }
      // Whoever is still in a view keeps what is in it.
      while overlay.hasUsedViews(timeoutNanoseconds: MountWatcher.patience) {}
      while rootView?.present?.hasUsedViews(timeoutNanoseconds: MountWatcher.patience) == true {}
      overlay.stop()
      return
    }
  }
}
