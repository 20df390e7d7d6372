import CasherRecord
import CasherSystem

/// A name in a directory, by the directory's identity: it stays the same when the directory is renamed, and is the
/// same in every view.
struct EntryKey: Hashable {
  let directory: InodeKey
  let name: FilePath
}

/// What stood under a name before the run touched it.
enum Before {
  case absent
  case present(FileStatus, target: FilePath?)

  var status: FileStatus? {
    if case .present(let status, _) = self { return status }
    return nil
  }
}

/// One name that a run has to do with: its state before the run, what the run learned of that, and whether the run has
/// produced what stands there now. From then on the run learns nothing more from it that it did not put there itself.
final class Touched {
  /// What the run learned of the state before.
  struct Facets: OptionSet {
    let rawValue: UInt16

    /// Looked up by itself: status and content.
    static let probed = Facets(rawValue: 1)
    /// The content went into what the run did, before the run produced the name itself: an input whatever comes after.
    static let content = Facets(rawValue: 2)
    /// Created or truncated: whether it could be, and whose file it then is.
    static let ownership = Facets(rawValue: 4)
    /// Removed, or seen in a listing: what kind of thing it is.
    static let kind = Facets(rawValue: 8)
    /// Renamed onto.
    static let replaceable = Facets(rawValue: 16)
    /// A directory was made: that nothing was there.
    static let made = Facets(rawValue: 32)
  }

  let key: EntryKey
  /// The path before the run; nil in a directory that the run made itself.
  let path: FilePath?
  let before: Before
  /// For a bytecode cache: whether Python's own check of it could be relied on, and Python alone looked at it.
  var isCheckedBytecode: Bool
  /// The content before the run, once it had to be taken.
  var digest: Digest?
  /// The user's extended attributes before the run, when the run read them.
  var attributes: Value?
  var facets: Facets = []
  var isProduced = false
  /// The run made this thing new or dropped all its content, so it is an output even when it ends as it was.
  var isRewritten = false
  /// The run made the file without dropping what would have been in it: had there been content, it would have mattered.
  var mayExtend = false
  /// Since the run made the file, or opened it without dropping its content, nobody could have read what had been there:
  /// if it is truncated to nothing now, that did not matter.
  var isUnread = false
  /// The run opened the file, which was there, for writing only and without dropping its content: that mattered, unless the
  /// file is truncated to nothing unread, as sort(1) does with its output.
  var awaitsTruncation = false
  /// The run set or removed extended attributes.
  var changesAttributes = false
  /// The run made an inode of its own for the name, whatever was there before.
  var isNewInode = false
  /// The thread that looked the name up by itself and found nothing.
  var missedBy: Int32?
  /// The thread that first missed the file and then made it.
  var madeByMisser: Int32?
  /// That thread has read the file, which was not changed any more after that.
  var isReadBack = false
  /// The modification time that the run set last, in nanoseconds, when it has not written since.
  var modified: Int64?

  init(key: EntryKey, path: FilePath?, before: Before, isCheckedBytecode: Bool) {
    self.key = key
    self.path = path
    self.before = before
    self.isCheckedBytecode = isCheckedBytecode
  }

  /// Whether the run's result depends on the content that was there before.
  var needsContent: Bool {
    guard case .present(let status, _) = before, status.type == .regular, !isCheckedBytecode else { return false }
    return awaitsTruncation || !facets.isDisjoint(with: [.probed, .content])
  }

  /// Whether another hand's change of this name changes what the run saw or made.
  var isObserved: Bool { !facets.isEmpty || isProduced || attributes != nil }
}

/// A directory whose names the run has listed.
struct Listing {
  /// Path before the run; nil for a directory that the run made.
  let path: FilePath?
  /// Names and types as they were before the run.
  let entries: [(FilePath, FileType)]
  /// Python listed it, once.
  var isPythonsOnly: Bool
  /// Python looked for a module in it after that, as its import does, which lists a directory to find modules in it.
  var isFollowedByImport = false

  /// Whether all that the run took from the names was which modules there are.
  var isOfImport: Bool { isPythonsOnly && isFollowedByImport }
}
