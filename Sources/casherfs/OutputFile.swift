import CasherSystem
import Glibc

/// The file that `-o` names: complete under its name, or not there. What is no regular file, such as /dev/null or a pipe,
/// is written to directly.
struct OutputFile {
  private let path: FilePath
  private let temporary: FilePath?
  let descriptor: FileDescriptor

  static let option = Option("--output", short: "-o", value: "FILE", "write to FILE instead of stdout")

  /// Opens what `path` names; `mode` is that of a new file, less the umask.
  init(_ path: FilePath, mode: UInt32 = 0o666) throws(Failure) {
    self.path = path
    do throws(Errno) {
      let present = try FileDescriptor.workingDirectory.statusIfPresent(of: path)
      if let present, present.type != .regular {
        temporary = nil
        descriptor = try FileDescriptor.open(path, O_WRONLY | O_TRUNC)
      } else {
        let name = FilePath(path.bytes + Array(".casher-\(getpid())".utf8))
        temporary = name
        descriptor = try FileDescriptor.open(name, O_WRONLY | O_CREAT | O_EXCL, mode: mode)
      }
    } catch { throw OutputFile.failure(path, error) }
  }

  /// Puts the file under its name.
  func finish() throws(Failure) {
    descriptor.close()
    guard let temporary else { return }
    do throws(Errno) {
      try FileDescriptor.workingDirectory.rename(temporary, to: .workingDirectory, as: path)
    } catch {
      discard()
      throw OutputFile.failure(path, error)
    }
  }

  /// After a failure: leaves nothing behind.
  func discard() {
    descriptor.close()
    if let temporary { try? FileDescriptor.workingDirectory.remove(temporary) }
  }

  /// Calls `body` with the descriptor of the file that `--output` names, or stdout's.
  static func write(
    _ arguments: Arguments, mode: UInt32 = 0o666, _ body: (FileDescriptor) throws(Failure) -> Void
  ) throws(Failure) {
    guard let path = arguments.path(option.name) else { return try body(.standardOutput) }
    let file = try OutputFile(path, mode: mode)
    do throws(Failure) { try body(file.descriptor) } catch {
      file.discard()
      throw error
    }
    try file.finish()
  }

  static func failure(_ path: FilePath, _ error: Errno) -> Failure {
    Failure(.failure, "\(path) cannot be written: \(error).")
  }
}
