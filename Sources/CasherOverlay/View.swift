import CasherSystem
import Synchronization

/// A root of the tree with node ids of its own: everyone's (the main view), or one run's.
public final class View: Sendable {
  /// The name below the views' directory that leads here; empty for the main view. Whoever knows it can enter.
  public let token: FilePath
  /// What the owner of the view wants to find again from a request.
  public let attachment: (any AnyObject & Sendable)?
  /// Handles open for writing, until their RELEASE.
  let writers = Monitor<[ObjectIdentifier: FileHandle]>([:])
  /// The kernel has been told once to drop what is below the root, after the view was retired.
  let wasDropped = Atomic(false)

  init(token: FilePath, attachment: (any AnyObject & Sendable)?) {
    self.token = token
    self.attachment = attachment
  }

  /// For a node that no view has.
  static let none = View(token: FilePath([]), attachment: nil)

  public var isMain: Bool { token.isEmpty }
  /// Whether the recorder is told what is looked at in this view.
  public var isRecorded: Bool { !isMain }
}
