import CasherConfiguration
import CasherRecord
import CasherSystem

/// What the configuration files say of calls, as they are when a call is made.
///
/// The work directory's file is read in the lower directory: that it is there, or what it says, is no input of a command.
final class CallConfiguration: Sendable {
  private let files: ConfigurationFiles
  private let workDirectory: FilePath
  private let tree: Tree

  init(workDirectory: FilePath, tree: Tree) {
    self.workDirectory = workDirectory
    self.tree = tree
    files = ConfigurationFiles(workDirectory: workDirectory, open: tree.root)
  }

  /// Gives the call the options that the files set. Throws when a file cannot be understood: with options that were not
  /// meant the call must not use the cache.
  func apply(to request: inout CallRequest) throws(InvalidConfiguration) {
    // What a hit has put there is nowhere in lower yet, and has no owner's hand behind it.
    if tree.placed(ConfigurationFile.name) != nil {
      throw InvalidConfiguration(
        path: workDirectory.appending(ConfigurationFile.name),
        message: "a command has made this, and 'casherfs freeze \(workDirectory)' makes it an ordinary file that counts"
      )
    }
    let contents = try files.read()
    if contents.files.isEmpty { return }
    request.options.apply(
      contents.files, given: Set(request.options.given.map(\.description)),
      text: FilePath(CommandText.make(request.arguments)), program: FilePath(request.arguments.first ?? []))
  }
}
