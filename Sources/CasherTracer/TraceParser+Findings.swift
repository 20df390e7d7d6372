import CasherRecord
import CasherSystem
import Glibc

/// The calls by which a command reaches what no file tells.
extension TraceParser {
  /// What forbids storing what `process` and its descendants did, each once; of the whole trace when nil.
  ///
  /// A connection to a socket that one of these processes has bound itself is none to the outside, and a socket that
  /// one of them has removed again is no special file.
  public func obstacles(ofSubtree process: Int32? = nil) -> [Uncacheable] {
    let members = subtree(of: process).map { processes[Int($0)] }
    var findings: Set<Finding> = []
    for member in members { findings.formUnion(member.findings) }
    if process == nil, holding > 0 { findings.insert(.unobserved("the trace is not whole")) }
    var own: Set<PathTable.ID> = []
    for case .bound(let id) in findings { own.insert(id) }
    var removals: Set<PathTable.ID> = []
    if findings.contains(where: { if case .bound = $0 { true } else if case .special = $0 { true } else { false } }) {
      let kinds = Kinds.removed.union(.renamedAway).rawValue
      for member in members {
        for entry in member.entries where entry.kinds & kinds != 0 { removals.insert(entry.path) }
      }
    }
    var result: Set<Uncacheable> = []
    for finding in findings {
      switch finding {
      case .network(let address): result.insert(.network(address))
      case .unobserved(let what): result.insert(.outsideUnobserved(what))
      case .connected(let id): if !own.contains(id) { result.insert(.network(log.paths.path(id).description)) }
      case .bound(let id), .special(let id):
        let path = log.paths.path(id)
        if path.isAbsolute, !removals.contains(id) { result.insert(.specialFile(path)) }
      }
    }
    return result.sorted { $0.sentence < $1.sentence }
  }

  // MARK: sockets

  func communicate(
    _ call: TracedCall, _ scanner: inout LineScanner, _ process: TracedProcess, _ overriding: CallResult?
  ) {
    scanner.skipArgument()
    if call == .send {
      scanner.skipArgument()
      scanner.skipArgument()
      scanner.skipArgument()
    }
    let address = scanner.text()
    let result = overriding ?? scanner.result()
    guard !scanner.isBroken, let family = address.offset(of: "sa_family=") else { return }
    let rest = UnsafeBufferPointer(rebasing: address[(family + 10)...])
    if rest.starts(with: "AF_UNIX") {
      return unixSocket(call, rest, result, process)
    }
    // What asks the kernel alone, or nobody.
    if rest.starts(with: "AF_NETLINK") || rest.starts(with: "AF_UNSPEC") || rest.starts(with: "AF_ALG") { return }
    if call == .bind { return }
    if call == .accept, !result.succeeded { return }
    if case .failure(.beforeLookup) = result { return }
    process.findings.insert(.network(TraceParser.description(rest)))
  }

  /// `sun_path="/path"` or `sun_path=@"abstract"`.
  private func unixSocket(
    _ call: TracedCall, _ address: UnsafeBufferPointer<UInt8>, _ result: CallResult, _ process: TracedProcess
  ) {
    guard call != .accept, let name = address.offset(of: "sun_path=") else { return }
    let isAbstract = address.offset(of: "sun_path=@") != nil
    var scanner = LineScanner(address, from: name + 9 + (isAbstract ? 1 : 0))
    first.raw.removeAll()
    guard scanner.path(into: first.raw) || !first.raw.isEmpty else { return }
    if isAbstract {
      first.path.removeAll()
      first.path.append(UInt8(ascii: "@"))
      first.path.append(first.raw.base, count: first.raw.count)
    } else {
      let directory = process.directory
      directory.path.withUnsafeBufferPointer { first.resolve(from: $0, isCanonical: directory.isCanonical) }
    }
    if call == .bind {
      guard result.succeeded || result == .unknown else { return }
      if !isAbstract { touch(first, [.madeNew, .notFollowed], process) }
      process.findings.insert(.bound(log.paths.number(of: first.path.bytes)))
      return
    }
    switch result {
    case .failure(.missing), .failure(.notDirectory), .failure(.refused), .failure(.beforeLookup):
      if !isAbstract { observe(first, .lookedUp, result, follows: true, process) }
    default:
      let path = first.filePath
      if TraceParser.harmlessSockets.contains(path) { return }
      if configuration.trustedSockets.contains(where: { $0 == path || MessageSocket.isSocket($0, reachedBy: path) }) {
        return
      }
      process.findings.insert(.connected(log.paths.number(of: first.path.bytes)))
    }
  }

