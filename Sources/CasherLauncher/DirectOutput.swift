import CasherRecord
import CasherSystem

/// An output stream that the command gets as it is, because it is a file: programs look whether their output is one of
/// their inputs (cat, grep), seek in it, or ask for its size. What was written is read from the file afterwards.
///
/// That gives the command's bytes and nobody else's only when no other process writes to the same open file, or opens
/// the file to write; so far as that can be told, it is made sure of beforehand and checked afterwards.
final class DirectOutput {
  /// 1 for stdout, 2 for stderr.
  let stream: UInt8
  private let target: FileDescriptor
  /// The same file, open for reading.
  private let reader: FileDescriptor
  private let watch: FileWatch
  private let holders: OpenFileHolders
  private let begin: Int64

  /// Nil when the stream is no file, is not the command's alone, or cannot be read back: then a pipe is needed.
  init?(stream: UInt8, target: FileDescriptor, sharedWithError isJoined: Bool) {
    guard DirectOutput.isPlainFile(target), let begin = try? target.seek(to: 0, from: FileDescriptor.fromCurrent),
      let status = try? target.status(), status.size == begin,
      let holders = OpenFileHolders(of: target, as: isJoined ? [.standardOutput, .standardError] : [target]),
      let reader = try? target.reopen(FileDescriptor.readOnly)
    else { return nil }
    guard let watch = try? FileWatch(reader) else {
      reader.close()
      return nil
    }
    self.stream = stream
    self.target = target
    self.reader = reader
    self.watch = watch
    self.holders = holders
    self.begin = begin
  }

  /// A regular file that is written to where its offset stands.
  private static func isPlainFile(_ target: FileDescriptor) -> Bool {
    guard let status = try? target.status(), status.type == .regular else { return false }
    return !target.isReadOnly && !target.appends
  }

  /// Where the file is, when it was empty and is on an ordinary filesystem.
  var path: FilePath? {
    let fuse = 0x6573_5546
    guard begin == 0, (try? target.filesystemType()) != fuse, let status = try? target.status(),
      let path = try? FileDescriptor.workingDirectory.readLink(target.procPath), path.isAbsolute,
      (try? FileDescriptor.workingDirectory.status(of: path))?.key == status.key
    else { return nil }
    return path
  }

  /// Adds what the command has written to the transcript. False when that cannot be told from what is in the file.
  ///
  /// To be called once, when the command has ended.
  func capture(_ spool: inout TranscriptSpool) -> Bool {
    defer { close() }
    do throws(Errno) {
      let end = try target.seek(to: 0, from: FileDescriptor.fromCurrent)
      let before = try reader.status()
      guard end >= begin, before.size == end, !isWrittenByOthers() else { return false }
      var offset = begin
      var buffer = [UInt8](repeating: 0, count: Int(clamping: min(end - begin, 1 << 18)))
      while offset < end {
        let count = try read(into: &buffer, at: offset, limit: end - offset)
        guard count > 0 else { return false }
        buffer.withUnsafeBytes { bytes in
          spool.append(UnsafeRawBufferPointer(rebasing: bytes[..<count]), of: stream)
        }
        offset += Int64(count)
      }
      guard try reader.status().isSameGeneration(as: before), !isWrittenByOthers() else { return false }
      return end == begin || target.announceWriting()
    } catch { return false }
  }

  private func read(into buffer: inout [UInt8], at offset: Int64, limit: Int64) throws(Errno) -> Int {
    let outcome = buffer.withUnsafeMutableBytes { bytes -> Result<Int, Errno> in
      let part = UnsafeMutableRawBufferPointer(rebasing: bytes.prefix(Int(clamping: limit)))
      do throws(Errno) { return .success(try reader.read(into: part, at: offset)) } catch { return .failure(error) }
    }
    return try outcome.get()
  }

  /// Who opened the file has either closed it by now, or still has it.
  private func isWrittenByOthers() -> Bool {
    guard let events = try? watch.events(), events.isDisjoint(with: [.writerClosed, .overflow]) else { return true }
    return events.contains(.opened) && !holders.areAll(besides: [.standardOutput, .standardError, reader])
  }

  func close() {
    reader.close()
    watch.close()
  }
}

extension FileDescriptor {
  /// Opens the file for writing once more, so that the daemon hears of a change to it from outside the command's view: a
  /// command that reads or replaces by its name the very file that its output goes to has seen a state that was never
  /// there before the run. False when that is not possible. What is on another filesystem the daemon sees by itself, and
  /// an acache around this one, which shares the file, would take it for someone else's.
  func announceWriting() -> Bool {
    let fuse = 0x6573_5546
    if let type = try? filesystemType(), type != fuse { return true }
    guard let opened = try? reopen(FileDescriptor.writeOnly) else { return false }
    opened.close()
    return true
  }
}
