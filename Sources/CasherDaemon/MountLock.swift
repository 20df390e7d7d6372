import CasherSystem
import Glibc

/// Held by the one daemon that serves a directory, from before it reads the journal until everything is written: an
/// unmount may be done long before the daemon is.
struct MountLock {
  private let file: FileDescriptor

  /// How long to wait for the daemon of an earlier mount, nanoseconds.
  private static let patience: Int64 = 60_000_000_000
  private static let step = 20_000_000

  /// Nil when another daemon still has it, at once where `isInVain` says that it will not give it up.
  init?(in directory: FilePath, isInVain: () -> Bool = { false }) throws(Errno) {
    file = try FileDescriptor.open(directory.appending("lock"), O_RDWR | O_CREAT, mode: 0o600)
    let deadline = Clock.monotonic() &+ MountLock.patience
    while true {
      do throws(Errno) {
        try file.holdLock(exclusive: true, waiting: false)
        return
      } catch {
        guard error == .wouldBlock else {
          file.close()
          throw error
        }
        if Clock.monotonic() >= deadline || isInVain() {
          file.close()
          return nil
        }
      }
      var pause = timespec(tv_sec: 0, tv_nsec: MountLock.step)
      nanosleep(&pause, nil)
    }
  }

  func release() { file.close() }
}
