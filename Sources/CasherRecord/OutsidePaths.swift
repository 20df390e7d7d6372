import CasherSystem

/// What a command uses outside the mount without depending on it.
public enum OutsidePaths {
  /// Nothing below these counts: the kernel's own view of the machine.
  public static let neverCounting: [FilePath] = ["/proc", "/sys", "/dev"]
}
