import CLinux

/// How many characters a terminal shows.
public struct WindowSize: Hashable, Sendable {
  public var rows: Int
  public var columns: Int

  /// Nil when the descriptor is no terminal, or one that does not know its size. The corresponding C call is
  /// `ioctl(TIOCGWINSZ)`.
  public init?(of descriptor: FileDescriptor) {
    var (rows, columns): (Int32, Int32) = (0, 0)
    guard casher_window_size(descriptor.rawValue, &rows, &columns) == 0, rows > 0, columns > 0 else { return nil }
    (self.rows, self.columns) = (Int(rows), Int(columns))
  }
}
