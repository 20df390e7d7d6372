import CasherSystem
import Glibc
import Synchronization

/// What is placed, on disk: a header, then frames that are appended, each the items of one step, and taken as a whole or
/// not at all.
///
/// There may be a second one beside it elsewhere (`JournalCopy`), for when the directory that it lies in is lost.
///
/// A frame is its length and the checksum of its items, then the items. What follows the first frame that is not whole
/// is not there: it was being written when the machine or the daemon stopped.
final class PlacementJournal: Sendable {
  let path: FilePath
  private let state: Mutex<State>
  private let copy: JournalCopy?
  /// Whether each frame is on the disk before anything relies on it.
  let isSynchronous: Bool

  private struct State {
    var file: FileDescriptor
    /// Bytes of whole frames.
    var size: Int64
    /// Bytes that the disk has set aside.
    var allocated: Int64 = 0
    /// Frames were appended since the last sync.
    var isDirty = false
    /// A frame could not be taken back: nothing may follow it until it is.
    var isBroken = false
  }

  static let header: [UInt8] = Array("CshrPlc1".utf8)
  private static let frameHeader = 12
  /// Bytes that dropping or moving one file may take.
  private static let reserveForFile: Int64 = 64

  /// What a file at `path` holds; `entries` in the order in which they were placed.
  struct Content {
    var entries: [JournalEntry] = []
    /// Bytes up to the end of the last whole frame; 0 for a file that is none of ours or empty.
    var size: Int64 = 0
    /// There is something that cannot be read before the end.
    var isDamaged = false
  }

  init(path: FilePath, file: FileDescriptor, size: Int64, copy: JournalCopy?, isSynchronous: Bool) {
    self.path = path
    self.copy = copy
    self.isSynchronous = isSynchronous
    state = Mutex(State(file: file, size: size))
  }

  deinit { state.withLock { $0.file.close() } }

  // MARK: writing

  /// Appends one frame. When this throws, the journal is as it was.
  func append(_ items: [JournalItem]) throws(Errno) {
    let frame = PlacementJournal.frame(items)
    try state.withLock { state throws(Errno) in try append(frame, &state) }
  }

  /// As `append`, with space set aside besides for the steps that will end these files' being placed: a full disk is then
  /// found out before anything is placed.
  func append(_ items: [JournalItem], placing count: Int, besides present: Int) throws(Errno) {
    let frame = PlacementJournal.frame(items)
    try state.withLock { state throws(Errno) in
      let files = Int64(clamping: count) &+ Int64(clamping: present)
      let needed = state.size &+ Int64(frame.count) &+ files &* PlacementJournal.reserveForFile &+ 8192
      if needed > state.allocated {
        let length = needed &+ needed / 2
        do throws(Errno) {
          try state.file.allocate(mode: 1, offset: 0, length: length)  // FALLOC_FL_KEEP_SIZE
          state.allocated = length
        } catch {
          if error == .noSpace || error == .quotaExceeded || error == .ioError { throw error }
          // A filesystem that sets nothing aside.
          state.allocated = .max
        }
      }
      try append(frame, &state)
    }
  }

  private func append(_ frame: [UInt8], _ state: inout State) throws(Errno) {
    if state.isBroken {
      try state.file.truncate(to: state.size)
      state.isBroken = false
    }
    do throws(Errno) {
      var bytes = frame
      if state.size == 0 { bytes = PlacementJournal.header + frame }
      try state.file.seek(to: state.size)
      try state.file.writeAll(bytes)
      if isSynchronous { try state.file.synchronize(dataOnly: true) }
      copy?.append(bytes, at: state.size, of: state.file)
      state.size &+= Int64(bytes.count)
      state.isDirty = true
    } catch {
      do throws(Errno) { try state.file.truncate(to: state.size) } catch { state.isBroken = true }
      throw error
    }
  }

  /// Has the disk hold what was appended.
  func synchronize() throws(Errno) {
    try state.withLock { state throws(Errno) in
      guard state.isDirty else { return }
      try state.file.synchronize(dataOnly: true)
      state.isDirty = false
    }
  }

  /// Bytes of whole frames.
  var size: Int64 { state.withLock { $0.size } }

  /// Makes these entries all that the journal holds. To be called while nothing is appended; when this throws, the
  /// journal is as it was.
  func replace(with entries: [JournalEntry]) throws(Errno) {
    if entries.isEmpty {
      try state.withLock { state throws(Errno) in
        // First, since it counts where the journal itself is missing.
        copy?.remove(before: path.parent)
        if state.size == 0 { return }
        try state.file.truncate(to: 0)
        state.size = 0
        state.allocated = 0
        state.isBroken = false
        state.isDirty = true
      }
      return
    }
    var items: [JournalItem] = []
    var directory: JournalEntry.Directory?
    for entry in entries {
      if entry.directory != directory { items.append(.directory(entry.directory)) }
      directory = entry.directory
      items.append(.place(name: entry.name, entry.file, covers: entry.covers))
      if let ordinary = entry.ordinary { items.append(.ordinary(entry.file.number, ordinary)) }
    }
    let bytes = PlacementJournal.header + PlacementJournal.frame(items)
    let file = try PlacementJournal.write(bytes, inPlaceOf: path)
    copy?.replace(with: bytes)
    state.withLock { state in
      state.file.close()
      state = State(file: file, size: Int64(bytes.count), isDirty: true)
    }
  }

