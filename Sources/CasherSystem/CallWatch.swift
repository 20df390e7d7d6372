import CLinux
import Glibc

/// The calls of a command that no filesystem sees, told before they are carried out (seccomp_unotify(2)).
public struct CallWatch: Sendable {
  public let listener: FileDescriptor

  public enum Call: Int32, Sendable {
    case connect = 1
    case bind, send, sendMessage, sendMessages, accept, ioUring, openByHandle, mount, changeMounts, enterNamespace,
      foreign
  }

  /// A call that waits.
  public struct Notification: Sendable {
    let id: UInt64
    public let thread: Int32
    public let call: Call
    /// As the machine's registers have them.
    public let arguments: [UInt64]
  }

  /// Takes the listener over from the process that it is a descriptor of; nil when that is not permitted. The
  /// corresponding C function is `pidfd_getfd`.
  init?(of process: Int32, descriptor: Int32) {
    let taken = casher_take_descriptor(process, descriptor)
    guard taken >= 0 else { return nil }
    listener = FileDescriptor(rawValue: taken)
  }

  /// The next call, which waits until `letThrough`; nil when it waits no longer.
  public func receive() -> Notification? {
    var raw = casher_notification()
    guard casher_watch_receive(listener.rawValue, &raw) == 0, let call = Call(rawValue: raw.call) else { return nil }
    let arguments = withUnsafeBytes(of: raw.arguments) { Array($0.bindMemory(to: UInt64.self)) }
    return Notification(id: raw.id, thread: raw.thread, call: call, arguments: arguments)
  }

  public func letThrough(_ notification: Notification) {
    _ = casher_watch_continue(listener.rawValue, notification.id)
  }

  /// Whether the caller still waits: then it is the process that was looked at meanwhile.
  public func isValid(_ notification: Notification) -> Bool {
    casher_watch_is_valid(listener.rawValue, notification.id) == 1
  }

  public func close() { listener.close() }
}

extension CallWatch.Notification {
  /// Up to `count` bytes of the caller's memory; nil when they cannot be read.
  public func memory(at address: UInt64, count: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    let got = bytes.withUnsafeMutableBytes { casher_read_memory(thread, address, $0.baseAddress, $0.count) }
    return got < 0 ? nil : Array(bytes.prefix(got))
  }

  /// The address family of the socket that the caller has under a number; nil when it is none.
  public func family(ofSocket number: UInt64) -> Int32? {
    guard let descriptor = Int32(exactly: number & 0xffff_ffff) else { return nil }
    let taken = casher_take_descriptor(thread, descriptor)
    guard taken >= 0 else { return nil }
    defer { FileDescriptor(rawValue: taken).close() }
    let family = casher_socket_family(taken)
    return family < 0 ? nil : family
  }

  /// Lays what this process sees at a path, which has no symlinks, over what the caller sees there. The corresponding C
  /// functions are `open_tree`, `setns` and `move_mount`.
  public func showOwn(_ path: FilePath) throws(Errno) {
    let tree = try FileDescriptor.workingDirectory.cloneTree(path)
    defer { tree.close() }
    try path.withCString { path throws(Errno) in
      _ = try check("move_mount") { casher_attach_in_namespace(tree.rawValue, thread, path) }
    }
  }
}
