import CasherSystem

/// Passes a pipe or socket on standard input to the command so that what the command does not read stays in it.
///
/// The command reads from a pipe of one page, which has room again only when everything in it has been read. Into it
/// goes a copy of the front of the real input (tee(2), or MSG_PEEK for a socket); when it has been read, that much is
/// taken from the real input, and not before.
final class StandardInputRelay {
  private let source: FileDescriptor
  private let isSocket: Bool
  private let command: FileDescriptor
  /// What was taken before the command ran and has not been passed on.
  private var held: ArraySlice<UInt8>
  /// Bytes in the command's pipe that are still in the real input.
  private var copied = 0
  /// Bytes in the command's pipe that came from `held`.
  private var lent = 0
  /// Bytes that the command has taken.
  private(set) var consumed: UInt64 = 0
  /// The command's pipe was closed because the input is at its end.
  private(set) var reachedEnd = false
  /// The real input gave something else than was there before: another process reads from it.
  private(set) var isDisturbed = false
  private(set) var isOver = false
  /// Called with what the command has taken, in order.
  var taken: ([UInt8]) -> Void = { _ in }

  /// `command` is the writing end of a pipe made by `makePipe`, whose other end the command alone has.
  init(_ input: PeekedInput, command: FileDescriptor) {
    source = input.source
    isSocket = input.isSocket
    held = input.held[...]
    self.command = command
  }

  /// A pipe for the command's standard input.
  static func makePipe() throws(Errno) -> (reading: FileDescriptor, writing: FileDescriptor) {
    let pipe = try FileDescriptor.makePipe()
    do throws(Errno) {
      try pipe.writing.setPipeSize(1)
      try pipe.writing.setNonBlocking()
    } catch {
      pipe.reading.close()
      pipe.writing.close()
      throw error
    }
    return pipe
  }

  /// What was taken before the command ran, and the command has not.
  var unread: [UInt8] { Array(held) }

  private var isFull: Bool { copied > 0 || lent > 0 }

  /// What to wait for next; nil when nothing is left to do.
  var waitsFor: PollItem? {
    if isOver { return nil }
    return isFull || !held.isEmpty ? .writing(command) : .reading(source)
  }

  /// To be called when `waitsFor` is ready.
  func proceed(_ item: PollItem) {
    if item.descriptor == command {
      if item.isBroken {
        settle()
        close()
        return
      }
      takeAll()
    }
    if !isOver { fill() }
  }

  /// Accounts for what the command has read of what is in its pipe. To be called when the command has ended.
  func settle() {
    guard isFull, !isOver else { return }
    let isLent = lent > 0
    let left = min((try? command.availableBytes()) ?? 0, copied + lent)
    take(copied + lent - left)
    // What is still in the command's pipe may be read by a process that outlives the command.
    if isLent { lent = left } else { copied = left }
  }

  func close() {
    if isOver { return }
    isOver = true
    command.close()
  }

  private func takeAll() { take(copied + lent) }

  private func take(_ count: Int) {
    if lent > 0 {
      taken(Array(held.prefix(count)))
      held = held.dropFirst(count)
      lent = 0
    } else if count > 0 {
      let bytes = (try? source.readExactly(min(count, (try? source.availableBytes()) ?? 0))) ?? []
      if bytes.count != count { isDisturbed = true }
      copied = 0
      taken(bytes)
    }
    consumed += UInt64(count)
  }

  private func fill() {
    if !held.isEmpty {
      let page = Array(held.prefix(4096))
      lent = (try? page.withUnsafeBytes { buffer throws(Errno) in try command.write(buffer) }) ?? 0
      return
    }
    do throws(Errno) {
      copied = isSocket ? try peekSocket() : try source.tee(to: command, count: 65536)
      if copied == 0 {
        reachedEnd = true
        close()
      }
    } catch {
      if error == .wouldBlock { return }
      // A command that has ended, or closed its input, takes nothing more, and has taken nothing of this.
      if error != .brokenPipe { isDisturbed = true }
      close()
    }
  }

  private func peekSocket() throws(Errno) -> Int {
    var page = [UInt8](repeating: 0, count: 4096)
    let outcome = page.withUnsafeMutableBytes { buffer -> Result<Int, Errno> in
      do throws(Errno) { return .success(try source.peek(into: buffer)) } catch { return .failure(error) }
    }
    let count = try outcome.get()
    if count == 0 { return 0 }
    let prefix = Array(page.prefix(count))
    let written = prefix.withUnsafeBytes { buffer -> Result<Int, Errno> in
      do throws(Errno) { return .success(try command.write(buffer)) } catch { return .failure(error) }
    }
    return try written.get()
  }
}
