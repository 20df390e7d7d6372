import CasherRecord
import CasherSystem
import Glibc

/// Reads one call after the other.
///
/// Each method reads its call's arguments in order, then the result, then tells the log what that means.
extension TraceParser {
  typealias Kinds = OutsideAccess.Kinds

  /// `line` is the whole call with its result. `overriding` takes the place of a result that the trace does not have.
  func call(_ line: UnsafeBufferPointer<UInt8>, of process: TracedProcess, result overriding: CallResult?) {
    var length = 0
    while length < line.count, line[length] != UInt8(ascii: "(") { length += 1 }
    guard length > 0, length < line.count else { return broken(line, process) }
    let name = UnsafeBufferPointer(rebasing: line[..<length])
    guard let call = names.call(name) else { return unknownCall(name, line, process) }
    var scanner = LineScanner(line, from: length + 1)
    perform(call, name, &scanner, process, overriding)
    if scanner.isBroken { broken(line, process) }
  }

  private func perform(
    _ call: TracedCall, _ name: UnsafeBufferPointer<UInt8>, _ scanner: inout LineScanner, _ process: TracedProcess,
    _ overriding: CallResult?
  ) {
    switch call {
    case .open, .openat, .openat2, .create: open(call, &scanner, process, overriding)
    case .lookUp, .lookUpLink, .lookUpAt4, .lookUpAt3, .lookUpAt5, .accessAt, .accessAtFlags:
      lookUp(call, &scanner, process, overriding)
    case .readLink, .readLinkAt:
      let fallback = path(first, at: call == .readLinkAt, &scanner, process)
      let result = overriding ?? scanner.result()
      if result.succeeded, fallback == .emptyPath {
        touchDescriptor([.linkRead, .notFollowed], process)
      } else if fallback == .usable {
        observe(first, result.succeeded ? .linkRead : .lookedUp, result, follows: false, process)
      }
    case .execute, .executeAt: execute(call, &scanner, process, overriding)
    case .changeDirectory, .changeDirectoryTo: changeDirectory(call, &scanner, process, overriding)
    case .list:
      let descriptor = scanner.descriptor(into: base)
      let result = overriding ?? scanner.result()
      if case .path(isDeleted: false) = descriptor, result.succeeded, !scanner.isBroken {
        touchDescriptor(.listed, process)
      }
    case .makeDirectory, .makeDirectoryAt, .makeNode, .makeNodeAt, .symlink, .symlinkAt:
      make(call, &scanner, process, overriding)
    case .link, .linkAt: link(call, &scanner, process, overriding)
    case .rename, .renameAt, .renameAtFlags: rename(call, &scanner, process, overriding)
    case .remove, .removeAt:
      guard path(first, at: call == .removeAt, &scanner, process) == .usable else { return }
      let isDirectory = name.elementsEqual("rmdir".utf8) || call == .removeAt && scanner.text().hasFlag("AT_REMOVEDIR")
      let result = overriding ?? scanner.result()
      change(first, .removed, result, follows: false, process, directoryExpected: isDirectory)
      if result.succeeded { linksMayChange(first) }
    case .truncate:
      guard path(first, at: false, &scanner, process) == .usable else { return }
      change(first, .updated, overriding ?? scanner.result(), follows: true, process)
    case .setAttributes, .setLinkAttributes, .setDescriptorAttributes, .setAttributesAt, .setOwnerAt, .setTimes,
      .setTimesAt3, .setTimesAt:
      setAttributes(call, &scanner, process, overriding)
    case .clone, .fork: makeProcess(&scanner, process)
    case .unshare:
      let flags = scanner.text()
      let result = overriding ?? scanner.result()
      if result.succeeded, flags.hasFlag("CLONE_FS") || flags.hasFlag("CLONE_NEWNS") {
        process.directory = process.directory.copy()
      }
    case .connect, .bind, .send, .sendMessage, .accept: communicate(call, &scanner, process, overriding)
    case .ioUring, .openByHandle, .trace, .mount, .mountTarget, .changeRoot:
      escape(call, name, &scanner, process, overriding)
    }
  }

  // MARK: arguments

  /// What a path argument came out as.
  enum PathKind {
    /// `path` is absolute.
    case usable
    /// An empty path or NULL: the call means the descriptor, whose path is in `base` (empty when it has none).
    case emptyPath
    /// Nothing can be said: unreadable, cut short, or relative to something that has no path.
    case unusable
  }

  /// Reads a directory (with `at`) and a path.
  func path(
    _ argument: PathArgument, at hasDirectory: Bool, _ scanner: inout LineScanner, _ process: TracedProcess
  ) -> PathKind {
    var descriptor = DescriptorArgument.workingDirectory(hasPath: false)
    if hasDirectory { descriptor = directory(&scanner, process) }
    let isNull = scanner.starts(with: "NULL")
    guard scanner.path(into: argument.raw), !scanner.isBroken else {
      if isNull { return descriptorPath(descriptor, process) }
      return .unusable
    }
    if argument.raw.isEmpty { return descriptorPath(descriptor, process) }
    switch descriptor {
    case .workingDirectory:
      let directory = process.directory
      directory.path.withUnsafeBufferPointer { argument.resolve(from: $0, isCanonical: directory.isCanonical) }
    case .path:
      argument.resolve(from: base.bytes, isCanonical: true)
    case .other:
      guard argument.raw.base[0] == UInt8(ascii: "/") else { return .unusable }
      argument.resolve(from: base.bytes, isCanonical: true)
    }
    return .usable
  }

