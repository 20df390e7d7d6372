import CasherRecord
import CasherSystem
import Glibc

/// The calls that open, look up and execute.
extension TraceParser {
  func open(_ call: TracedCall, _ scanner: inout LineScanner, _ process: TracedProcess, _ overriding: CallResult?) {
    let kind = path(first, at: call == .openat || call == .openat2, &scanner, process)
    var flags = call == .create ? UnsafeBufferPointer(start: nil, count: 0) : scanner.text()
    if call == .openat2 {
      // {flags=O_RDONLY, mode=0, resolve=0}
      let start = (flags.offset(of: "flags=") ?? -6) + 6
      var end = start
      while end < flags.count, flags[end] != UInt8(ascii: ","), flags[end] != UInt8(ascii: "}") { end += 1 }
      flags = UnsafeBufferPointer(rebasing: flags[start..<end])
    }
    let result = overriding ?? scanner.result()
    let hasPath = result.succeeded && overriding == nil && scanner.returnedPath(into: text)
    guard kind == .usable, !scanner.isBroken else { return }

    let isDirectory = flags.hasFlag("O_DIRECTORY")
    // A link in the last place is not followed with O_EXCL either (open(2)).
    let isExclusive = flags.hasFlag("O_CREAT") && flags.hasFlag("O_EXCL")
    let follows = !flags.hasFlag("O_NOFOLLOW") && !isExclusive
    guard result.succeeded || result == .unknown else {
      return observe(first, [], result, follows: follows, process, directoryExpected: isDirectory)
    }
    var kinds = call == .create ? [.created, .truncated] : TraceParser.kinds(flags)
    if !follows { kinds.insert(.notFollowed) }
    if first.endsAsDirectory { kinds.remove(.notFollowed) }
    if hasPath {
      openedFile(kinds, process)
    } else {
      touch(first, kinds, process)
    }
  }

  /// The kernel has said which file was opened (in `text`): that tells whether it counts, and which file was changed.
  private func openedFile(_ kinds: Kinds, _ process: TracedProcess) {
    guard scope.countsCanonical(text.bytes) else {
      // Into the mount, or below /proc: the links on the way there may still be outside of both.
      if scope.counts(first.path.bytes, follows: !kinds.contains(.notFollowed)) {
        add(first.path.bytes, kinds.intersection(.notFollowed).union(.lookedUp).rawValue, process)
      }
      return
    }
    let isUsed = scope.counts(first.path.bytes, follows: false) || !scope.isInMount(first.path.bytes)
    let isIgnored = !scope.countsCanonical(first.path.bytes) && !scope.isInMount(first.path.bytes)
    let isSame =
      text.count == first.path.count && memcmp(text.base, first.path.base, text.count) == 0
    if isUsed && !isIgnored || scope.isInMount(first.path.bytes) { add(first.path.bytes, kinds.rawValue, process) }
    let isChange = !kinds.isDisjoint(with: AccessLog.changes)
    if !isSame, isChange || isIgnored { add(text.bytes, kinds.subtracting(.notFollowed).rawValue, process) }
  }

  private static func kinds(_ flags: UnsafeBufferPointer<UInt8>) -> Kinds {
    if flags.hasFlag("O_PATH") || flags.hasFlag("O_TMPFILE") || flags.hasFlag("__O_TMPFILE") { return .lookedUp }
    let reads = flags.hasFlag("O_RDONLY") || flags.hasFlag("O_RDWR")
    let writes = flags.hasFlag("O_WRONLY") || flags.hasFlag("O_RDWR")
    let truncates = flags.hasFlag("O_TRUNC")
    if flags.hasFlag("O_CREAT") && flags.hasFlag("O_EXCL") { return [.created, .madeNew] }
    var kinds: Kinds = flags.hasFlag("O_CREAT") ? .created : []
    if truncates { return kinds.union(.truncated) }
    if reads { kinds.insert(flags.hasFlag("O_DIRECTORY") ? .lookedUp : .read) }
    if writes { kinds.insert(.updated) }
    // An access mode of 3 is for ioctl alone (open(2)).
    return kinds.isEmpty ? .lookedUp : kinds
  }

  func lookUp(_ call: TracedCall, _ scanner: inout LineScanner, _ process: TracedProcess, _ overriding: CallResult?) {
    let kind = path(first, at: call != .lookUp && call != .lookUpLink, &scanner, process)
    guard kind == .usable else { return }
    var follows = call != .lookUpLink
    switch call {
    case .lookUpAt4:
      scanner.skipArgument()
      follows = !scanner.text().hasFlag("AT_SYMLINK_NOFOLLOW")
    case .lookUpAt3: follows = !scanner.text().hasFlag("AT_SYMLINK_NOFOLLOW")
    case .accessAtFlags:
      scanner.skipArgument()
      follows = !scanner.text().hasFlag("AT_SYMLINK_NOFOLLOW")
    case .lookUpAt5:
      scanner.skipArgument()
      scanner.skipArgument()
      follows = scanner.text().hasFlag("AT_SYMLINK_FOLLOW")
    default: break
    }
    let result = overriding ?? scanner.result()
    guard !scanner.isBroken else { return }
    observe(first, .lookedUp, result, follows: follows, process)
  }

