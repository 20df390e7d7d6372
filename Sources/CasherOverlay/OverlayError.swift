import CasherSystem

/// Why a directory could not be mounted.
public struct OverlayError: Error, Sendable, CustomStringConvertible {
  public enum Code: Sendable, Hashable {
    case missing, notDirectory, unreadable, alreadyMounted, busy, noDevice, notPermitted, failed
  }

  public let code: Code
  public let path: FilePath
  public let cause: Errno?

  public init(_ code: Code, _ path: FilePath, _ cause: Errno? = nil) {
    self.code = code
    self.path = path
    self.cause = cause
  }

  /// One sentence: what is wrong and what to do.
  public var description: String {
    switch code {
    case .missing: "\(path) does not exist; make it first"
    case .notDirectory: "\(path) is not a directory"
    case .unreadable: "\(path) cannot be read: \(reason)"
    case .alreadyMounted: "\(path) is already mounted; casherfs status shows it"
    case .busy: "\(path) is busy: \(reason)"
    case .noDevice: "/dev/fuse is not there or may not be opened; load the fuse module and install the fuse3 package"
    case .notPermitted: "mounting \(path) is not permitted: \(reason)"
    case .failed: "\(path) could not be mounted: \(reason)"
    }
  }

  private var reason: String { cause?.description ?? "libfuse gave no reason" }
}
