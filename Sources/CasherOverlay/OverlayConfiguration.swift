import CasherSystem

extension Overlay {
  /// How a directory is mounted over itself.
  public struct Configuration: Sendable {
    /// The directory to mount over itself.
    public var directory: FilePath
    /// Where it is mounted instead, absolute and without symlinks.
    public var mountPoint: FilePath?
    /// Whether nothing can be changed in the mount.
    public var isReadOnly = false
    /// How long the kernel may keep names and attributes of the main view, in seconds; also how long it keeps the
    /// attributes of files in a run's view, unless they are invalidated before.
    public var timeout = 1.0
    /// Most threads that serve requests at once; a request may wait in the recorder.
    public var threads = 16
    /// Whether to write a line for each request to standard error.
    public var trace = false
    /// Whether the kernel is to read and write lower's files by itself where it can.
    public var wantsPassthrough = true
    /// Whether idle processors are kept awake while many requests come (see `WakeLatency`), where this process may do that.
    public var keepsAwake = true
    /// Whether other users may use the mount; as root they always may.
    public var allowsOthers = false
    /// Name of the directory below the root, and below each view's root, that the views are reached through. It is not
    /// listed.
    public var viewsName: FilePath = ".casher-views"
    /// Whether no path leads to the mount: processes get into views by descriptors (`Overlay.openView`). Lower may then
    /// be of many filesystems.
    public var isDetached = false
    /// Most descriptors of lower kept open while they are not in use; nil: as the process's limit allows.
    public var descriptorLimit: Int?

    /// Where the content of placed files comes from; nil: none are ever placed.
    public var blobs: (any BlobSource)?
    /// The file that remembers what is placed; made when it is not there.
    public var journal: FilePath?
    /// A second copy of it, for when it is lost.
    public var journalCopy: JournalCopy?
    /// Whether what is placed, and files that were, are on the disk before anyone is told.
    public var synchronizesJournal = false

    public init(directory: FilePath) { self.directory = directory }
  }
}
