import CasherSystem

/// Python's bytecode caches (`__pycache__/NAME.cpython-311.pyc`), which Python itself checks against the source's
/// modification time and size, or its hash, before it uses them (PEP 3147, PEP 552). So the source is the input, and
/// the cache is not, as long as that check can be relied on.
enum BytecodeCache {
  private static let directory: FilePath = "__pycache__"

  /// Whether a path has the name of a bytecode cache, or of the directory that they are in.
  static func isName(_ path: FilePath) -> Bool { path.lastComponent == directory || source(of: path) != nil }

  /// The source that a bytecode cache belongs to: `d/__pycache__/m.cpython-311.pyc` is that of `d/m.py`.
  static func source(of path: FilePath) -> FilePath? {
    let parent = path.parent
    guard parent.lastComponent == directory else { return nil }
    let name = path.lastComponent.bytes
    guard name.count > 5, name.suffix(4).elementsEqual(".pyc".utf8), let dot = name.firstIndex(of: UInt8(ascii: ".")),
      dot > 0, dot < name.count - 4
    else { return nil }
    return parent.parent.appending(FilePath(name[..<dot] + Array(".py".utf8)))
  }

  /// Whether the thread is Python's: to other programs a bytecode cache is a file like any other.
  static func isPython(thread: Int32) -> Bool {
    guard let program = try? FileDescriptor.workingDirectory.readLink(FilePath("/proc/\(thread)/exe")) else {
      return false
    }
    let name = program.lastComponent.bytes
    return name.starts(with: "python".utf8) || name.starts(with: "pypy".utf8)
  }

  /// What Python's own check finds out about a cache.
  private enum Check {
    /// Python takes it without looking at the source, or would take it for fitting though the source is newer.
    case none
    case fits
    case doesNotFit
    /// It is checked by the source's hash.
    case byHash(Header)
  }

  /// Whether Python's own check tells whether the cache at `path` fits its source: so for one that is checked by hash,
  /// one that does not fit, and one that fits and was written after the source last changed. Not so for one that Python
  /// is told not to check, nor for one that fits by time and size although the source was changed after it was written.
  static func isChecked(_ path: FilePath, _ status: FileStatus, in tree: Tree) -> Bool {
    if path.lastComponent == directory { return status.type == .directory }
    if case .none = check(path, status, in: tree) { return false }
    return true
  }

  /// Whether Python would go on using the cache at `path`, so that running a program would leave it as it is.
  static func isUsed(_ path: FilePath, _ status: FileStatus, in tree: Tree) -> Bool {
    switch check(path, status, in: tree) {
    case .fits: true
    case .byHash(let header): isThat(ofSourceOf: path, header, in: tree)
    case .none, .doesNotFit: false
    }
  }

  private static func isThat(ofSourceOf path: FilePath, _ header: Header, in tree: Tree) -> Bool {
    guard let source = source(of: path), let descriptor = try? tree.open(source) else { return false }
    defer { descriptor.close() }
    guard let bytes = try? descriptor.readAll(limit: longestSource) else { return false }
    return SourceHash.isThat(of: bytes, magic: header.magic, UInt64(header.size) << 32 | UInt64(header.modified))
  }

  /// Bytes; what belongs to a longer source is replaced.
  private static let longestSource = 16 << 20

  private static func check(_ path: FilePath, _ status: FileStatus, in tree: Tree) -> Check {
    guard status.type == .regular, let source = source(of: path), let header = header(of: path, in: tree) else {
      return .none
    }
    if header.flags & 1 != 0 { return header.flags & 2 != 0 ? .byHash(header) : .none }
    guard let sourceStatus = (try? tree.targetStatus(of: source)) ?? nil else { return .none }
    let seconds = UInt32(truncatingIfNeeded: sourceStatus.modified / 1_000_000_000)
    guard seconds == header.modified, UInt32(truncatingIfNeeded: sourceStatus.size) == header.size else {
      return .doesNotFit
    }
    return sourceStatus.changed < status.modified ? .fits : .none
  }

  private struct Header {
    let magic: UInt32
    let flags: UInt32
    /// These two are the halves of the source's hash where that is what is checked.
    let modified: UInt32
    let size: UInt32
  }

  /// Magic number, flags, then the source's time in seconds and its size, little-endian (PEP 552).
  private static func header(of path: FilePath, in tree: Tree) -> Header? {
    guard let descriptor = try? tree.open(path) else { return nil }
    defer { descriptor.close() }
    guard let bytes = try? descriptor.readAll(limit: 16), bytes.count == 16 else { return nil }
    func word(_ index: Int) -> UInt32 {
      bytes[(index * 4)..<(index * 4 + 4)].reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
    return Header(magic: word(0), flags: word(1), modified: word(2), size: word(3))
  }
}
