import CLinux
import Glibc

extension FileDescriptor {
  /// Makes this empty file, open for writing, have the content of `source`, from its begin: by sharing extents where
  /// the filesystem can, else by copying in the kernel, else through a buffer.
  public func fill(from source: FileDescriptor) throws(Errno) {
    do throws(Errno) {
      try clone(from: source)
      return
    } catch {
      // Not on one filesystem, or on one that shares no extents.
    }
    try source.seek(to: 0)
    var isInKernel = true
    while true {
      if isInKernel {
        do throws(Errno) {
          if try source.copyRange(to: self, count: 1 << 30) == 0 { return }
          continue
        } catch {
          guard [EXDEV, EINVAL, EOPNOTSUPP, ENOSYS].contains(error.rawValue) else { throw error }
          isInKernel = false
        }
      }
      var failure: Errno?
      let isAtEnd = withUnsafeTemporaryAllocation(byteCount: 1 << 17, alignment: 16) { buffer -> Bool in
        do throws(Errno) {
          let count = try source.read(into: buffer)
          try writeAll(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]))
          return count == 0
        } catch {
          failure = error
          return true
        }
      }
      if let failure { throw failure }
      if isAtEnd { return }
    }
  }
}