  // MARK: directories

  func changeDirectory(
    _ call: TracedCall, _ scanner: inout LineScanner, _ process: TracedProcess, _ overriding: CallResult?
  ) {
    if call == .changeDirectoryTo {
      let descriptor = scanner.descriptor(into: base)
      let result = overriding ?? scanner.result()
      guard result.succeeded, !scanner.isBroken, case .path = descriptor else { return }
      process.directory.path = Array(base.bytes)
      process.directory.isCanonical = true
      process.directory.text = []
      return
    }
    let kind = path(first, at: false, &scanner, process)
    let result = overriding ?? scanner.result()
    guard kind == .usable, !scanner.isBroken else { return }
    if result.succeeded {
      var path = Array(first.path.bytes)
      var isCanonical = false
      // Without symlinks and `..` the path outlives the directories that it was reached through.
      do throws(Errno) {
        path = try FilePath(path).canonical().bytes
        isCanonical = true
      } catch {}
      process.directory.path = path
      process.directory.isCanonical = isCanonical
      process.directory.text = []
    }
    observe(first, .lookedUp, result, follows: true, process, directoryExpected: true)
  }

  // MARK: programs

  func execute(_ call: TracedCall, _ scanner: inout LineScanner, _ process: TracedProcess, _ overriding: CallResult?) {
    let kind = path(first, at: call == .executeAt, &scanner, process)
    var follows = true
    if call == .executeAt {
      scanner.skipArgument()
      scanner.skipArgument()
      follows = !scanner.text().hasFlag("AT_SYMLINK_NOFOLLOW")
    }
    let result = overriding ?? scanner.result()
    guard !scanner.isBroken else { return }
    if kind == .emptyPath {
      guard result.succeeded, !base.isEmpty else { return }
      first.raw.removeAll()
      first.raw.append(base.base, count: base.count)
      first.resolve(from: base.bytes, isCanonical: true)
    } else if kind == .unusable {
      return
    }
    switch result {
    case .success, .unknown:
      touch(first, follows ? .executed : [.executed, .notFollowed], process)
      executed(first.filePath, process, depth: 0)
    case .failure(.missing) where TraceParser.exists(first.filePath):
      // The file is there, its interpreter is not.
      touch(first, .executed, process)
      executed(first.filePath, process, depth: 0)
    case .failure(.noExecutable): touch(first, .executed, process)
    default: observe(first, .lookedUp, result, follows: follows, process)
    }
  }

  /// Adds what the kernel opens for the program at `path`. It nests scripts five deep at most (execve(2)).
  private func executed(_ path: FilePath, _ process: TracedProcess, depth: Int) {
    let isOutside = path.bytes.withUnsafeBufferPointer { scope.counts($0, follows: true) }
    let file = executables.file(path, once: isOutside)
    if file.changesPrivileges {
      process.findings.insert(.unobserved("\(path) runs with other privileges when it is not traced"))
    }
    var next: FilePath?
    switch file.format {
    case .script(let interpreter): next = interpreter
    case .program(let linker): next = linker
    case .other:
      if isOutside { process.findings.insert(.unobserved("\(path) is run by an interpreter of binfmt_misc")) }
    case .unreadable(let error):
      if error == .accessDenied {
        process.findings.insert(.unobserved("\(path) can be executed and not read"))
      }
      // Gone already: as long as the process runs, the kernel names what runs in it, the interpreter of a script.
      if depth == 0, !isOutside { next = running(process.id) }
    }
    guard let next, depth < 6 else { return }
    // The kernel takes a relative interpreter from the working directory.
    second.raw.removeAll()
    second.raw.append(next.bytes)
    let directory = process.directory
    directory.path.withUnsafeBufferPointer { second.resolve(from: $0, isCanonical: directory.isCanonical) }
    let interpreter = second.filePath
    if TraceParser.exists(interpreter) {
      touch(second, .executed, process)
      executed(interpreter, process, depth: depth + 1)
    } else {
      touch(second, .missing, process)
    }
  }

  private func running(_ process: Int32) -> FilePath? {
    do throws(Errno) {
      return try FileDescriptor.workingDirectory.readLink(FilePath("/proc/\(process)/exe"))
    } catch { return nil }
  }

  func makeProcess(_ scanner: inout LineScanner, _ process: TracedProcess) {
    let line = Array(UnsafeBufferPointer(start: scanner.base, count: scanner.end))
    guard case .success(let returned) = scanner.result() else { return }
    let id = scanner.translatedProcess() ?? returned
    guard let id = Int32(exactly: id), id > 0 else { return }
    didMake(id, process, sharing: TraceParser.sharesDirectory(line) ?? false)
    process.madeProcess = nil
  }
}