  /// Puts a file with these bytes in place of another, in one step, and gives it open for reading and writing.
  static func write(
    _ bytes: [UInt8], inPlaceOf path: FilePath, synchronizing: Bool = true
  ) throws(Errno) -> FileDescriptor {
    let temporary = FilePath(path.bytes + Array(".new".utf8))
    let file = try FileDescriptor.open(temporary, O_RDWR | O_CREAT | O_TRUNC, mode: 0o600)
    do throws(Errno) {
      try file.writeAll(bytes)
      // Before the old one goes: after a loss of power one of them has to be whole.
      if synchronizing { try file.synchronize(dataOnly: true) }
      try FileDescriptor.workingDirectory.rename(temporary, to: .workingDirectory, as: path)
      if synchronizing { try synchronizeDirectory(of: path) }
    } catch {
      file.close()
      try? FileDescriptor.workingDirectory.remove(temporary)
      throw error
    }
    return file
  }

  // MARK: the format

  private static func frame(_ items: [JournalItem]) -> [UInt8] {
    var encoder = JournalEncoder()
    encoder.reserve(items.count &* 192)
    for item in items { encoder.put(item) }
    let payload = encoder.bytes
    var bytes: [UInt8] = []
    bytes.reserveCapacity(payload.count + frameHeader)
    withUnsafeBytes(of: UInt32(clamping: payload.count).littleEndian) { bytes.append(contentsOf: $0) }
    withUnsafeBytes(of: checksum(payload[...]).littleEndian) { bytes.append(contentsOf: $0) }
    bytes += payload
    return bytes
  }

  /// FNV-1a of 64 bits: what was torn or never written does not have it.
  private static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.withUnsafeBufferPointer { buffer in
      var hash: UInt64 = 0xcbf2_9ce4_8422_2325
      for byte in buffer { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
      return hash
    }
  }

  static func parse(_ bytes: [UInt8]) -> Content {
    var content = Content()
    guard bytes.starts(with: header) else {
      content.isDamaged = bytes.contains { $0 != 0 }
      return content
    }
    var state = Replay()
    var position = header.count
    content.size = Int64(position)
    while position + frameHeader <= bytes.count {
      let length = Int(number(bytes[position..<position + 4]))
      let sum = number(bytes[position + 4..<position + 12])
      let begin = position + frameHeader
      guard length > 0, length <= bytes.count - begin else { break }
      let payload = bytes[begin..<begin + length]
      guard checksum(payload) == sum, state.apply(payload) else { break }
      position = begin + length
      content.size = Int64(position)
    }
    content.isDamaged = bytes[position...].contains { $0 != 0 }
    content.entries = state.entries
    return content
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
}

/// The state that the frames lead to, one after the other.
private struct Replay {
  private struct Slot: Hashable {
    var inode: UInt64
    var birth: UInt32
    var name: FilePath
  }

  private var byNumber: [UInt64: JournalEntry] = [:]
  private var byName: [Slot: UInt64] = [:]
  private var order: [UInt64] = []

  var entries: [JournalEntry] {
    var seen: Set<UInt64> = []
    return order.compactMap { seen.insert($0).inserted ? byNumber[$0] : nil }
  }

  /// False, and nothing has changed, when the items cannot be understood.
  mutating func apply(_ payload: ArraySlice<UInt8>) -> Bool {
    var decoder = JournalDecoder(payload)
    var items: [JournalItem] = []
    while !decoder.isAtEnd {
      guard let item = decoder.item() else { return false }
      items.append(item)
    }
    var directory: JournalEntry.Directory?
    for item in items {
      switch item {
      case .directory(let next): directory = next
      case .place(let name, let file, let covers):
        guard let directory else { return false }
        put(JournalEntry(directory: directory, name: name, file: file, covers: covers))
      case .drop(let number): remove(number)
      case .ordinary(let number, let ordinary): byNumber[number]?.ordinary = ordinary
      case .move(let number, let name, let changed, let covers):
        guard let directory, let old = byNumber[number] else { continue }
        remove(number)
        put(
          JournalEntry(directory: directory, name: name, file: old.file.with(changed: changed), covers: covers))
      case .times(let number, let modified, let changed):
        guard let old = byNumber[number] else { continue }
        byNumber[number]?.file = old.file.with(modified: modified, changed: changed)
      }
    }
    return true
  }

  private mutating func put(_ entry: JournalEntry) {
    let slot = Slot(inode: entry.directory.inode, birth: entry.directory.birth, name: entry.name)
    if let former = byName[slot] { byNumber[former] = nil }
    byName[slot] = entry.file.number
    byNumber[entry.file.number] = entry
    order.append(entry.file.number)
  }

  private mutating func remove(_ number: UInt64) {
    guard let entry = byNumber.removeValue(forKey: number) else { return }
    let slot = Slot(inode: entry.directory.inode, birth: entry.directory.birth, name: entry.name)
    if byName[slot] == number { byName[slot] = nil }
  }
}
