import CasherConfiguration
import CasherRecord
import CasherSystem

/// What the configuration files say of calls, as they are when a call is made.
///
/// The work directory's file is read in the lower directory: that it is there, or what it says, is no input of a command.
final class CallConfiguration: Sendable {
  private let files: ConfigurationFiles

  init(workDirectory: FilePath, tree: Tree) {
    files = ConfigurationFiles(workDirectory: workDirectory, open: tree.root)
  }

  /// Gives the call the options that the files set. Throws when a file cannot be understood: with options that were not
  /// meant the call must not use the cache.
  func apply(to request: inout CallRequest) throws(InvalidConfiguration) {
    let contents = try files.read()
    if contents.files.isEmpty { return }
    request.options.apply(
      contents.files, given: Set(request.options.given.map(\.description)),
      text: FilePath(CommandText.make(request.arguments)), program: FilePath(request.arguments.first ?? []))
  }
}
