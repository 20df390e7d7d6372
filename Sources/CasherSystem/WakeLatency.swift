import Glibc

/// A claim that no idle processor may take time to wake up, for as long as it is held: an idle processor then waits
/// for work instead of being put to sleep, which takes power.
///
/// What it is for: a request and its answer wake a process each, and where processors sleep at once (a virtual machine
/// above all) the waking is most of the time that a request takes.
///
/// The kernel's interface is Documentation/power/pm_qos_interface.rst, "/dev/cpu_dma_latency": the claim is the open file.
public struct WakeLatency: ~Copyable {
  private let device: FileDescriptor

  /// Throws EACCES for whoever is not root, and ENOENT where the kernel has no power management.
  public init() throws(Errno) {
    let opened = try FileDescriptor.open("/dev/cpu_dma_latency", O_WRONLY)
    do throws(Errno) {
      // Microseconds, as a native 32-bit number.
      try opened.writeAll([0, 0, 0, 0])
    } catch {
      opened.close()
      throw error
    }
    device = opened
  }

  deinit { device.close() }
}
