import CLinux
import CasherConfiguration
import CasherSystem
import Glibc

/// How casherfs goes about the capability that its file may carry, or that it may be started with (docs/privilege.md).
///
/// Only the daemon of a mount uses it. Every other command drops it before it does anything else, and is then an ordinary
/// program that its user may tell what to do. The daemon is told on its command line.
enum Privilege {
  /// Whether this process has dropped what another casherfs that it executes gets again: that of the file.
  nonisolated(unsafe) private(set) static var isLeftToOthers = false  // written once, before any thread is started

  /// Options of the daemon alone, by which it is told what it must not take from the environment.
  static let daemonOptions = [
    Option("--state-home", value: "DIR", "what XDG_STATE_HOME is to be"),
    Option("--config-home", value: "DIR", "what XDG_CONFIG_HOME is to be"),
  ]
  private static let told = [("--state-home", "XDG_STATE_HOME"), ("--config-home", "XDG_CONFIG_HOME")]

  /// To be called before anything else.
  static func settle(_ arguments: [FilePath]) {
    let isHelper = CommandLine.programName.map { MountHelper.names.contains($0.lastComponent) } ?? false
    let isDaemon = arguments.first == FilePath(MountServer.privateArgument) && !isHelper
    if isDaemon {
      SystemAdministration.settle(.lent)
      if SystemAdministration.isSecureExecution { forgetEnvironment() }
    } else {
      isLeftToOthers = SystemAdministration.isSecureExecution
      SystemAdministration.settle(isHelper || arguments.first == FilePath(Command.mount.name) ? .passedOn : .dropped)
    }
  }

  /// What the daemon is told of this process's environment.
  static var words: [FilePath] {
    told.flatMap { option, variable in
      Environment.nonEmptyValue(variable).map { [FilePath(option), $0] } ?? []
    }
  }

  /// Takes in what `words` told.
  static func adopt(_ arguments: Arguments) {
    for (option, variable) in told {
      if let value = arguments.path(option) { value.withCString { _ = setenv(variable, $0, 1) } }
    }
  }

  /// Leaves of the environment only settings that name neither a file nor a program; the home directory is the one that
  /// the system knows.
  private static func forgetEnvironment() {
    let kept = SettingKey.all.compactMap { key -> (String, FilePath)? in
      guard let variable = key.variable, key.isPlainValue, let value = Environment.value(variable) else { return nil }
      return (variable, value)
    }
    clearenv()
    for (name, value) in kept { value.withCString { _ = setenv(name, $0, 1) } }
    setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1)
    if let home = getpwuid(getuid())?.pointee.pw_dir { setenv("HOME", home, 1) }
  }
}
