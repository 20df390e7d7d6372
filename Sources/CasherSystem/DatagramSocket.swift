import Glibc

/// A Unix datagram socket that is connected to a service, such as the system's journal.
public struct DatagramSocket: Sendable {
  public let descriptor: FileDescriptor

  /// The corresponding C functions are `socket` and `connect`.
  public static func connect(to path: FilePath) throws(Errno) -> DatagramSocket {
    let socket = FileDescriptor(
      rawValue: try check("socket") {
        Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      })
    do throws(Errno) {
      try MessageSocket.withAddress(of: path) { address, size throws(Errno) in
        _ = try check("connect") { Glibc.connect(socket.rawValue, address, size) }
      }
    } catch {
      socket.close()
      throw error
    }
    return DatagramSocket(descriptor: socket)
  }

  /// Sends one datagram without waiting: `.wouldBlock` when the service has too many unread. The corresponding C
  /// function is `send`.
  public func send(_ bytes: [UInt8]) throws(Errno) {
    let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
    let error = bytes.withUnsafeBytes { buffer -> Errno? in
      do throws(Errno) {
        _ = try check("send") { Glibc.send(descriptor.rawValue, buffer.baseAddress, buffer.count, flags) }
        return nil
      } catch { return error }
    }
    if let error { throw error }
  }
}
