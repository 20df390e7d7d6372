import CasherSystem

/// Whether the kernel reads and writes a mount's files by itself, or why not.
enum PassthroughState: Equatable {
  case works
  case notWanted
  case unknownToKernel
  case refused(Errno)
}

/// Which files are given to the kernel by a process that has borrowed the right to.
enum PassthroughFiles {
  /// Filesystems (statfs(2)) whose files are nothing but their content. Elsewhere reading may tell more to who has the
  /// capability, and the kernel reads with what this process had when it gave the file.
  private static let ordinary: Set<Int> = [
    0xef53,  // ext2, ext3, ext4
    0x5846_5342,  // xfs
    0x9123_683e,  // btrfs
    0x0102_1994,  // tmpfs
    0xf2f5_2010,  // f2fs
    0x794c_7630,  // overlayfs
    0xca45_1a4e,  // bcachefs
    0x2fc1_2fc1,  // zfs
  ]

  static func mayBeLent(_ descriptor: FileDescriptor) -> Bool {
    guard let status = try? descriptor.status(), status.type == .regular,
      let type = try? descriptor.filesystemType()
    else { return false }
    return ordinary.contains(type)
  }
}

extension Overlay {
  /// Why `usesPassthrough` is what it is, as the end of a sentence.
  public var passthroughReason: String {
    guard configuration.wantsPassthrough else { return "it was turned off with -o no_passthrough" }
    guard SystemAdministration.isAvailable else {
      return "it takes CAP_SYS_ADMIN, which root has, and others where casherfs is installed with the capability"
    }
    switch session?.passthroughState {
    case .works?:
      return SystemAdministration.isLent
        ? "casherfs has been given the capability for it" : "casherfs runs with the privilege for it"
    case .refused(let error)?: return "the kernel refuses it (\(error))"
    case .notWanted?, .unknownToKernel?: return "this kernel does not offer it; Linux 6.9 does"
    case nil: return "the mount has ended"
    }
  }
}
