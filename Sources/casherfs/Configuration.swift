import CasherConfiguration
import CasherSystem
import Glibc

/// The configuration files that a call of casherfs goes by.
enum Configuration {
  /// What the files of this work directory and of the user say.
  static func load(for directory: FilePath?) throws(Failure) -> ConfigurationFiles.Contents {
    let opened = directory.flatMap { try? FileDescriptor.open($0, O_RDONLY | O_DIRECTORY) }
    defer { opened?.close() }
    do throws(InvalidConfiguration) {
      return try ConfigurationFiles(workDirectory: directory, open: opened).read()
    } catch { throw failure(error) }
  }

  static func failure(_ error: InvalidConfiguration) -> Failure {
    Failure(
      .badConfiguration, "\(error.lines.joined(separator: "\ncasherfs: ")); 'man casher.yml' says what can be there.")
  }

  /// The work directory that the current directory belongs to: the mount that it is in, else the nearest directory above
  /// that has a casher.yml. Nil when there is none.
  static func workDirectory() -> FilePath? {
    guard let here = try? FilePath.currentDirectory() else { return nil }
    let mounts = ((try? MountTable.casherMounts()) ?? []).map(\.mountPoint).filter { here.isWithin($0) }
    if let mount = mounts.max(by: { $0.bytes.count < $1.bytes.count }) { return mount }
    var directory = here
    while true {
      let file = directory.appending(ConfigurationFile.name)
      if (try? FileDescriptor.workingDirectory.status(of: file)) != nil { return directory }
      guard directory != "/", !directory.isEmpty else { return nil }
      directory = directory.parent
    }
  }
}
