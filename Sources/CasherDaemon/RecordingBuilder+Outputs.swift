import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem

/// What a run left.
extension RecordingBuilder {
  /// The state in which the run left what it produced: whatever comes after is another's doing.
  mutating func takeStatuses() throws(Uncacheable) {
    for (path, state) in paths where state.isProduced {
      do throws(Errno) { statuses[path] = .some(try recorder.tree.status(of: path)) } catch {
        throw .inputUnreadable(path, error.rawValue)
      }
    }
    let links = Set(statuses.filter { $0.value?.type == .symlink }.keys)
    if links.isEmpty { return }
    // Where a symlink has taken a directory's place, what was in it is gone: it leads to something else.
    for path in statuses.keys where isBelow(links, path) { statuses[path] = .some(nil) }
  }

  private func isBelow(_ links: Set<FilePath>, _ path: FilePath) -> Bool {
    var above = path.parent
    while !above.isEmpty {
      if links.contains(above) { return true }
      above = above.parent
    }
    return false
  }

  /// A record speaks of names. What the run did to a file with several names can be told by a name that the file had before
  /// and has still, by a link to one, or when all names are known.
  func checkLinks() throws(Uncacheable) {
    var names: [InodeKey: [FilePath]] = [:]
    for (path, status) in statuses {
      if let status, status.type != .directory { names[status.key, default: []].append(path) }
    }
    var inodes = recorder.changedInPlace
    for case let status? in statuses.values where status.type == .regular && status.links > 1 {
      if !recorder.producedInodes.contains(status.key) { inodes.insert(status.key) }
    }
    for inode in inodes {
      let now = names[inode] ?? []
      if now.contains(where: { paths[$0]?.before.status?.key == inode }) { continue }
      let all = recorder.byInode[inode] ?? []
      // What happens to a file under an ignored name, its only one, is nobody's business.
      if now.isEmpty, all.contains(where: { isIgnored($0) && $0.before.status?.links == 1 }) { continue }
      let known = all.filter { !$0.isProduced }
      if !recorder.changedInPlace.contains(inode), !known.isEmpty { continue }
      if let first = now.first, let status = statuses[first] ?? nil, status.links == now.count { continue }
      throw .linkedElsewhere(now.first ?? all.first?.path ?? FilePath([]))
    }
  }

  /// What has to be read: the inputs that are not digested yet and the files among the outputs, by inode.
  var captures: [Capture] {
    var captures: [InodeKey: Capture] = [:]
    for touched in recorder.entries.values where !touched.isProduced || touched.facets.contains(.content) {
      guard touched.needsContent, touched.digest == nil, let status = touched.before.status else { continue }
      captures[status.key, default: Capture(inode: status.key, size: status.size)].inputs.append(touched)
    }
    for (path, state) in paths where state.isProduced {
      guard let status = statuses[path] ?? nil, status.type == .regular else { continue }
      captures[status.key, default: Capture(inode: status.key, size: status.size)].outputs.append(path)
    }
    return Array(captures.values)
  }

  mutating func produce(_ path: FilePath, _ state: PathState) throws(Uncacheable) {
    let status = statuses[path] ?? nil
    guard let status else {
      if let before = state.before.status {
        recording.outputs.append(
          Output(path: path, content: .removed(wasDirectory: before.type == .directory), permissions: 0))
      }
      return
    }
    var output = Output(
      path: path, content: .directory, permissions: status.permissions,
      owner: Owner(user: status.owner, group: status.group), modified: givenTime(state, status))
    switch status.type {
    case .directory:
      output.content = .directory
      output.keepsAttributes = !state.changesAttributes
      if state.isNewInode || state.changesAttributes { output.attributes = try attributes(path) }
    case .symlink:
      do throws(Errno) { output.content = .symlink(target: try recorder.tree.readLink(path)) } catch {
        throw .inputUnreadable(path, error.rawValue)
      }
    case .fifo: output.content = .fifo
    case .regular:
      guard let content = contents[path] else { return }
      output.content = content
      output.keepsAttributes = !state.isNewInode && !state.changesAttributes
      if !output.keepsAttributes { output.attributes = try attributes(path) }
    case .socket, .characterDevice, .blockDevice, .unknown: throw .specialFile(path)
    }
    recording.outputs.append(output)
  }

  /// The time that the run gave a file. It may have done so by another of its names, or by one that is gone: then it is
  /// told by the inode's still having that time.
  private func givenTime(_ state: PathState, _ status: FileStatus) -> Int64? {
    if status.type == .directory || status.links == 1 && state.modified != nil { return state.modified }
    guard let given = recorder.givenTimes[status.key], given == status.modified else { return nil }
    return given
  }

