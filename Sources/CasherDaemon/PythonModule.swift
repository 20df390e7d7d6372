import CasherSystem

/// Python's import lists the directories of its path and looks in the names for modules, instead of probing for each
/// (importlib's FileFinder). What else is in such a directory makes no difference to it.
enum PythonModule {
  private static let suffixes = [".py", ".pyc", ".so"].map { Array($0.utf8) }

  /// Whether a file of this name can be a module.
  static func isName(_ name: FilePath) -> Bool {
    name == "__pycache__"
      || suffixes.contains { name.bytes.count > $0.count && name.bytes.suffix($0.count).elementsEqual($0) }
  }

  /// Whether what stands or stood under a name can be a module or a package.
  static func mayBe(_ name: FilePath, _ statuses: FileStatus?...) -> Bool {
    isName(name) || statuses.contains { $0.map { $0.type != .regular } ?? false }
  }
}
