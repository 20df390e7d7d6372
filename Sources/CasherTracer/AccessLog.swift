import CasherRecord
import CasherSystem

/// What the processes did with paths, in the order of the trace.
struct AccessLog: ~Copyable {
  typealias Kinds = OutsideAccess.Kinds

  /// One or more like accesses of a process to a path.
  struct Entry {
    /// The number of the line.
    var order: UInt32
    var path: PathTable.ID
    var kinds: UInt32
  }

  /// The modification time was left to the clock again: takes `timeSet` back.
  static let timeLeft: UInt32 = 1 << 31

  /// What changes a path's content or whether it is there.
  static let contentChanges: Kinds = [.updated, .truncated, .created, .madeNew, .removed, .renamedAway, .replaced]
  static let changes: Kinds = contentChanges.union([.attributesSet, .timeSet])
  /// After these, nothing of what stood there before the command is left.
  private static let freshens: Kinds = [.truncated, .madeNew, .removed, .renamedAway, .replaced]
  private static let takesTimeBack: Kinds = [.updated, .truncated, .created, .madeNew, .replaced]

  var paths = PathTable()
  /// Of each path, who used it last and where that stands: most accesses repeat the one before.
  private var lastProcess: [Int32] = []
  private var lastEntry: [Int32] = []
  /// Of each path, whether its modification time is one that the command set.
  private var hasSetTime: [Bool] = []

  /// Adds an access to `entries`, those of process `process`. `mayMerge` is false while lines are taken out of order.
  mutating func add(
    _ path: UnsafeBufferPointer<UInt8>, _ kinds: UInt32, order: UInt32, process: Int32, mayMerge: Bool,
    to entries: inout [Entry]
  ) {
    let id = paths.number(of: path)
    let index = Int(id)
    while index >= lastProcess.count {
      lastProcess.append(-1)
      lastEntry.append(-1)
      hasSetTime.append(false)
    }
    noteTime(index, kinds)
    let isChange = kinds & AccessLog.changes.rawValue != 0
    if mayMerge, !isChange, lastProcess[index] == process {
      let last = Int(lastEntry[index])
      if last >= 0, last < entries.count {
        let old = entries[last].kinds
        let sameFollowing = (old ^ kinds) & Kinds.notFollowed.rawValue == 0
        if old & kinds == kinds, sameFollowing { return }
        if old & AccessLog.changes.rawValue == 0, sameFollowing {
          entries[last].kinds = old | kinds
          return
        }
      }
    }
    lastProcess[index] = process
    lastEntry[index] = Int32(truncatingIfNeeded: entries.count)
    entries.append(Entry(order: order, path: id, kinds: kinds))
  }

  private mutating func noteTime(_ index: Int, _ kinds: UInt32) {
    if kinds & Kinds.timeSet.rawValue != 0 {
      hasSetTime[index] = true
    } else if kinds & (AccessLog.takesTimeBack.rawValue | AccessLog.timeLeft) != 0 {
      hasSetTime[index] = false
    }
  }

  /// Whether the file at `path` has a modification time that the command gave it, to go with it when it is renamed.
  mutating func hasSetTime(_ path: UnsafeBufferPointer<UInt8>) -> Bool {
    let index = Int(paths.number(of: path))
    return index < hasSetTime.count && hasSetTime[index]
  }

  // MARK: merging

  private struct Sum {
    var firstChange = UInt32.max
    var firstContentChange = UInt32.max
    var firstFresh = UInt32.max
    var firstRemoval = UInt32.max
    var timeSet: UInt32?
    var timeLeft: UInt32?
    var observed: UInt32 = 0
    var produced: UInt32 = 0
    var observedFollowing = false
    var producedFollowing = false
  }

  /// One access for each path of the processes' entries, sorted by path.
  ///
  /// - What was observed after the command's own first change of that path is left out; a change of attributes alone
  ///   hides only the attributes, not the content.
  /// - `updated` counts only while there may be content from before; `madeNew` only while nothing was removed there.
  /// - `notFollowed` stands when the last component was never followed, in `observed` and `produced` each.
  func merged(_ processes: [[Entry]]) -> [OutsideAccess] {
    var sums: [Sum] = []
    var ids: [PathTable.ID] = []
    var places = [Int32](repeating: -1, count: paths.count)
    for entries in processes {
      for entry in entries {
        var place = Int(places[Int(entry.path)])
        if place < 0 {
          place = sums.count
          places[Int(entry.path)] = Int32(truncatingIfNeeded: place)
          sums.append(Sum())
          ids.append(entry.path)
        }
        AccessLog.note(entry, in: &sums[place])
      }
    }
    for entries in processes {
      for entry in entries { AccessLog.add(entry, to: &sums[Int(places[Int(entry.path)])]) }
    }
    var result: [OutsideAccess] = []
    result.reserveCapacity(sums.count)
    for (sum, id) in zip(sums, ids) {
      var observed = Kinds(rawValue: sum.observed)
      var produced = Kinds(rawValue: sum.produced)
      if !observed.isEmpty, !sum.observedFollowing { observed.insert(.notFollowed) }
      if !produced.isEmpty, !sum.producedFollowing { produced.insert(.notFollowed) }
      if let set = sum.timeSet, set >= sum.timeLeft ?? 0 { produced.insert(.timeSet) }
      result.append(OutsideAccess(path: paths.path(id), observed: observed, produced: produced))
    }
    return result.sorted { $0.path < $1.path }
  }

  private static func note(_ entry: Entry, in sum: inout Sum) {
    let kinds = Kinds(rawValue: entry.kinds)
    if kinds.isDisjoint(with: changes) && entry.kinds & timeLeft == 0 { return }
    sum.firstChange = min(sum.firstChange, entry.order)
    if !kinds.isDisjoint(with: contentChanges) { sum.firstContentChange = min(sum.firstContentChange, entry.order) }
    if !kinds.isDisjoint(with: freshens) { sum.firstFresh = min(sum.firstFresh, entry.order) }
    if !kinds.isDisjoint(with: [.removed, .renamedAway]) { sum.firstRemoval = min(sum.firstRemoval, entry.order) }
    if kinds.contains(.timeSet) {
      sum.timeSet = max(sum.timeSet ?? 0, entry.order)
    } else if !kinds.isDisjoint(with: takesTimeBack) || entry.kinds & timeLeft != 0 {
      sum.timeLeft = max(sum.timeLeft ?? 0, entry.order)
    }
  }

  private static func add(_ entry: Entry, to sum: inout Sum) {
    let kinds = Kinds(rawValue: entry.kinds & ~timeLeft)
    let follows = !kinds.contains(.notFollowed)
    let seen = kinds.subtracting(changes).subtracting(.notFollowed)
    // An access that both observes and changes (O_RDWR) observed first.
    if !seen.isEmpty, entry.order <= sum.firstContentChange {
      let counted = entry.order > sum.firstChange ? seen.subtracting(.lookedUp) : seen
      if !counted.isEmpty {
        sum.observed |= counted.rawValue
        if follows { sum.observedFollowing = true }
      }
    }
    var made = kinds.intersection(changes).subtracting(.timeSet)
    if entry.order > sum.firstFresh { made.remove(.updated) }
    if made.contains(.madeNew), entry.order > sum.firstRemoval {
      made.remove(.madeNew)
      made.insert(.created)
    }
    if !made.isEmpty {
      sum.produced |= made.rawValue
      if follows { sum.producedFollowing = true }
    }
  }
}
