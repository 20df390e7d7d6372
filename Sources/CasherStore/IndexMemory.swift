import CSQLite
import CasherSystem
import Glibc
import Synchronization

/// The memory through which the connections to a database share the index of its log: mappings of `casher.sqlite-shm`.
///
/// A filesystem that writes to a new place each time (btrfs) needs space for what is stored into a mapping, long after its
/// pages were written first, and where there is none the process is ended (SIGBUS). So the file is made one that is
/// written in place. Where that does not help (older kernels, pages that another has cut off), the pages are made
/// writable before each statement that may store there, by a call that fails instead (madvise(2), MADV_POPULATE_WRITE,
/// from Linux 5.14 on; older ones go without). What remains then is the moment between that call and the store.
enum IndexMemory {
  /// Length of each mapping, by its address.
  private static let mappings = Mutex<[UInt: Int]>([:])
  private static let done = Mutex(false)
  private static let wasRefused = Atomic<Bool>(false)
  private static let populateWrite: Int32 = 23
  /// What opened files for SQLite before.
  private static let plainOpen = Mutex<sqlite3_syscall_ptr?>(nil)

  private typealias Open = @convention(c) (UnsafePointer<CChar>?, Int32, Int32) -> Int32
  private typealias Map =
    @convention(c) (UnsafeMutableRawPointer?, Int, Int32, Int32, Int32, Int) -> UnsafeMutableRawPointer?
  private typealias Unmap = @convention(c) (UnsafeMutableRawPointer?, Int) -> Int32

  /// Has SQLite map by the functions below. To be called before a database is opened.
  static func watchOnce() {
    done.withLock { done in
      if done { return }
      done = true
      let map: Map = { address, length, protection, flags, file, offset in
        guard let memory = mmap(address, length, protection, flags, file, offset), memory != MAP_FAILED else {
          return MAP_FAILED
        }
        guard protection & PROT_WRITE != 0, flags & MAP_SHARED != 0 else { return memory }
        guard IndexMemory.populate(memory, length) else {
          munmap(memory, length)
          IndexMemory.wasRefused.store(true, ordering: .relaxed)
          errno = ENOSPC
          return MAP_FAILED
        }
        IndexMemory.mappings.withLock { $0[UInt(bitPattern: memory)] = length }
        return memory
      }
      let unmap: Unmap = { address, length in
        IndexMemory.mappings.withLock {
          $0[UInt(bitPattern: address)] = nil
          return munmap(address, length)
        }
      }
      let open: Open = { path, flags, mode in
        guard let plain = IndexMemory.plainOpen.withLock({ $0 }) else { return -1 }
        let file = unsafeBitCast(plain, to: Open.self)(path, flags, mode)
        if file >= 0, flags & O_CREAT != 0, let path, FilePath(cString: path).bytes.suffix(4).elementsEqual("-shm".utf8)
        {
          // One that is not empty keeps what it has.
          try? FileDescriptor(rawValue: file).writeInPlace()
        }
        return file
      }
      IndexMemory.plainOpen.withLock { present in
        present = DatabaseFaults.replace("open", unsafeBitCast(open, to: sqlite3_syscall_ptr.self))
      }
      DatabaseFaults.replace("mmap", unsafeBitCast(map, to: sqlite3_syscall_ptr.self))
      DatabaseFaults.replace("munmap", unsafeBitCast(unmap, to: sqlite3_syscall_ptr.self))
    }
  }

  /// Whether stores to all of the mappings will find their pages.
  static var isWritable: Bool {
    mappings.withLock { mappings in
      mappings.allSatisfy { populate(UnsafeMutableRawPointer(bitPattern: $0.key), $0.value) }
    }
  }

  /// Whether a mapping was given up for lack of space since this was last asked; SQLite tells no cause of that.
  static func refusedMapping() -> Bool { wasRefused.exchange(false, ordering: .relaxed) }

  private static func populate(_ memory: UnsafeMutableRawPointer?, _ length: Int) -> Bool {
    madvise(memory, length, populateWrite) == 0 || errno != EFAULT && errno != ENOSPC
  }
}
