import CLinux
import Glibc

/// A process of its own that ends the connections of FUSE filesystems when the process that serves them was killed and
/// cannot end.
///
/// The kernel lets nobody interrupt a wait for an answer to a request that the server has read, nor for the lock of a
/// directory whose change waits for such an answer. A killed server with a thread in such a wait (it notifies the kernel of
/// what has changed in a directory, or makes a mount of a view) keeps its descriptors, /dev/fuse among them, and with them
/// the filesystem, whose every user then waits for ever.
public struct ConnectionGuard: Sendable {
  /// Nil when it could not be started: everything works without it, but for that.
  private let descriptor: FileDescriptor?
  private let process: Int32

  /// Starts it. To be called by the main thread, before another was started and before a lock is held. The corresponding
  /// C functions are `fork` and `prctl` (PR_SET_PDEATHSIG).
  public static func start() -> ConnectionGuard {
    var process: Int32 = 0
    let pipe = casher_start_guard(CommandLine.unsafeArgv, CommandLine.argc, &process)
    return ConnectionGuard(descriptor: pipe < 0 ? nil : FileDescriptor(rawValue: pipe), process: process)
  }

  /// From now on this process serves the filesystem whose files show this device (stat(2), st_dev).
  public func add(device: UInt64) { send(device, isServed: true) }

  /// This process is about to end the filesystem: its number may soon be another's.
  public func remove(device: UInt64) { send(device, isServed: false) }

  /// Ends it, and returns when it is gone: nobody serves anything any more.
  public func end() {
    guard let descriptor else { return }
    descriptor.close()
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0, errno == EINTR {}
  }

  private func send(_ device: UInt64, isServed: Bool) {
    guard let descriptor else { return }
    // Filesystems that are on no disk have 0 as the device's major number, and the connection's is the minor one.
    let number = UInt32(truncatingIfNeeded: device & 0xff | device >> 12 & 0xfff00)
    var message = casher_guard_message(connection: number, is_served: isServed ? 1 : 0)
    let bytes = withUnsafeBytes(of: &message) { Array($0) }
    try? descriptor.writeAll(bytes)
  }
}
