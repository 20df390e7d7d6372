import CLinux
import Glibc

/// What to wait for with poll(2), and what came.
public struct PollItem: Sendable {
  public let descriptor: FileDescriptor
  let events: Int16
  var returned: Int16 = 0

  public static func reading(_ descriptor: FileDescriptor) -> PollItem {
    PollItem(descriptor: descriptor, events: Int16(POLLIN))
  }
  public static func writing(_ descriptor: FileDescriptor) -> PollItem {
    PollItem(descriptor: descriptor, events: Int16(POLLOUT))
  }

  /// Something came: data, room, an end or an error.
  public var isReady: Bool { returned != 0 }
  /// The other end of a pipe is closed.
  public var isBroken: Bool { returned & Int16(POLLERR) != 0 }
  /// The other end of a pipe is closed; there may be data yet.
  public var isHungUp: Bool { returned & Int16(POLLHUP) != 0 }

  /// Waits until one of the items is ready or `timeout` (milliseconds; -1 for ever) has passed. Returns how many are.
  /// The corresponding C function is `poll`.
  @discardableResult
  public static func wait(_ items: inout [PollItem], timeout: Int32 = -1) throws(Errno) -> Int {
    var raw = items.map { pollfd(fd: $0.descriptor.rawValue, events: $0.events, revents: 0) }
    let count = try check("poll") { poll(&raw, nfds_t(raw.count), timeout) }
    for index in items.indices { items[index].returned = raw[index].revents }
    return Int(count)
  }
}

extension FileDescriptor {
  /// Whether the number stands for an open file.
  public var isOpen: Bool { casher_fcntl(rawValue, F_GETFD, 0) >= 0 }

  /// Whether it is a terminal. The corresponding C function is `isatty`.
  public var isTerminal: Bool { isatty(rawValue) == 1 }

  /// Whether it may only be read from (F_GETFL).
  public var isReadOnly: Bool { casher_fcntl(rawValue, F_GETFL, 0) & O_ACCMODE == O_RDONLY }

  /// Whether it may be read from (F_GETFL).
  public var isReadable: Bool {
    let flags = casher_fcntl(rawValue, F_GETFL, 0)
    return flags >= 0 && flags & O_ACCMODE != O_WRONLY
  }

  /// Whether the number stands for an open file that a program which is executed gets too (F_GETFD).
  public var isInherited: Bool {
    let flags = casher_fcntl(rawValue, F_GETFD, 0)
    return flags >= 0 && flags & FD_CLOEXEC == 0
  }

  /// Whether it is written to at the end of the file only (F_GETFL).
  public var appends: Bool { casher_fcntl(rawValue, F_GETFL, 0) & O_APPEND != 0 }

  /// Reads and writes of this open file description fail with EAGAIN instead of waiting.
  public func setNonBlocking() throws(Errno) {
    let flags = try check("fcntl") { casher_fcntl(rawValue, F_GETFL, 0) }
    try check("fcntl") { casher_fcntl(rawValue, F_SETFL, Int(flags | O_NONBLOCK)) }
  }

  /// Whether both share one open file description, its offset and flags (kcmp(2)); nil when the kernel does not say.
  public func isSameOpenFile(as other: FileDescriptor) -> Bool? { isSameOpenFile(as: other, of: getpid()) }

  /// Whether this and a descriptor of another process share one open file description (kcmp(2)); nil when the kernel
  /// does not say.
  public func isSameOpenFile(as other: FileDescriptor, of process: Int32) -> Bool? {
    switch casher_same_open_file(rawValue, process, other.rawValue) {
    case 0: false
    case 1: true
    default: nil
    }
  }

  /// Bytes that could be read from a pipe or socket at once (FIONREAD).
  public func availableBytes() throws(Errno) -> Int {
    var count: Int32 = 0
    try check("ioctl") { casher_fionread(rawValue, &count) }
    return Int(count)
  }

  /// Copies up to `count` bytes from the front of this pipe to another without taking them, as much as that has room
  /// for; 0 at the end of this pipe, EAGAIN when there is no data or no room. The corresponding C function is `tee`.
  public func tee(to pipe: FileDescriptor, count: Int) throws(Errno) -> Int {
    try check("tee") { casher_tee(rawValue, pipe.rawValue, count, UInt32(CASHER_SPLICE_NONBLOCK)) }
  }

  /// Copies bytes from the front of a socket's queue without taking them; EAGAIN when there are none.
  /// The corresponding C function is `recv` with MSG_PEEK.
  public func peek(into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    try check("recv") {
      recv(rawValue, buffer.baseAddress, buffer.count, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
    }
  }

  /// Bytes that a pipe can hold when they are written in whole pages (F_GETPIPE_SZ).
  public func pipeSize() throws(Errno) -> Int { Int(try check("fcntl") { casher_pipe_size(rawValue) }) }

  /// The kernel rounds up to a power of two of pages (F_SETPIPE_SZ).
  public func setPipeSize(_ bytes: Int32) throws(Errno) {
    try check("fcntl") { casher_set_pipe_size(rawValue, bytes) }
  }

  /// Waits until more than `known` bytes are in this pipe, or nobody can write to it, or `timeout` milliseconds have
  /// passed without more. Returns what is there and whether the writers have gone.
  public func awaitGrowth(beyond known: Int, timeout: Int32) throws(Errno) -> (bytes: Int, isEnd: Bool) {
    var bytes: Int32 = 0
    let ended = try check("epoll_wait") {
      casher_await_growth(rawValue, Int32(clamping: known), timeout, &bytes)
    }
    return (Int(bytes), ended == 1)
  }
}

extension FileDescriptor {
  /// A flag of `open`: the descriptor only stands for the file (O_PATH).
  public static var pathOnly: Int32 { Int32(CASHER_O_PATH) }
}

/// Ends this process without running anything at its end. The corresponding C function is `_exit`.
public func endProcess(_ status: Int32) -> Never { _exit(status) }

extension FileDescriptor {
  /// A flag of `open` (O_RDONLY).
  public static var readOnly: Int32 { O_RDONLY }

  /// Flags of `open` for a file that is made or emptied, and written (O_WRONLY, O_CREAT, O_TRUNC).
  public static var createForWriting: Int32 { O_WRONLY | O_CREAT | O_TRUNC }

  /// A flag of `open` (O_WRONLY).
  public static var writeOnly: Int32 { O_WRONLY }

  /// An origin of `seek` (SEEK_CUR).
  public static var fromCurrent: Int32 { SEEK_CUR }
}

extension Errno {
  public static let brokenPipe = Errno(rawValue: EPIPE)
}