  /// Takes the content of a file that the run produced.
  mutating func capture(_ path: FilePath) throws(Uncacheable) {
    guard let state = paths[path], let status = statuses[path] ?? nil else { return }
    contents[path] = try content(of: path, status, state)
  }

  /// Nil when the file was opened for writing and is as it was.
  mutating func content(
    of path: FilePath, _ status: FileStatus, _ state: PathState
  ) throws(Uncacheable) -> Output.Content? {
    do {
      if let file = recorder.tree.placed(path) { return try content(of: path, file, status, state) }
      let file = try recorder.tree.open(path)
      defer { file.close() }
      let now = try recorder.tree.status(of: file)
      guard now.isSameGeneration(as: status) else { throw Uncacheable.stillWriting(path) }
      if !state.isRewritten, !state.changesAttributes, !isOutputOnly(path), let before = state.before.status,
        let digest = state.digest,
        Protection(before) == Protection(now), before.key == now.key
      {
        let (present, _) = try recorder.digester.digest(now, open: { () throws(Errno) in try file.duplicateAtStart() })
        if present == digest {
          captured[path] = (present, now)
          return nil
        }
      }
      let (digest, size) = try store.putBlob(from: file)
      let after = try recorder.tree.status(of: file)
      guard after.isSameGeneration(as: now) else { throw Uncacheable.stillWriting(path) }
      captured[path] = (digest, after)
      recorder.digester.remember(digest, for: after)
      let isSameInode = state.before.status.map { $0.key == after.key } ?? false
      return .file(digest, size: size, inPlace: isSameInode)
    } catch let error as Uncacheable {
      throw error
    } catch let error as StoreError {
      throw .storeFailed("\(error)")
    } catch {
      throw .inputUnreadable(path, (error as? Errno)?.rawValue ?? 5)
    }
  }

  /// A placed file, as a nested hit or a rename left it: its content is in the store.
  mutating func content(
    of path: FilePath, _ file: PlacedFile, _ status: FileStatus, _ state: PathState
  ) throws -> Output.Content? {
    let now = file.status
    guard now.isSameGeneration(as: status) else { throw Uncacheable.stillWriting(path) }
    captured[path] = (file.blob, now)
    if !state.isRewritten, !state.changesAttributes, let before = state.before.status, state.digest == file.blob,
      Protection(before) == Protection(now), before.key == now.key
    {
      return nil
    }
    try store.keepBlob(file.blob)
    return .file(file.blob, size: file.size, inPlace: state.before.status.map { $0.key == now.key } ?? false)
  }

  func attributes(_ path: FilePath) throws(Uncacheable) -> [ExtendedAttribute] {
    if let file = recorder.tree.placed(path) {
      return file.attributes.map { ExtendedAttribute(name: $0.name, value: $0.value) }
    }
    do throws(Errno) {
      let file = try recorder.tree.open(path)
      defer { file.close() }
      return try ExtendedAttributes.userAttributes(of: file)
    } catch {
      throw .inputUnreadable(path, error.rawValue)
    }
  }

  /// Outputs that are names of one inode are links of the first of them; one that is also the name of a file that was
  /// read and not produced is a link of that.
  mutating func linkOutputs() {
    var first: [InodeKey: FilePath] = [:]
    for (path, state) in paths.sorted(by: { $0.key < $1.key }) where !state.isProduced {
      if let status = state.before.status, status.type != .directory, first[status.key] == nil {
        first[status.key] = path
      }
    }
    for index in recording.outputs.indices {
      let output = recording.outputs[index]
      switch output.content {
      case .file(_, _, inPlace: false), .symlink, .fifo: break
      case .file, .directory, .hardLink, .removed: continue
      }
      guard let status = statuses[output.path] ?? nil, status.links > 1 else { continue }
      if let other = first[status.key], other != output.path {
        recording.outputs[index].content = .hardLink(of: other)
      } else {
        first[status.key] = output.path
      }
    }
  }
}

extension Recording {
  /// The order in which outputs are put back: removals from the leaves up, then directories from the root down, then
  /// files, then further names of them.
  static func placingOrder(_ left: Output, _ right: Output) -> Bool {
    let (leftRank, rightRank) = (rank(left), rank(right))
    if leftRank != rightRank { return leftRank < rightRank }
    if case .removed = left.content { return right.path < left.path }
    return left.path < right.path
  }

  private static func rank(_ output: Output) -> Int {
    switch output.content {
    case .removed: 0
    case .directory: 1
    case .file, .symlink, .fifo: 2
    case .hardLink: 3
    }
  }
}
