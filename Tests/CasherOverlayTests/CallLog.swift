import CasherSystem
import Synchronization

@testable import CasherOverlay

/// A recorder that keeps every call as a line: the view's token, what happened, and to which path.
final class CallLog: Recorder {
  private let lines = Mutex<[String]>([])
  private let idle = Atomic<Bool>(false)

  /// Whatever is to be made under this name waits as long as it stands here, and the kernel keeps the directory locked.
  let held = Monitor<FilePath?>(nil)

  var observesMainView: Bool { false }

  var isIdle: Bool {
    get { idle.load(ordering: .relaxed) }
    set { idle.store(newValue, ordering: .relaxed) }
  }

  /// The lines about a view, and forgets all lines.
  func take(_ view: View) -> [String] {
    let token = view.token.description + " "
    return lines.withLock { lines in
      defer { lines = [] }
      return lines.filter { $0.hasPrefix(token) }.map { String($0.dropFirst(token.count)) }
    }
  }

  private func add(_ actor: Actor, _ line: String) {
    lines.withLock { $0.append("\(actor.view.token) \(line)") }
  }

  private func path(_ name: FilePath, _ directory: Node) -> String { directory.path.appending(name).description }

  private func words(_ access: OpenAccess) -> String {
    [(OpenAccess.read, "r"), (.write, "w"), (.truncate, "t"), (.append, "a")]
      .filter { access.contains($0.0) }.map(\.1).joined()
  }

  func didLookUp(
    _ name: FilePath, in directory: Node, found: Node?, status: FileStatus?, by actor: Actor
  ) -> NameLifetime {
    add(actor, "lookup \(path(name, directory)) \(found == nil ? "missing" : "found")")
    return .use
  }
  func didList(_ directory: Node, by actor: Actor) { add(actor, "list \(directory.path)") }
  func didReadAttributes(of node: Node, by actor: Actor) { add(actor, "attributes \(node.path)") }
  func willOpen(_ node: Node, _ access: OpenAccess, by actor: Actor) {
    let size = (try? node.inode.status().size) ?? -1
    add(actor, "will open \(node.path) \(words(access)) size \(size)")
  }
  func didOpen(_ node: Node, _ access: OpenAccess, by actor: Actor) { add(actor, "open \(node.path) \(words(access))") }
  func willMake(_ kind: MadeKind, _ name: FilePath, in directory: Node, by actor: Actor) {
    add(actor, "will make \(path(name, directory))")
    _ = held.wait { $0 == name ? nil : true }
  }
  func didMake(_ kind: MadeKind, _ name: FilePath, in directory: Node, node: Node, status: FileStatus, by actor: Actor)
  {
    add(actor, "make \(node.path)")
  }
  func willRemove(_ name: FilePath, in directory: Node, isDirectory: Bool, by actor: Actor) {
    add(actor, "will remove \(path(name, directory))")
  }
  func didRemove(_ name: FilePath, in directory: Node, isDirectory: Bool, by actor: Actor) {
    add(actor, "remove \(path(name, directory))")
  }
  func willRename(
    _ name: FilePath, in directory: Node, to newName: FilePath, in newDirectory: Node, _ manner: RenameManner,
    by actor: Actor
  ) {
    add(actor, "will rename \(path(name, directory)) \(path(newName, newDirectory))")
  }
  func didRename(
    _ name: FilePath, in directory: Node, to newName: FilePath, in newDirectory: Node, _ manner: RenameManner,
    by actor: Actor
  ) {
    add(actor, "rename \(path(name, directory)) \(path(newName, newDirectory))")
  }
  func willSetAttributes(of node: Node, _ change: AttributeChange, by actor: Actor) {
    add(actor, "will change \(node.path) \(kind(change))")
  }
  func didSetAttributes(of node: Node, _ change: AttributeChange, by actor: Actor) {
    add(actor, "change \(node.path) \(kind(change))")
  }
  func mountAnswer(for directory: Node) -> [UInt8] { Array("answer for \(directory.path)".utf8) }

  private func kind(_ change: AttributeChange) -> String {
    switch change {
    case .permissions: "permissions"
    case .owner: "owner"
    case .size(let size): "size \(size)"
    case .times(let modified): modified == nil ? "times" : "modified"
    case .extended(let name): "\(name)"
    }
  }
}
