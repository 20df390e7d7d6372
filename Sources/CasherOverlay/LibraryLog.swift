import CFuse
import CasherSystem
import Glibc
import Synchronization

/// What libfuse has to say. During a mount it is kept, because libfuse tells the cause in words alone; at other times it
/// goes to standard error.
enum LibraryLog {
  private static let kept = Mutex<String?>(nil)
  private static let installation: Void = cfuse_set_log { message in
    guard let message else { return }
    let text = String(cString: message)
    let isKept = LibraryLog.kept.withLock { kept -> Bool in
      guard let earlier = kept else { return false }
      kept = earlier + text
      return true
    }
    if !isKept { try? FileDescriptor.standardError.writeAll(Array("casherfs: \(text)".utf8)) }
  }

  static func begin() {
    _ = installation
    kept.withLock { $0 = "" }
  }

  static func end() { kept.withLock { $0 = nil } }

  /// The error that the messages since `begin` name.
  static func cause() -> Errno? {
    let text = kept.withLock { kept -> String in
      defer { kept = nil }
      return kept ?? ""
    }
    let candidates = [EBUSY, EPERM, EACCES, ENODEV, ENOENT, EINVAL, ENOMEM].map { Errno(rawValue: $0) }
    return candidates.first { text.contains($0.description) }
  }
}
