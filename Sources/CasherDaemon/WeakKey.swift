import CasherRecord
import CasherStore
import CasherSystem

/// What is known of a call before anything runs, in one digest.
enum WeakKey {
  /// `input`: the digest of a regular file on standard input from its offset on.
  static func make(_ request: CallRequest, caller: Caller, input: Digest?) -> Digest {
    var encoder = ByteEncoder()
    encoder.put("casher weak key 3")
    let ignored = Set(request.options.ignoredArguments.map(Int.init))
    encoder.put(request.arguments.enumerated().filter { !ignored.contains($0.offset) }.map(\.element))
    encoder.put(request.directory)
    encoder.put(request.options.relocatable ? FilePath([]) : request.mount)
    encoder.put(each: EnvironmentPolicy.relevant(request.environment, request.options)) { encoder, variable in
      encoder.put(variable.name)
      encoder.put(variable.value)
    }
    encoder.put(request.options.environmentOnly != nil)
    // Which variables count: a run that was not to depend on one must not serve a call that finds it unset and does.
    encoder.put(EnvironmentPolicy.exceptions(request.options))
    encoder.put(request.umask)
    encoder.put(caller.user)
    encoder.put(caller.group)
    encoder.put(each: caller.groups) { $0.put($1) }
    switch request.input {
    case .none: encoder.put(0 as UInt8)
    case .file:
      encoder.put(1 as UInt8)
      encoder.put(input)
    case .pipe: encoder.put(2 as UInt8)
    }
    encoder.put(request.options.extras)
    encoder.put(request.options.ignored)
    // A run that was observed in another way must not serve this call.
    encoder.put(request.options.outside == .trust)
    encoder.put(request.options.outsideWrites.rawValue)
    encoder.put(request.options.allowNetwork)
    encoder.put(request.options.observeTimes)
    encoder.put(request.options.inputs)
    encoder.put(request.options.inputPattern ?? [])
    encoder.put(request.options.outputRoots)
    return SHA256.digest(of: encoder.bytes)
  }
}
