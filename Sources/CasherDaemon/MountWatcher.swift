import CasherOverlay
import CasherSystem
import Glibc

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
  /// How long after a table that could not be read it is tried again, nanoseconds.
  private static let pause = 100_000_000

  /// To be run on a thread of its own; returns when the daemon has been told to end.
  func run(_ watch: MountTableWatch) {
    while true {
      do throws(Errno) { try watch.waitForChange() } catch { MountWatcher.rest() }
      if isMounted(watch) { continue }
      // Whoever is still in a view keeps what is in it.
      while overlay.hasUsedViews(timeoutNanoseconds: MountWatcher.patience) {}
      while rootView?.present?.hasUsedViews(timeoutNanoseconds: MountWatcher.patience) == true {}
      overlay.stop()
      return
    }
  }

  /// A table that cannot be read says nothing.
  private func isMounted(_ watch: MountTableWatch) -> Bool {
    while true {
      do throws(Errno) { return try watch.top(at: directory)?.type == MountEntry.casherType } catch {
        MountWatcher.rest()
      }
    }
  }

  private static func rest() {
    var pause = timespec(tv_sec: 0, tv_nsec: MountWatcher.pause)
    nanosleep(&pause, nil)
  }
}
