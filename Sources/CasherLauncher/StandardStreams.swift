import CasherRecord
import CasherSystem
import Glibc

/// acache's own standard streams, as the command would have found them.
struct StandardStreams {
  /// What standard input is to the command and to the key.
  enum Input: Hashable {
    case closed
    case null
    case terminal
    /// A regular file, at this offset.
    case file(offset: Int64)
    case pipe
    case socket
    /// The terminal, /dev/null or empty pipe that a parallel make hands out by chance.
    case chance
    /// Something whose content cannot be observed: a directory, a device, a file open for writing.
    case opaque
  }

  /// Of which of the numbers 0 to 2 nothing was open. /dev/null stands there now, closed on exec, so that no other
  /// descriptor takes the number.
  let wasClosed: [Bool]
  /// Which of the numbers 0 to 2 are terminals that the command's output goes to: it gets a pseudo-terminal for each.
  let isTerminal: [Bool]
  /// Whether stdout and stderr are one open file, and no terminals: then one pipe carries both, in the command's own
  /// order.
  let isJoined: Bool
  let input: Input

  init(withoutInput: Bool, withoutTerminals: Bool, environment: [[UInt8]]) throws(Errno) {
    var closed: [Bool] = []
    for number in 0..<3 as Range<Int32> {
      let isClosed = !FileDescriptor(rawValue: number).isOpen
      if isClosed { _ = try FileDescriptor.open("/dev/null", O_RDWR) }
      closed.append(isClosed)
    }
    wasClosed = closed
    let terminals = [
      false, !withoutTerminals && !closed[1] && FileDescriptor.standardOutput.isTerminal,
      !withoutTerminals && !closed[2] && FileDescriptor.standardError.isTerminal,
    ]
    isTerminal = terminals
    isJoined = !closed[1] && !closed[2] && !(terminals[1] && terminals[2]) && StandardStreams.areJoined()
    input = withoutInput ? .null : closed[0] ? .closed : StandardStreams.kindOfInput(environment)
  }

  var hasTerminal: Bool { isTerminal.contains(true) }

  private static func areJoined() -> Bool {
    let (out, error) = (FileDescriptor.standardOutput, FileDescriptor.standardError)
    guard let outStatus = try? out.status(), let errorStatus = try? error.status(), outStatus.key == errorStatus.key
    else { return false }
    // What has no offset is the same however often it was opened.
    guard outStatus.type == .regular else { return true }
    return out.isSameOpenFile(as: error) ?? (out.appends && error.appends)
  }

  private static func kindOfInput(_ environment: [[UInt8]]) -> Input {
    let kind = kindOfInput()
    switch kind {
    case .terminal, .null, .pipe:
      let isChance = MakeInput.isChance(.standardInput, isPipe: kind == .pipe, environment: environment)
      return isChance ? .chance : kind
    case .closed, .file, .socket, .chance, .opaque: return kind
    }
  }

  private static func kindOfInput() -> Input {
    let input = FileDescriptor.standardInput
    guard let status = try? input.status() else { return .opaque }
    switch status.type {
    case .characterDevice:
      if input.isTerminal { return .terminal }
      guard let null = try? FileDescriptor.workingDirectory.status(of: "/dev/null") else { return .opaque }
      return status.raw.st_rdev == null.raw.st_rdev ? .null : .opaque
    case .regular:
      guard input.isReadOnly, let offset = try? input.seek(to: 0, from: SEEK_CUR) else { return .opaque }
      return .file(offset: offset)
    case .fifo: return input.isReadOnly ? .pipe : .opaque
    case .socket: return .socket
    default: return .opaque
    }
  }

  /// What the daemon is told of standard input.
  var observedInput: StandardInput {
    switch input {
    case .closed, .null, .terminal, .chance, .opaque: .none
    case .file(let offset): .file(offset: offset)
    case .pipe, .socket: .pipe
    }
  }

  /// The descriptors that the daemon gets with that.
  var inputDescriptors: [FileDescriptor] {
    if case .file = input { [.standardInput] } else { [] }
  }

  /// What a command can find out about its streams without reading them: pieces of the key.
  var pieces: [[UInt8]] {
    var result: [[UInt8]] = []
    if isJoined { result.append(Invocation.piece("streams", Array("joined".utf8))) }
    for (number, isClosed) in wasClosed.enumerated() where isClosed && (number > 0 || input == .closed) {
      result.append(Invocation.piece("closed", Array("\(number)".utf8)))
    }
    for (number, isTerminal) in isTerminal.enumerated() where isTerminal {
      result.append(Invocation.piece("terminal", Array("\(number)".utf8)))
    }
    if input == .terminal { result.append(Invocation.piece("stdin", Array("terminal".utf8))) }
    if input == .chance { result.append(Invocation.piece("stdin", Array("chance".utf8))) }
    if input == .opaque { result.append(Invocation.piece("stdin", Array("unobservable".utf8))) }
    return result
  }
}