  /// The name service's cache answers what the files in /etc would; the system's log takes and answers nothing.
  public static let harmlessSockets: [FilePath] = [
    "/var/run/nscd/socket", "/run/nscd/socket", "/dev/log", "/run/systemd/journal/dev-log",
  ]

  /// `AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.1")}` as `127.0.0.1:53`.
  private static func description(_ address: UnsafeBufferPointer<UInt8>) -> String {
    func between(_ start: StaticString, _ stop: UInt8) -> String? {
      guard let from = address.offset(of: start) else { return nil }
      let text = address[(from + start.utf8CodeUnitCount)...].prefix { $0 != stop }
      return String(decoding: text, as: UTF8.self)
    }
    let port = between("port=htons(", UInt8(ascii: ")"))
    if let host = between("inet_addr(\"", UInt8(ascii: "\"")) { return port.map { "\(host):\($0)" } ?? host }
    if let host = between("inet_pton(AF_INET6, \"", UInt8(ascii: "\"")) {
      return port.map { "[\(host)]:\($0)" } ?? host
    }
    return "a network address (" + String(decoding: address.prefix { $0 >= 48 && $0 != 125 }, as: UTF8.self) + ")"
  }

  // MARK: what the trace does not show

  func escape(
    _ call: TracedCall, _ name: UnsafeBufferPointer<UInt8>, _ scanner: inout LineScanner, _ process: TracedProcess,
    _ overriding: CallResult?
  ) {
    var what: String? = String(decoding: name, as: UTF8.self)
    var isMade = true
    switch call {
    case .ioUring: what = "the command reads and writes through io_uring"
    case .openByHandle: what = "the command opens files by handle"
    case .trace:
      let request = scanner.text()
      isMade = false
      what =
        request.hasFlag("PTRACE_TRACEME") || request.hasFlag("PTRACE_ATTACH") || request.hasFlag("PTRACE_SEIZE")
        ? "the command traces processes itself" : nil
    case .mount:
      scanner.skipArgument()
      if path(first, at: false, &scanner, process) == .usable, !scope.counts(first.path.bytes, follows: true) {
        what = nil
      }
      scanner.skipArgument()
      let flags = scanner.text()
      let propagation: [StaticString] = ["MS_PRIVATE", "MS_SLAVE", "MS_SHARED", "MS_UNBINDABLE"]
      if propagation.contains(where: flags.hasFlag) { what = nil }
      if what != nil { what = "the command mounts filesystems" }
    case .mountTarget:
      if path(first, at: false, &scanner, process) == .usable, !scope.counts(first.path.bytes, follows: true) {
        what = nil
      }
      if what != nil { what = "the command unmounts filesystems" }
    default: what = what.map { "the command changes what its paths mean (\($0))" }
    }
    let result = overriding ?? scanner.result()
    guard let what, result.succeeded || !isMade else { return }
    process.findings.insert(.unobserved(what))
  }

  /// A call that this strace has no name for, because it is younger: it prints `syscall_0x1c4`. Those that take paths
  /// cannot be followed: fchmodat2 (452) and the four of setxattrat(2) and what came with and after them (463 on).
  func unknownCall(_ name: UnsafeBufferPointer<UInt8>, _ line: UnsafeBufferPointer<UInt8>, _ process: TracedProcess) {
    guard name.starts(with: "syscall_0x") else {
      if !name.starts(with: "strace") && !name.starts(with: "????") { broken(line, process) }
      return
    }
    var number = 0
    for byte in name[10...] {
      guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { return }
      number = number &* 16 &+ digit
    }
    guard number == 452 || number >= 463 && number < 512, line.offset(of: " = -1 ") == nil else { return }
    process.findings.insert(.unobserved("system call \(number), which this strace does not know"))
  }
}
