import CLinux
import Glibc

/// A name in a directory and what it stands for, as getdents64(2) tells; the type may be `.unknown`.
public struct DirectoryEntry: Hashable, Sendable {
  public let name: FilePath
  public let type: FileType
  public let inode: UInt64

  public init(name: FilePath, type: FileType, inode: UInt64) {
    self.name = name
    self.type = type
    self.inode = inode
  }
}

extension FileDescriptor {
  /// The entries of the directory this descriptor is open on (not O_PATH), from the present position to the end,
  /// without `.` and `..`, in the filesystem's order. The corresponding system call is `getdents64`.
  public func entries() throws(Errno) -> [DirectoryEntry] {
    var result: [DirectoryEntry] = []
    var failure: Errno?
    withUnsafeTemporaryAllocation(byteCount: 65536, alignment: 16) { buffer in
      while true {
        var count = 0
        do throws(Errno) {
          count = try check("getdents64") { casher_getdents64(rawValue, buffer.baseAddress, buffer.count) }
        } catch {
          failure = error
          return
        }
        if count == 0 { return }
        var offset = 0
        // struct linux_dirent64: u64 inode, s64 offset, u16 record length, u8 type, then the name.
        while offset + 19 <= count {
          let inode = buffer.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
          let length = Int(buffer.loadUnaligned(fromByteOffset: offset + 16, as: UInt16.self))
          let type = buffer.loadUnaligned(fromByteOffset: offset + 18, as: UInt8.self)
          guard length > 19, offset + length <= count else { break }
          let name = buffer[(offset + 19)..<(offset + length)].prefix { $0 != 0 }
          offset += length
          if name.elementsEqual([46]) || name.elementsEqual([46, 46]) { continue }
          result.append(DirectoryEntry(name: FilePath(name), type: FileType(directoryEntryType: type), inode: inode))
        }
      }
    }
    if let failure { throw failure }
    return result
  }

  /// The entries of `path`, which must be a directory and not a symlink, sorted by name.
  public func entries(of path: FilePath) throws(Errno) -> [DirectoryEntry] {
    let directory = try open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    defer { directory.close() }
    return try directory.entries().sorted { $0.name < $1.name }
  }
}

extension FilePath {
  /// Makes the directory and those around it where they are not there, closed to others (mkdir(2), mode 0700).
  public func makeDirectories() throws(Errno) {
    do throws(Errno) { try FileDescriptor.workingDirectory.makeDirectory(self, mode: 0o700) } catch {
      if error == .exists { return }
      guard error == .noSuchFile, bytes.count > 1 else { throw error }
      try parent.makeDirectories()
      try makeDirectories()
    }
  }
}
