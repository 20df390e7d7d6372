import CasherRecord
import CasherSystem
import Glibc

/// The calls that make, rename and remove names and set attributes.
extension TraceParser {
  func make(_ call: TracedCall, _ scanner: inout LineScanner, _ process: TracedProcess, _ overriding: CallResult?) {
    let isSymlink = call == .symlink || call == .symlinkAt
    if isSymlink { scanner.skipArgument() }
    let hasDirectory = call == .makeDirectoryAt || call == .makeNodeAt || call == .symlinkAt
    let kind = path(first, at: hasDirectory, &scanner, process)
    let isNode = call == .makeNode || call == .makeNodeAt
    var isSpecial = false
    if isNode {
      let mode = scanner.text()
      isSpecial = mode.hasFlag("S_IFCHR") || mode.hasFlag("S_IFBLK") || mode.hasFlag("S_IFSOCK")
    }
    let result = overriding ?? scanner.result()
    guard kind == .usable, !scanner.isBroken else { return }
    change(first, .madeNew, result, follows: false, process)
    if isSpecial, result.succeeded { process.findings.insert(.special(log.paths.number(of: first.path.bytes))) }
    if isSymlink, result.succeeded { linksMayChange(first) }
  }

  func link(_ call: TracedCall, _ scanner: inout LineScanner, _ process: TracedProcess, _ overriding: CallResult?) {
    let source = path(first, at: call == .linkAt, &scanner, process)
    let hasOwnPath = source == .emptyPath && !base.isEmpty
    if hasOwnPath {
      first.raw.removeAll()
      first.raw.append(base.base, count: base.count)
      first.resolve(from: base.bytes, isCanonical: true)
    }
    let target = path(second, at: call == .linkAt, &scanner, process)
    let follows = call == .linkAt && scanner.text().hasFlag("AT_SYMLINK_FOLLOW")
    let result = overriding ?? scanner.result()
    guard target == .usable, !scanner.isBroken else { return }
    let hasSource = source == .usable || hasOwnPath
    switch result {
    case .success, .unknown:
      if hasSource { touch(first, follows ? .lookedUp : [.lookedUp, .notFollowed], process) }
      touch(second, [.madeNew, .notFollowed], process)
      linksMayChange(second)
    default: failedPair(hasSource, result, follows: follows, process)
    }
  }

  func rename(_ call: TracedCall, _ scanner: inout LineScanner, _ process: TracedProcess, _ overriding: CallResult?) {
    let source = path(first, at: call != .rename, &scanner, process)
    let target = path(second, at: call != .rename, &scanner, process)
    var isExchange = false
    var isNew = false
    if call == .renameAtFlags {
      let flags = scanner.text()
      isExchange = flags.hasFlag("RENAME_EXCHANGE")
      isNew = flags.hasFlag("RENAME_NOREPLACE")
    }
    let result = overriding ?? scanner.result()
    guard source == .usable, target == .usable, !scanner.isBroken else { return }
    guard result.succeeded || result == .unknown else {
      return failedPair(true, result, follows: false, process)
    }
    var made: Kinds = isNew ? [.madeNew, .replaced] : .replaced
    var taken: Kinds = .renamedAway
    let sourceTime = log.hasSetTime(first.path.bytes)
    if isExchange {
      made.insert(.renamedAway)
      taken.insert(.replaced)
      if log.hasSetTime(second.path.bytes) { taken.insert(.timeSet) }
    }
    if sourceTime { made.insert(.timeSet) }
    touchName(first, taken, process)
    touchName(second, made, process)
    moveDirectories(from: first.path.bytes, to: second.path.bytes)
    if scope.isInMount(first.path.bytes) || scope.isInMount(second.path.bytes), movesLinks() { scope.forgetLinks() }
  }

  /// Whether what was renamed to `second` is, or may hold, a symlink.
  private func movesLinks() -> Bool {
    do throws(Errno) {
      let type = try FileDescriptor.workingDirectory.status(of: second.filePath).type
      return type == .symlink || type == .directory
    } catch { return true }
  }

