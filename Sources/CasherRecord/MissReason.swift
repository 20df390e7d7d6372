/// Why a call was a miss.
public enum MissReason: String, Hashable, Sendable, CaseIterable {
  /// No run is stored under this command, directory, environment and options.
  case new
  /// Something that every stored run depended on has changed.
  case inputs
  /// The inputs are the same, but the result is older than it may be.
  case expired
  /// The inputs are the same, but what the run itself produced is neither as before the run nor as the run left it.
  case ownOutputs = "own-outputs"
  /// Standard input holds something else.
  case standardInput = "standard-input"
  /// The result is stored, but contents of it are missing or damaged.
  case contentLost = "content-lost"
  /// The result could not be put in its place.
  case notPlaced = "not-placed"
  /// `--force` or `--no-cache` was given.
  case forced

  /// One sentence for people, without a full stop.
  public var sentence: String {
    switch self {
    case .new: "no run of this command with this environment and these options was stored"
    case .inputs: "inputs had changed"
    case .expired: "the stored result was older than it may be"
    case .ownOutputs: "what the command itself makes was neither as before its run nor as the run had left it"
    case .standardInput: "standard input held something else"
    case .contentLost: "contents of the result were no longer in the cache"
    case .notPlaced: "the result could not be put in its place"
    case .forced: "--force or --no-cache was given"
    }
  }
}