  private func descriptorPath(_ descriptor: DescriptorArgument, _ process: TracedProcess) -> PathKind {
    switch descriptor {
    case .workingDirectory:
      base.removeAll()
      base.append(process.directory.path)
      return .emptyPath
    case .path(let isDeleted):
      if isDeleted { base.removeAll() }
      return .emptyPath
    case .other:
      base.removeAll()
      return .emptyPath
    }
  }

  /// Reads a directory descriptor into `base`; what AT_FDCWD shows is the process's true directory.
  private func directory(_ scanner: inout LineScanner, _ process: TracedProcess) -> DescriptorArgument {
    let shown = scanner.workingDirectoryText()
    let directory = process.directory
    if shown.count > 0, shown.count == directory.text.count, let start = shown.baseAddress,
      memcmp(start, directory.text, shown.count) == 0
    {
      scanner.at &+= 9 &+ shown.count &+ 1  // AT_FDCWD<…>
      if scanner.starts(with: ", ") { scanner.at &+= 2 } else { scanner.isBroken = true }
      return .workingDirectory(hasPath: true)
    }
    let result = scanner.descriptor(into: base)
    if case .workingDirectory(hasPath: true) = result, !scanner.isBroken, !isReplaying {
      directory.path = TraceParser.withoutDeletionMark(Array(base.bytes))
      directory.isCanonical = true
      directory.text = Array(shown)
    }
    return result
  }

  /// A working directory that has been removed is shown as `/name (deleted)`, which may be a name as well.
  private static func withoutDeletionMark(_ path: [UInt8]) -> [UInt8] {
    let mark = Array(" (deleted)".utf8)
    guard path.count > mark.count, path.suffix(mark.count).elementsEqual(mark), !exists(FilePath(path)) else {
      return path
    }
    return Array(path.dropLast(mark.count))
  }

  static func exists(_ path: FilePath) -> Bool {
    do throws(Errno) {
      _ = try FileDescriptor.workingDirectory.status(of: path)
      return true
    } catch { return error != .noSuchFile && error != .notDirectory }
  }

  // MARK: telling the log

  /// Adds an access to the path in `argument`.
  func touch(_ argument: PathArgument, _ kinds: Kinds, internal bits: UInt32 = 0, _ process: TracedProcess) {
    var kinds = kinds
    if argument.endsAsDirectory { kinds.remove(.notFollowed) }
    let path = argument.path.bytes
    guard scope.counts(path, follows: !kinds.contains(.notFollowed)) else { return }
    add(path, kinds.rawValue | bits, process)
  }

  /// Adds an access to the path of the descriptor in `base`.
  func touchDescriptor(_ kinds: Kinds, internal bits: UInt32 = 0, _ process: TracedProcess) {
    guard base.count > 0, scope.countsCanonical(base.bytes) else { return }
    add(base.bytes, kinds.rawValue | bits, process)
  }

  func add(_ path: UnsafeBufferPointer<UInt8>, _ kinds: UInt32, _ process: TracedProcess) {
    log.add(
      path, kinds, order: order, process: process.index, mayMerge: holding == 0 && !isReplaying, to: &process.entries)
  }

  /// A call that asks about `argument` and changes nothing; `kinds` when it succeeded.
  func observe(
    _ argument: PathArgument, _ kinds: Kinds, _ result: CallResult, follows: Bool, _ process: TracedProcess,
    directoryExpected: Bool = false
  ) {
    let rule: Kinds = follows ? [] : .notFollowed
    switch result {
    case .success, .unknown: touch(argument, kinds.union(rule), process)
    case .failure(.missing): touch(argument, rule.union(.missing), process)
    case .failure(.notDirectory):
      // Either a directory on the way is none, or the name itself is no directory although it had to be.
      let isThere =
        (directoryExpected || argument.endsAsDirectory) && TraceParser.exists(argument.filePath)
      touch(argument, rule.union(isThere ? .lookedUp : .missing), process)
    case .failure(.beforeLookup), .restarted: break
    case .failure: touch(argument, rule.union(.lookedUp), process)
    }
  }

  /// A call that changes what stands at `argument`.
  func change(
    _ argument: PathArgument, _ kinds: Kinds, internal bits: UInt32 = 0, _ result: CallResult, follows: Bool,
    _ process: TracedProcess, directoryExpected: Bool = false
  ) {
    switch result {
    case .success, .unknown: touch(argument, follows ? kinds : kinds.union(.notFollowed), internal: bits, process)
    default: observe(argument, [], result, follows: follows, process, directoryExpected: directoryExpected)
    }
  }

  /// A name below the mount has been given or taken, and with it perhaps a symlink.
  func linksMayChange(_ argument: PathArgument) {
    if scope.isInMount(argument.path.bytes) { scope.forgetLinks() }
  }
}
