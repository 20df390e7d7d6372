import CasherSystem
import Glibc

/// Tells which paths count: those outside the mount and outside the directories that never count.
///
/// A path below the mount leads outside when it passes through a symlink that does. The mount's own recorder sees the
/// link, but not what is behind it; so each name below the mount is looked at once, and again after a change of links.
final class PathScope {
  private let mount: [UInt8]?
  private let ignored: [[UInt8]]

  private enum State: UInt8 {
    case unknown
    /// Neither it nor a directory above it is a symlink.
    case plain
    /// There are symlinks, and it stays in the mount.
    case inside
    case outside
  }
  private var names = PathTable()
  private var states: [State] = []

  init(mount: FilePath?, ignored: [FilePath]) {
    self.mount = mount.map { PathArgument.clean($0.bytes) }
    self.ignored = ignored.map { PathArgument.clean($0.bytes) }
  }

  /// Whether `path` counts; `follows` when its last component is followed.
  func counts(_ path: UnsafeBufferPointer<UInt8>, follows: Bool) -> Bool {
    if let mount, let rest = PathScope.rest(of: path, below: mount) {
      if rest >= path.count { return false }
      return PathScope.climbs(path, from: rest) ? walkLeadsOutside(Array(path), follows) : leadsOutside(path, follows)
    }
    for directory in ignored {
      if let rest = PathScope.rest(of: path, below: directory) {
        return PathScope.climbs(path, from: rest) && PathScope.leaves(path, from: rest)
      }
    }
    return true
  }

  /// As `counts`, for a path in which there is no symlink left: what the kernel says that a descriptor is open on.
  func countsCanonical(_ path: UnsafeBufferPointer<UInt8>) -> Bool {
    if let mount, PathScope.rest(of: path, below: mount) != nil { return false }
    return !ignored.contains { PathScope.rest(of: path, below: $0) != nil }
  }

  func isInMount(_ path: UnsafeBufferPointer<UInt8>) -> Bool {
    mount.map { PathScope.rest(of: path, below: $0) != nil } ?? false
  }

  /// Symlinks below the mount may have changed.
  func forgetLinks() {
    if states.isEmpty { return }
    names = PathTable()
    states = []
  }

  /// The offset of what follows `directory` and a slash; nil when `path` is not within it.
  private static func rest(of path: UnsafeBufferPointer<UInt8>, below directory: [UInt8]) -> Int? {
    if directory.count == 1 { return 1 }
    guard path.count >= directory.count, let start = path.baseAddress,
      memcmp(start, directory, directory.count) == 0
    else { return nil }
    if path.count == directory.count { return path.count }
    return path[directory.count] == UInt8(ascii: "/") ? directory.count + 1 : nil
  }

  private static func climbs(_ path: UnsafeBufferPointer<UInt8>, from start: Int) -> Bool {
    guard let found = path.offset(of: "/..", from: start - 1) else { return false }
    var at: Int? = found
    while let mark = at {
      if mark + 3 == path.count || path[mark + 3] == UInt8(ascii: "/") { return true }
      at = path.offset(of: "/..", from: mark + 1)
    }
    return false
  }

  /// Whether the `..` of `path` lead out of the directory that ends before `start`, taken by name.
  private static func leaves(_ path: UnsafeBufferPointer<UInt8>, from start: Int) -> Bool {
    var depth = 0
    for component in path[start...].split(separator: UInt8(ascii: "/")) {
      depth += component.elementsEqual([46, 46]) ? -1 : 1
      if depth < 0 { return true }
    }
    return false
  }

  // MARK: symlinks below the mount

  private func leadsOutside(_ path: UnsafeBufferPointer<UInt8>, _ follows: Bool) -> Bool {
    if follows { return state(path) == .outside }
    let parent = PathScope.parent(path)
    return parent.count > (mount?.count ?? 0) && state(parent) == .outside
  }

  private static func parent(_ path: UnsafeBufferPointer<UInt8>) -> UnsafeBufferPointer<UInt8> {
    var end = path.count
    while end > 0, path[end - 1] != UInt8(ascii: "/") { end -= 1 }
    return UnsafeBufferPointer(rebasing: path[..<max(end - 1, 0)])
  }

  private func state(_ path: UnsafeBufferPointer<UInt8>) -> State {
    guard let mount, path.count > mount.count else { return .plain }
    let id = Int(names.number(of: path))
    if id == states.count { states.append(.unknown) }
    if states[id] != .unknown { return states[id] }
    let result: State
    if state(PathScope.parent(path)) == .plain {
      let bytes = Array(path)
      result = PathScope.target(FilePath(bytes)) == nil ? .plain : walkLeadsOutside(bytes, true) ? .outside : .inside
    } else {
      result = walkLeadsOutside(Array(path), true) ? .outside : .inside
    }
    states[id] = result
    return result
  }

  /// Walks from the mount component by component, as the kernel does.
  private func walkLeadsOutside(_ path: [UInt8], _ follows: Bool) -> Bool {
    guard let mount else { return true }
    var here: [FilePath] = []
    var pending = Array(FilePath(path[mount.count...]).components.reversed())
    var links = 0
    while let name = pending.popLast() {
      if name == ".." {
        if here.popLast() == nil { return true }
        continue
      }
      if name == "." { continue }
      here.append(name)
      if pending.isEmpty && !follows { return false }
      var full = FilePath(mount)
      for component in here { full = full.appending(component) }
      guard let target = PathScope.target(full) else { continue }
      links += 1
      if links > 40 { return false }
      here.removeLast()
      var next = target
      if target.isAbsolute {
        let clean = PathArgument.clean(target.bytes)
        guard let below = FilePath(clean).relative(to: FilePath(mount)) else { return true }
        here = []
        next = below
      }
      pending += next.components.reversed()
    }
    return false
  }

  private static func target(_ path: FilePath) -> FilePath? {
    do throws(Errno) { return try FileDescriptor.workingDirectory.readLink(path) } catch { return nil }
  }
}
