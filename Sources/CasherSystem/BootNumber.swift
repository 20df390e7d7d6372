import Glibc

/// Which boot of the machine this is: what was written in another one and not synced may have been lost.
public enum BootNumber {
  /// Of /proc/sys/kernel/random/boot_id (proc_sys_kernel(5)); 0 where that cannot be read.
  public static let current: UInt64 = {
    guard let file = try? FileDescriptor.open("/proc/sys/kernel/random/boot_id", O_RDONLY) else { return 0 }
    defer { file.close() }
    guard let text = try? file.readAll(limit: 64) else { return 0 }
    let digits = text.filter { $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: "\n") }
    return UInt64(String(decoding: digits.prefix(16), as: UTF8.self), radix: 16) ?? 0
  }()
}
