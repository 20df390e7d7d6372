import CasherSystem

/// A placed file as the journal has it.
public struct JournalEntry: Sendable {
  /// The directory of lower: known again by its inode number and birth, sought first where it was when this was written.
  struct Directory: Sendable, Hashable {
    var inode: UInt64
    var birth: UInt32
    /// Relative to the mount's root.
    var path: FilePath

    func isSame(as other: Directory) -> Bool { inode == other.inode && birth == other.birth }
  }

  /// An ordinary file that stood at the name and is to go.
  struct Covered: Sendable, Hashable {
    var inode: UInt64
    var birth: UInt32
  }

  var directory: Directory
  var name: FilePath
  public internal(set) var file: PlacedFile
  var covers: Covered?
  var ordinary: Ordinary?

  /// The file of lower that it has become, and the boot of the machine in which that was: in any other, lower may have
  /// lost it.
  struct Ordinary: Sendable, Hashable {
    var file: Covered
    var boot: UInt64
  }

  /// Relative to the mount's root, as it was when this was written.
  public var path: FilePath { directory.path.appending(name) }
}

/// One step that the journal holds.
enum JournalItem {
  /// The directory that the following items are about.
  case directory(JournalEntry.Directory)
  /// A file came to stand at a name, in place of a placed one that stood there.
  case place(name: FilePath, PlacedFile, covers: JournalEntry.Covered?)
  /// A file has been removed, or has become an ordinary one.
  case drop(UInt64)
  /// A file has become an ordinary one, which is not known to be on lower's disk yet.
  case ordinary(UInt64, JournalEntry.Ordinary)
  /// A file has got another name, in place of a placed one that stood there.
  case move(UInt64, name: FilePath, changed: Int64, covers: JournalEntry.Covered?)
  case times(UInt64, modified: Int64, changed: Int64)
}

/// The bytes of items: little-endian numbers, byte strings after their length.
struct JournalEncoder {
  private(set) var bytes: [UInt8] = []

  mutating func reserve(_ count: Int) { bytes.reserveCapacity(count) }

  private mutating func put<Number: FixedWidthInteger>(_ value: Number) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  private mutating func put(_ string: [UInt8]) {
    put(UInt32(clamping: string.count))
    bytes.append(contentsOf: string)
  }

  private mutating func put(_ digest: Digest) {
    put(digest.words.0)
    put(digest.words.1)
    put(digest.words.2)
    put(digest.words.3)
  }

  private mutating func put(_ covered: JournalEntry.Covered?) {
    put(UInt8(covered == nil ? 0 : 1))
    if let covered {
      put(covered.inode)
      put(covered.birth)
    }
  }

  mutating func put(_ item: JournalItem) {
    switch item {
    case .directory(let directory):
      put(UInt8(1))
      put(directory.inode)
      put(directory.birth)
      put(directory.path.bytes)
    case .place(let name, let file, let covers):
      put(UInt8(2))
      put(file)
      put(covers)
      put(name.bytes)
    case .drop(let number):
      put(UInt8(3))
      put(number)
    case .move(let number, let name, let changed, let covers):
      put(UInt8(4))
      put(number)
      put(changed)
      put(covers)
      put(name.bytes)
    case .times(let number, let modified, let changed):
      put(UInt8(5))
      put(number)
      put(modified)
      put(changed)
    case .ordinary(let number, let ordinary):
      put(UInt8(6))
      put(number)
      put(ordinary.boot)
      put(ordinary.file)
    }
  }

  private mutating func put(_ file: PlacedFile) {
    put(file.number)
    put(file.blob)
    put(file.run)
    put(file.size)
    put(file.permissions)
    put(file.user)
    put(file.group)
    put(file.modified)
    put(file.changed)
    put(UInt32(clamping: file.attributes.count))
    for attribute in file.attributes {
      put(attribute.name.bytes)
      put(attribute.value)
    }
  }
}