  /// A slash at the end does not make rename(2) follow a link.
  private func touchName(_ argument: PathArgument, _ kinds: Kinds, _ process: TracedProcess) {
    guard scope.counts(argument.path.bytes, follows: false) else { return }
    add(argument.path.bytes, kinds.union(.notFollowed).rawValue, process)
  }

  /// A failed link or rename: which of its two names the error is about.
  private func failedPair(_ hasFirst: Bool, _ result: CallResult, follows: Bool, _ process: TracedProcess) {
    var kinds: (first: Kinds?, second: Kinds?)
    switch result {
    case .failure(.beforeLookup), .restarted: return
    case .failure(.missing) where hasFirst && TraceParser.exists(second.filePath.parent): kinds = (.missing, nil)
    case .failure(.alreadyThere): kinds = (.lookedUp, .lookedUp)
    default:
      kinds.first = TraceParser.exists(first.filePath) ? .lookedUp : .missing
      kinds.second = TraceParser.exists(second.filePath) ? .lookedUp : .missing
    }
    if hasFirst, let kind = kinds.first { touch(first, follows ? kind : kind.union(.notFollowed), process) }
    if let kind = kinds.second { touch(second, kind.union(.notFollowed), process) }
  }

  /// Working directories below a renamed directory have another path now.
  private func moveDirectories(from old: UnsafeBufferPointer<UInt8>, to new: UnsafeBufferPointer<UInt8>) {
    guard let start = old.baseAddress else { return }
    for process in processes where !process.hasExited {
      let path = process.directory.path
      guard path.count >= old.count, memcmp(path, start, old.count) == 0,
        path.count == old.count || path[old.count] == UInt8(ascii: "/")
      else { continue }
      process.directory.path = Array(new) + path[old.count...]
      process.directory.text = []
    }
  }

  // MARK: attributes

  func setAttributes(
    _ call: TracedCall, _ scanner: inout LineScanner, _ process: TracedProcess, _ overriding: CallResult?
  ) {
    var kind = PathKind.emptyPath
    var follows = true
    switch call {
    case .setDescriptorAttributes:
      base.removeAll()
      guard case .path(isDeleted: false) = scanner.descriptor(into: base) else { return }
    case .setAttributesAt, .setOwnerAt, .setTimesAt3, .setTimesAt: kind = path(first, at: true, &scanner, process)
    default: kind = path(first, at: false, &scanner, process)
    }
    if call == .setLinkAttributes { follows = false }
    if call == .setOwnerAt {
      scanner.skipArgument()
      scanner.skipArgument()
      follows = !scanner.text().hasFlag("AT_SYMLINK_NOFOLLOW")
    }
    var kinds: Kinds = .attributesSet
    var bits: UInt32 = 0
    if call == .setTimes || call == .setTimesAt3 || call == .setTimesAt {
      switch TraceParser.modification(scanner.text()) {
      case .set: kinds.insert(.timeSet)
      case .now: bits = AccessLog.timeLeft
      case .kept: break
      }
      if call == .setTimesAt { follows = !scanner.text().hasFlag("AT_SYMLINK_NOFOLLOW") }
    }
    let result = overriding ?? scanner.result()
    guard !scanner.isBroken else { return }
    switch kind {
    case .usable: change(first, kinds, internal: bits, result, follows: follows, process)
    case .emptyPath: if result.succeeded || result == .unknown { touchDescriptor(kinds, internal: bits, process) }
    case .unusable: break
    }
  }

  private enum Modification { case set, now, kept }

  /// What the times argument does to the modification time: `NULL`, `[UTIME_NOW, UTIME_OMIT]`,
  /// `[{tv_sec=1, tv_nsec=0} /* date */, {…} /* date */]`, `{actime=…, modtime=…}`.
  private static func modification(_ text: UnsafeBufferPointer<UInt8>) -> Modification {
    if text.starts(with: "NULL") || text.starts(with: "0x") { return .now }
    var depth = 0
    for index in 0..<text.count {
      switch text[index] {
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
      case UInt8(ascii: ",") where depth == 1:
        let second = UnsafeBufferPointer(rebasing: text[(index + 1)...])
        if second.offset(of: "UTIME_NOW") != nil { return .now }
        return second.offset(of: "UTIME_OMIT") != nil ? .kept : .set
      default: break
      }
    }
    return .set
  }
}
