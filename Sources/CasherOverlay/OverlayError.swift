import CasherSystem

/// Why a directory could not be mounted over itself.
public struct OverlayError: Error, Sendable, CustomStringConvertible {
  public enum Code: Sendable, Hashable {
    case missing
    case notDirectory
    case alreadyMounted
    /// A mount whose daemon has died is still there.
    case disconnected
    case unreadable
    case busy
    /// /dev/fuse is missing or may not be opened.
    case noDevice
    /// fusermount3 is missing, which an ordinary user needs.
    case noHelper
    case notPermitted
    case failed
  }

  public let code: Code
  public let directory: FilePath
  public let cause: Errno?

  public init(_ code: Code, _ directory: FilePath, cause: Errno? = nil) {
    self.code = code
    self.directory = directory
    self.cause = cause
  }

  /// One sentence for people, without its full stop.
  public var description: String {
    switch code {
    case .missing: "\(directory) does not exist"
    case .notDirectory: "\(directory) is not a directory"
    case .alreadyMounted: "\(directory) is already mounted"
    case .disconnected:
      "A mount on \(directory) has lost its daemon; 'umount -l' or 'fusermount3 -u -z' removes it"
    case .unreadable: "\(directory) cannot be read\(suffix)"
    case .busy: "\(directory) is busy\(suffix)"
    case .noDevice: "/dev/fuse cannot be opened\(suffix); the kernel's fuse module and access to the device are needed"
    case .noHelper: "fusermount3 is not installed, which mounting as an ordinary user needs (package fuse3)"
    case .notPermitted: "\(directory) may not be mounted\(suffix)"
    case .failed: "\(directory) could not be mounted\(suffix)"
    }
  }

  private var suffix: String { cause.map { ": \($0)" } ?? "" }
}

/// Why a mount has ended.
public enum EndReason: Sendable, Hashable {
  /// It was unmounted.
  case unmounted
  /// `Overlay.stop()` was called.
  case stopped
  /// The kernel's device could not be read.
  case failed(Errno)
}
