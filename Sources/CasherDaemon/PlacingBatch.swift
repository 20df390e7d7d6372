import CLinux
import CasherOverlay
import CasherRecord
import CasherSystem
import Glibc

/// The files of one hit that are to be placed: all of them are looked at first, then placed in one step.
struct PlacingBatch {
  let overlay: Overlay
  let caller: Caller
  let run: Digest
  private let ownUser = geteuid()
  /// Outputs of which the record has further names.
  private let linked: Set<FilePath>
  /// Directories that the run left closed to its own user: a daemon without privileges could not make ordinary files in
  /// them later.
  private let closed: Set<FilePath>
  private var directories: [FilePath: Directory] = [:]
  private(set) var placings: [Placing] = []
  private(set) var outputs: [(output: Output, directory: OpenDirectory)] = []

  private struct Directory {
    let pinned: PinnedDirectory
    let status: FileStatus
    /// New files get an access list from it, which placed ones cannot have.
    let hasDefaultAccess: Bool
  }

  init(_ record: RunRecord, run: Digest, overlay: Overlay, caller: Caller) {
    self.overlay = overlay
    self.caller = caller
    self.run = run
    var linked: Set<FilePath> = []
    var closed: Set<FilePath> = []
    for output in record.outputs {
      switch output.content {
      case .hardLink(let other): linked.insert(other)
      case .directory: if output.permissions & 0o300 != 0o300, ownUser != 0 { closed.insert(output.path) }
      default: break
      }
    }
    self.linked = linked
    self.closed = closed
  }

  /// Takes an output in, in place of `present`, unless it is not one that can be placed.
  mutating func add(
    _ output: Output, in directory: OpenDirectory, present: FileStatus?, keeping kept: [ExtendedAttribute],
    modified: Int64
  ) throws(Errno) -> Bool {
    guard case .file(let blob, let size, _) = output.content, overlay.canPlace, !output.path.isAbsolute,
      !linked.contains(output.path), !closed.contains(directory.path)
    else { return false }
    let parent = try pin(directory)
    if parent.hasDefaultAccess { return false }
    try checkMayReplace(present, in: parent.status)
    let name = output.path.lastComponent
    var (user, group) = (caller.user, parent.status.permissions & 0o2000 != 0 ? parent.status.group : caller.group)
    if ownUser != 0 { user = ownUser }
    if let owner = output.owner {
      if caller.user == 0, ownUser == 0 { (user, group) = (owner.user, owner.group) }
      if owner.user == user, caller.isMember(of: owner.group) { group = owner.group }
    }
    var attributes = kept.filter { kept in !output.attributes.contains { $0.name == kept.name } }
    attributes += output.attributes
    let file = PlacedFile(
      blob: blob, size: size, permissions: output.permissions, user: user, group: group, modified: modified,
      changed: Clock.now(),
      attributes: attributes.sorted { $0.name < $1.name }.map { .init(name: $0.name, value: $0.value) }, run: run)
    placings.append(Placing(directory: parent.pinned, name: name, file: file))
    outputs.append((output, directory))
    return true
  }

  /// The directory as the overlay knows it, checked to be the caller's to write.
  private mutating func pin(_ directory: OpenDirectory) throws(Errno) -> Directory {
    if let known = directories[directory.path] { return known }
    let pinned = try overlay.pinDirectory(directory.path)
    guard pinned.key == directory.key else { throw .stale }
    try Credentials.actingAs(user: caller.user, group: caller.group, groups: caller.groups) { () throws(Errno) in
      try directory.descriptor.checkAccess(W_OK | X_OK)
    }
    let none = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    let access = try? directory.descriptor.attributeOfPath("system.posix_acl_default", into: none)
    let result = Directory(
      pinned: pinned, status: try directory.descriptor.status(), hasDefaultAccess: access != nil)
    directories[directory.path] = result
    return result
  }

  /// In a directory with the sticky bit only a file's or the directory's owner may replace the file (inode(7)).
  private func checkMayReplace(_ present: FileStatus?, in directory: FileStatus) throws(Errno) {
    guard let present, caller.user != 0, directory.permissions & 0o1000 != 0 else { return }
    if present.owner != caller.user, directory.owner != caller.user { throw .notPermitted }
  }
}
