import CasherOverlay
import CasherRecord
import CasherSystem

/// Hands what is done in views of the whole root to the logs of the runs whose views they are, and of those around them.
final class OutsideRecorder: Recorder {
  private let runs: RunTable

  init(_ runs: RunTable) { self.runs = runs }

  /// Calls `body` with the log of the run that acts and of every run around it that has one.
  private func record(_ actor: Actor, _ body: (OutsideLog) -> Void) {
    var run = actor.view.attachment as? Run
    while let current = run {
      current.recordOutside(body)
      run = current.parent
    }
  }

  var isIdle: Bool { runs.isIdle }
  var observesMainView: Bool { false }

  func didLookUp(
    _ name: FilePath, in directory: Node, found: Node?, status: FileStatus?, by actor: Actor
  ) -> NameLifetime {
    var lifetime = NameLifetime.ever
    record(actor) { lifetime = min(lifetime, $0.lookedUp(name, in: directory, status: status, by: actor.thread)) }
    return lifetime
  }

  func didList(_ directory: Node, by actor: Actor) { record(actor) { $0.listed(directory) } }

  func didReadAttributes(of node: Node, by actor: Actor) { record(actor) { $0.attributesRead(node) } }

  func willOpen(_ node: Node, _ access: OpenAccess, by actor: Actor) {}

  func didOpen(_ node: Node, _ access: OpenAccess, by actor: Actor) {
    record(actor) { $0.opened(node, access, by: actor.thread) }
  }

  func willMake(_ kind: MadeKind, _ name: FilePath, in directory: Node, by actor: Actor) {}

  func didMake(_ kind: MadeKind, _ name: FilePath, in directory: Node, node: Node, status: FileStatus, by actor: Actor)
  {
    record(actor) { $0.made(kind, name, in: directory, by: actor.thread) }
  }

  func willRemove(_ name: FilePath, in directory: Node, isDirectory: Bool, by actor: Actor) {}

  func didRemove(_ name: FilePath, in directory: Node, isDirectory: Bool, by actor: Actor) {
    record(actor) { $0.removed(name, in: directory, by: actor.thread) }
  }

  func willRename(
    _ name: FilePath, in directory: Node, to newName: FilePath, in newDirectory: Node, _ manner: RenameManner,
    by actor: Actor
  ) {}

  func didRename(
    _ name: FilePath, in directory: Node, to newName: FilePath, in newDirectory: Node, _ manner: RenameManner,
    by actor: Actor
  ) {
    record(actor) { $0.renamed(name, in: directory, to: newName, in: newDirectory, manner, by: actor.thread) }
  }

  func willSetAttributes(of node: Node, _ change: AttributeChange, by actor: Actor) {}

  func didSetAttributes(of node: Node, _ change: AttributeChange, by actor: Actor) {
    record(actor) { $0.attributesSet(of: node, change, by: actor.thread) }
  }

  func mountAnswer(for directory: Node) -> [UInt8] { [] }
}
