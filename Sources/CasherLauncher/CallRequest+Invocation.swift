import CasherRecord
import CasherSystem

extension CallRequest {
  /// What a daemon is told of a call. `environment` is what the command gets; `isTraced`: by a tracer of this process.
  init(
    _ invocation: Invocation, at location: MountLocation, environment: [[UInt8]], streams: StandardStreams,
    isTraced: Bool
  ) {
    var options = invocation.options
    options.extras += streams.pieces
    self.init(
      arguments: invocation.command, directory: location.answer.directory, mount: location.mount,
      parentView: location.answer.view, environment: environment, umask: ProcessMask.current,
      input: streams.observedInput, isTraced: isTraced, options: options)
  }
}
