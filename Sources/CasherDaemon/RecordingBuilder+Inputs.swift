import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem

/// What a run depended on.
extension RecordingBuilder {
  /// The facet under which a path's whole state is observed, and that state before the run.
  func wholeState(_ path: FilePath, _ state: PathState) throws(Uncacheable) -> (Facet, Value) {
    if BytecodeCache.isName(path), state.isCheckedBytecode { return (.bytecode, .derived) }
    switch state.before {
    case .absent: return (.entry, .absent)
    case .present(let status, let target):
      switch status.type {
      case .regular:
        if let digest = state.digest { return (.entry, .file(digest, Protection(status, countingLinks: true))) }
        if !state.facets.contains(.content), status.size > RunRecorder.stampThreshold {
          return (
            .stamp, .stamp(size: status.size, modified: status.modified, permissions: status.permissions)
          )
        }
        throw .inputUnreadable(path, 5)
      case .symlink:
        return (.entry, .symlink(target: target ?? FilePath([]), user: status.owner, group: status.group))
      case .directory: return (.entry, .directory(Protection(status)))
      default: return (.entry, .special(status.type, Protection(status), device: UInt64(status.raw.st_rdev)))
      }
    }
  }

  mutating func observe(_ path: FilePath, _ state: PathState) throws(Uncacheable) {
    if let attributes = state.attributes {
      recording.observations[Observation(path: path, facet: .attributes)] = attributes
    }
    if !state.facets.isDisjoint(with: [.probed, .content]) {
      let (facet, value) = try wholeState(path, state)
      if let status = state.before.status, recorder.linksAdded[status.key] ?? 0 != 0 {
        // The run gave the file more or fewer names, and so its own doing is part of what it looked at.
        add(path, facet, before: value, role: .decisive)
        return
      }
      recording.observations[Observation(path: path, facet: facet)] = value
      if withTimes, let status = state.before.status, status.type == .regular {
        recording.observations[Observation(path: path, facet: .stamp)] =
          .stamp(size: status.size, modified: status.modified, permissions: status.permissions)
      }
      return
    }
    // An operation that was tried and failed.
    if state.facets.contains(.ownership) {
      recording.observations[Observation(path: path, facet: .ownership)] = ownershipBefore(state)
    }
    if state.facets.contains(.kind) || state.facets.contains(.replaceable) {
      recording.observations[Observation(path: path, facet: .kind)] = kindBefore(state)
    }
  }

  mutating func condition(_ path: FilePath, _ state: PathState) throws(Uncacheable) {
    if let attributes = state.attributes {
      add(path, .attributes, before: attributes, role: .decisive)
    }
    if state.facets.contains(.content) {
      let (facet, value) = try wholeState(path, state)
      recording.observations[Observation(path: path, facet: facet)] = value
      return
    }
    if state.facets.contains(.probed) {
      let (facet, value) = try wholeState(path, state)
      add(path, facet, before: value, role: .decisive)
      return
    }
    if state.facets.contains(.made) {
      let (facet, value) = try wholeState(path, state)
      add(path, facet, before: value, role: .free)
    }
    if state.facets.contains(.ownership) {
      add(path, .ownership, before: ownershipBefore(state), role: .free)
    }
    if state.facets.contains(.kind) { add(path, .kind, before: kindBefore(state), role: .free) }
    add(path, BytecodeCache.isName(path) && state.isCheckedBytecode ? .bytecode : .entry, before: .absent, role: .left)
    if state.facets.contains(.replaceable) {
      add(
        path, .replaceable, before: state.before.status?.type == .directory ? .kind(.directory) : .notDirectory,
        role: .free)
    }
  }

  func ownershipBefore(_ state: PathState) -> Value {
    state.before.status.map { Evaluator.ownership($0) } ?? .absent
  }

  func kindBefore(_ state: PathState) -> Value { state.before.status.map { .kind($0.type) } ?? .absent }

  mutating func add(_ path: FilePath, _ facet: Facet, before: Value, role: Condition.Role) {
    let observation = Observation(path: path, facet: facet)
    recording.conditions.append(
      Condition(observation, before: before, after: valueNow(observation), role: role))
  }

  /// The value as the run left it; files that were captured are not read a second time.
  func valueNow(_ observation: Observation) -> Value {
    if observation.facet == .entry, let (digest, status) = captured[observation.path] {
      return .file(digest, Protection(status, countingLinks: true))
    }
    return Evaluator.evaluate(observation, recorder.tree, recorder.digester)
  }

  mutating func addListings() {
    var produced: [FilePath: [FilePath]] = [:]
    for (path, state) in paths where state.isProduced { produced[path.parent, default: []].append(path.lastComponent) }
    let all =
      recorder.pastListings.map { ($0, nil as FilePath?) }
      + recorder.listings.map { ($0.value, recorder.presentPath(of: $0.key)) }
    let former = Set(all.compactMap(\.0.path))
    for (listing, present) in all {
      guard let path = listing.path ?? present else { continue }
      // The names in a directory that the run made where it had listed another one, which is no more.
      if listing.path == nil, former.contains(path) { continue }
      let isOwn = listing.path == nil || (paths[path]?.isProduced ?? false)
      if isOwn {
        let before: Value =
          listing.path == nil ? .absent : .listing(Evaluator.listingDigest(listing.entries, except: []))
        add(path, .listing, before: before, role: .decisive)
      } else {
        let hidden = listing.entries.map(\.0).filter { ignores(path.appending($0)) }
        let except = Set((produced[path] ?? []) + hidden).sorted()
        recording.observations[Observation(path: path, facet: .listing, except: except)] =
          .listing(Evaluator.listingDigest(listing.entries, except: except))
        for name in except {
          guard let state = paths[path.appending(name)], state.facets.isDisjoint(with: [.probed, .content])
          else { continue }
          // What is no module made no difference to who looked for modules.
          let wasSeen =
            !listing.isOfImport || PythonModule.mayBe(name, state.before.status, statuses[path.appending(name)] ?? nil)
          add(path.appending(name), .kind, before: kindBefore(state), role: wasSeen ? .decisive : .free)
        }
      }
    }
  }

  /// Which of the files with several names that the run looked at were one.
  mutating func addIdentities() {
    var linked: [FilePath: InodeKey] = [:]
    for (path, state) in paths {
      if let status = state.before.status, status.type == .regular, status.links > 1 { linked[path] = status.key }
    }
    let names = linked.keys.sorted()
    guard names.count > 1 else { return }
    for (path, inode) in linked {
      let others = names.filter { $0 != path }
      let same = others.filter { linked[$0] == inode }.map { ($0, FileType.regular) }
      let observation = Observation(path: path, facet: .identity, except: others)
      let before = Value.listing(Evaluator.listingDigest(same, except: []))
      if (paths[path]?.isProduced ?? false) || others.contains(where: { paths[$0]?.isProduced ?? false }) {
        recording.conditions.append(
          Condition(observation, before: before, after: valueNow(observation), role: .decisive))
      } else {
        recording.observations[observation] = before
      }
    }
  }
}
