import CasherSystem

/// A path argument of a call, as written and as an absolute path.
final class PathArgument {
  /// What the process passed.
  let raw = ByteBuffer()
  /// Absolute; `.`, doubled and trailing slashes left out. `..` is taken off where what it climbs out of has no
  /// symlinks, and stays elsewhere.
  let path = ByteBuffer()
  /// A slash or `.` at the end: the last component is followed, and must be a directory.
  private(set) var endsAsDirectory = false

  /// Makes `path` from `raw`, relative to `base`.
  func resolve(from base: UnsafeBufferPointer<UInt8>, isCanonical: Bool) {
    path.removeAll()
    endsAsDirectory = false
    /// How much of `path` is free of symlinks and `..`; the root (nothing) always is.
    var canonicalLength = 0
    if raw.isEmpty || raw.base[0] != UInt8(ascii: "/") {
      if base.count > 1, let start = base.baseAddress { path.append(start, count: base.count) }
      canonicalLength = isCanonical ? path.count : -1
    }
    var at = 0
    while at < raw.count {
      if raw.base[at] == UInt8(ascii: "/") {
        at &+= 1
        endsAsDirectory = true
        continue
      }
      let start = at
      while at < raw.count, raw.base[at] != UInt8(ascii: "/") { at &+= 1 }
      let length = at &- start
      let isDot = length == 1 && raw.base[start] == UInt8(ascii: ".")
      let isDotDot = length == 2 && raw.base[start] == UInt8(ascii: ".") && raw.base[start &+ 1] == UInt8(ascii: ".")
      endsAsDirectory = isDot || isDotDot
      if isDot { continue }
      if isDotDot, path.count == canonicalLength {
        var parent = path.count
        while parent > 0, path.base[parent &- 1] != UInt8(ascii: "/") { parent &-= 1 }
        path.truncate(to: max(parent &- 1, 0))
        canonicalLength = path.count
        continue
      }
      path.append(UInt8(ascii: "/"))
      path.append(raw.base + start, count: length)
    }
    if path.isEmpty { path.append(UInt8(ascii: "/")) }
  }

  var filePath: FilePath { FilePath(Array(path.bytes)) }

  /// `path` without `.`, doubled and trailing slashes.
  static func clean(_ path: [UInt8]) -> [UInt8] {
    let argument = PathArgument()
    argument.raw.append(path)
    argument.resolve(from: UnsafeBufferPointer(start: nil, count: 0), isCanonical: true)
    return Array(argument.path.bytes)
  }
}