/// Reads what `JournalEncoder` wrote; nil for anything that cannot be.
struct JournalDecoder {
  private var rest: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

  var isAtEnd: Bool { rest.isEmpty }

  private mutating func number<Number: FixedWidthInteger>(_ type: Number.Type = Number.self) -> Number? {
    let size = MemoryLayout<Number>.size
    guard rest.count >= size else { return nil }
    var value: Number = 0
    for byte in rest.prefix(size).reversed() { value = value << 8 | Number(truncatingIfNeeded: byte) }
    rest = rest.dropFirst(size)
    return value
  }

  private mutating func string() -> [UInt8]? {
    guard let count = number(UInt32.self), rest.count >= Int(count) else { return nil }
    defer { rest = rest.dropFirst(Int(count)) }
    return Array(rest.prefix(Int(count)))
  }

  private mutating func digest() -> Digest? {
    guard let first = number(UInt64.self), let second = number(UInt64.self), let third = number(UInt64.self),
      let fourth = number(UInt64.self)
    else { return nil }
    return Digest(words: (first, second, third, fourth))
  }

  /// Nil inside means that nothing is covered.
  private mutating func covered() -> JournalEntry.Covered?? {
    guard let flag = number(UInt8.self) else { return nil }
    if flag == 0 { return .some(nil) }
    guard let inode = number(UInt64.self), let birth = number(UInt32.self) else { return nil }
    return .some(JournalEntry.Covered(inode: inode, birth: birth))
  }

  /// A name in a directory, and nothing else.
  private mutating func name() -> FilePath? {
    guard let bytes = string(), !bytes.isEmpty, bytes.count <= 255, !bytes.contains(0),
      !bytes.contains(UInt8(ascii: "/"))
    else { return nil }
    let name = FilePath(bytes)
    return name == "." || name == ".." ? nil : name
  }

  mutating func item() -> JournalItem? {
    switch number(UInt8.self) {
    case 1:
      guard let inode = number(UInt64.self), let birth = number(UInt32.self), let path = string() else { return nil }
      return .directory(JournalEntry.Directory(inode: inode, birth: birth, path: FilePath(path)))
    case 2:
      guard let file = file(), let covers = covered(), let name = name() else { return nil }
      return .place(name: name, file, covers: covers)
    case 3: return number(UInt64.self).map { .drop($0) }
    case 4:
      guard let number = number(UInt64.self), let changed = self.number(Int64.self), let covers = covered(),
        let name = name()
      else { return nil }
      return .move(number, name: name, changed: changed, covers: covers)
    case 5:
      guard let number = number(UInt64.self), let modified = self.number(Int64.self),
        let changed = self.number(Int64.self)
      else { return nil }
      return .times(number, modified: modified, changed: changed)
    case 6:
      guard let number = number(UInt64.self), let boot = self.number(UInt64.self),
        case .some(.some(let file)) = covered()
      else { return nil }
      return .ordinary(number, JournalEntry.Ordinary(file: file, boot: boot))
    default: return nil
    }
  }

  private mutating func file() -> PlacedFile? {
    guard let number = number(UInt64.self), let blob = digest(), let run = digest(), let size = self.number(Int64.self),
      let permissions = self.number(UInt32.self), let user = self.number(UInt32.self),
      let group = self.number(UInt32.self), let modified = self.number(Int64.self),
      let changed = self.number(Int64.self), let count = self.number(UInt32.self), size >= 0
    else { return nil }
    var attributes: [PlacedFile.Attribute] = []
    for _ in 0..<count {
      guard let name = string(), let value = string() else { return nil }
      attributes.append(PlacedFile.Attribute(name: FilePath(name), value: value))
    }
    return PlacedFile(
      number: number, blob: blob, size: size, permissions: permissions, user: user, group: group, modified: modified,
      changed: changed, attributes: attributes, run: run)
  }
}
