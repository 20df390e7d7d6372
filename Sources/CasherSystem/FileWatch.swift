import Glibc

/// Tells afterwards who else has opened a file (inotify(7)).
public struct FileWatch: Sendable {
  private let queue: FileDescriptor

  /// What happened to the file while it was watched. Several opens look like one when nobody has read of the first.
  public struct Events: OptionSet, Sendable, Hashable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let opened = Events(rawValue: UInt32(IN_OPEN))
    /// A descriptor that could write was closed for the last time.
    public static let writerClosed = Events(rawValue: UInt32(IN_CLOSE_WRITE))
    /// More happened than was kept.
    public static let overflow = Events(rawValue: UInt32(IN_Q_OVERFLOW))
  }

  /// Watches what `file` is open on. The corresponding C functions are `inotify_init1` and `inotify_add_watch`.
  public init(_ file: FileDescriptor) throws(Errno) {
    queue = FileDescriptor(
      rawValue: try check("inotify_init1") { inotify_init1(Int32(O_CLOEXEC) | Int32(O_NONBLOCK)) })
    do throws(Errno) {
      try file.procPath.withCString { path throws(Errno) in
        _ = try check("inotify_add_watch") {
          inotify_add_watch(queue.rawValue, path, UInt32(IN_OPEN) | UInt32(IN_CLOSE_WRITE))
        }
      }
    } catch {
      queue.close()
      throw error
    }
  }

  /// What has happened since the last call.
  public func events() throws(Errno) -> Events {
    var result: Events = []
    var failure: Errno?
    withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 16) { buffer in
      while true {
        do throws(Errno) {
          let count = try queue.read(into: buffer)
          if count == 0 { return }
          var offset = 0
          // The watched thing is a file, so that no event has a name behind it.
          while offset + MemoryLayout<inotify_event>.size <= count {
            let event = buffer.loadUnaligned(fromByteOffset: offset, as: inotify_event.self)
            result.formUnion(Events(rawValue: event.mask))
            offset += MemoryLayout<inotify_event>.size + Int(event.len)
          }
        } catch {
          if error != .wouldBlock { failure = error }
          return
        }
      }
    }
    if let failure { throw failure }
    return result
  }

  public func close() { queue.close() }
}
