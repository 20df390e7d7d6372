import CasherSystem
import Foundation
import Testing

@testable import CasherOverlay

/// Blobs that are files of a directory, named by what they hold.
final class DirectoryBlobs: BlobSource {
  let directory: String
  init(_ directory: String) { self.directory = directory }

  func put(_ content: String) throws -> Digest {
    let blob = Digest(words: (UInt64(content.utf8.count), UInt64(bitPattern: Int64(content.hashValue)), 0, 1))
    try Data(content.utf8).write(to: URL(fileURLWithPath: path(blob)))
    return blob
  }

  func path(_ blob: Digest) -> String { "\(directory)/\(blob.hexadecimal)" }

  func open(_ blob: Digest) throws(Errno) -> FileDescriptor {
    try FileDescriptor.open(FilePath(path(blob)), O_RDONLY)
  }

  func has(_ blob: Digest) -> Bool { access(path(blob), R_OK) == 0 }
  func didWrite(_ blob: Digest, as status: FileStatus) {}
  func didRelease(run: Digest) {}
}

/// A mount in which files can be placed, and a plain twin in which the same files are ordinary.
final class PlacedMount {
  let base: String
  let directory: String
  let twin: String
  let overlay: Overlay
  let blobs: DirectoryBlobs
  let log = CallLog()
  static let run = Digest(words: (1, 2, 3, 4))

  /// With `base`, goes on with the directory and journal of an earlier one.
  init(passthrough: Bool = true, base given: String? = nil, mounts: Bool = true, timeout: Double = 1) throws {
    base = given ?? "/tmp/casher-placed-tests.\(getpid()).\(UInt64.random(in: 0 ..< .max))"
    directory = base + "/work"
    twin = base + "/twin"
    for path in [directory, twin, base + "/blobs"] {
      try FileManager.default.createDirectory(
        atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
    }
    blobs = DirectoryBlobs(base + "/blobs")
    var configuration = Overlay.Configuration(directory: FilePath(directory))
    configuration.wantsPassthrough = passthrough
    configuration.timeout = timeout
    configuration.blobs = blobs
    configuration.journal = FilePath(base + "/journal")
    configuration.trace = ProcessInfo.processInfo.environment["CASHER_TEST_TRACE"] != nil
    overlay = try Overlay(configuration: configuration, recorder: log)
    log.isIdle = true
    if mounts { try overlay.mount() }
    umask(0o022)
  }

  func end(keeping: Bool = false) {
    overlay.stop()
    if !keeping { try? FileManager.default.removeItem(atPath: base) }
  }

  /// The directory beneath, reached without the mount.
  var lower: String { "/proc/\(getpid())/fd/\(overlay.rootDescriptor.rawValue)" }

  /// Runs a script in mount and twin.
  func both(_ script: String) throws -> (mounted: Outcome, plain: Outcome) {
    (try Outcome.of(script, in: directory), try Outcome.of(script, in: twin))
  }

  static let time: Int64 = 1_000_000_000_000_000_000

  /// Places files whose directories are there, and writes them into the twin.
  func place(_ files: [(path: String, content: String, mode: UInt32)], attributes: [PlacedFile.Attribute] = []) throws {
    var placings: [Placing] = []
    for (path, content, mode) in files {
      let full = FilePath(path)
      let file = PlacedFile(
        blob: try blobs.put(content), size: Int64(content.utf8.count), permissions: mode, user: getuid(),
        group: getgid(), modified: PlacedMount.time, changed: Clock.now(), attributes: attributes,
        run: PlacedMount.run)
      placings.append(
        Placing(directory: try overlay.pinDirectory(full.parent), name: full.lastComponent, file: file))
      let name = twin + "/" + path
      try Data(content.utf8).write(to: URL(fileURLWithPath: name))
      chmod(name, mode)
      let plain = try FileDescriptor.open(FilePath(name), O_RDONLY)
      for attribute in attributes { try plain.setAttribute(attribute.name, attribute.value) }
      try FileDescriptor.workingDirectory.setModifiedFollowing(plain.procPath, PlacedMount.time)
      plain.close()
    }
    try overlay.place(placings)
    overlay.flushNotifications()
  }

  /// Places a file in the mount's root, and not in the twin.
  func placeAlone(_ name: FilePath, _ content: String) throws {
    let file = PlacedFile(
      blob: try blobs.put(content), size: Int64(content.utf8.count), permissions: 0o644, user: 0, group: 0,
      modified: PlacedMount.time, changed: Clock.now(), attributes: [], run: PlacedMount.run)
    try overlay.place([Placing(directory: try overlay.pinDirectory(""), name: name, file: file)])
  }

  /// The tree as find(1) and sha256sum(1) show it.
  static let tree = """
    find . -printf '%P %y %m %U:%G %l\\n' | sort; find . ! -type d -printf '%P %n %s\\n' | sort
    find . -type f | sort | xargs -d '\\n' -r sha256sum; find . -type f -printf '%P\\n' | sort | xargs -d '\\n' -r \
    getfattr -d 2>&-
    """
}

/// Calls `body` with some placed files: `text`, `script` (executable), `big` (2 MiB) and `d/inner`, beside the ordinary
/// `plain`.
func withPlaced(passthrough: Bool = true, _ body: (PlacedMount) throws -> Void) throws {
  let mount = try PlacedMount(passthrough: passthrough)
  defer { mount.end() }
  _ = try mount.both("mkdir d empty; echo plain > plain; echo other > d/ordinary")
  try mount.place([
    ("text", "first\nsecond\n", 0o644), ("script", "#!/bin/sh\necho ran $1\n", 0o755),
    ("big", String(repeating: "0123456789abcde\n", count: 1 << 17), 0o640), ("d/inner", "inner\n", 0o600),
  ])
  try body(mount)
}
