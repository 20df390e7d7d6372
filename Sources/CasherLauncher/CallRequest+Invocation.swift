import CasherRecord
import CasherSystem

extension CallRequest {
  /// What a daemon is told of a call. `environment` is what the command gets; `isTraced`: by a tracer of this process.
  init(
    _ invocation: Invocation, at location: MountLocation, environment: [[UInt8]], streams: StandardStreams,
    inherited: InheritedDescriptors, isTraced: Bool
  ) {
    var options = invocation.options
    options.extras += streams.pieces + inherited.pieces
    options.inputs = invocation.inputs.map { $0.placed(in: location) }
    options.outputRoots = invocation.outputRoots.map { $0.placed(in: location) }
    options.timeLimit = invocation.timeLimit
    options.retries = UInt32(clamping: invocation.retries)
    if invocation.report != nil { options.explain = true }
    if location.isNamedByLink(in: environment) { options.environmentAdded.append("PWD") }
    self.init(
      arguments: invocation.command, directory: location.answer.directory, mount: location.mount,
      parentView: location.answer.view, environment: environment, umask: ProcessMask.current,
      input: streams.observedInput, isTraced: isTraced, options: options)
  }
}

extension MountLocation {
  /// Whether PWD leads to the working directory through a symlink: shells and compilers then take it for the directory's
  /// name (getcwd(2) has another), and print it.
  fileprivate func isNamedByLink(in environment: [[UInt8]]) -> Bool {
    let prefix = Array("PWD=".utf8)
    guard let variable = environment.first(where: { $0.starts(with: prefix) }) else { return false }
    let name = FilePath(variable.dropFirst(prefix.count))
    guard name.isAbsolute, name != directory else { return false }
    guard let named = try? FileDescriptor.workingDirectory.statusOfTarget(of: name),
      let present = try? FileDescriptor.workingDirectory.statusOfTarget(of: ".")
    else { return false }
    return named.key == present.key
  }
}

extension FilePath {
  /// The path as observations name it: relative to the mount's root inside, absolute outside; symlinks and `..` resolved
  /// as far as it leads to something.
  fileprivate func placed(in location: MountLocation) -> FilePath {
    let absolute = isAbsolute ? self : location.directory.appending(self)
    var missing: [FilePath] = []
    var present = absolute
    while !present.isEmpty {
      if let resolved = try? present.canonical() {
        let whole = missing.reversed().reduce(resolved) { $0.appending($1) }
        return whole.relative(to: location.mount) ?? whole
      }
      missing.append(present.lastComponent)
      present = present.parent
    }
    return absolute
  }
}
