import CasherSystem
import Glibc

/// The names that a directory of lower had before outputs were put there. Where many are asked for, all are read once:
/// that a name is missing costs a filesystem a search of the directory.
///
/// Right for a name as long as nothing was put there since it was first asked for: under the directory's lock, or until then
/// for what is asked once more under the lock.
public final class NamesBeneath {
  private let directory: FileDescriptor
  private var names: Set<FilePath>?
  private var asked = 0

  /// How many bytes of a directory are read for each name that was asked for.
  private static let bytesForName: Int64 = 2048
  private static let fewest = 64

  /// `directory` may be open with O_PATH, and is valid for as long as the names are asked for.
  public init(_ directory: FileDescriptor) { self.directory = directory }

  /// False where the name is known to be missing.
  public func mayHave(_ name: FilePath) -> Bool {
    if names == nil { look() }
    return names?.contains(name) ?? true
  }

  /// Now and then, as reading has to be worth it.
  private func look() {
    asked += 1
    guard asked >= NamesBeneath.fewest, asked & (asked - 1) == 0,
      let status = try? directory.status(), status.size <= Int64(asked) * NamesBeneath.bytesForName,
      let opened = try? directory.openAgain(O_RDONLY | O_DIRECTORY)
    else { return }
    defer { opened.close() }
    guard let entries = try? opened.entries() else { return }
    names = Set(entries.map(\.name))
  }
}
