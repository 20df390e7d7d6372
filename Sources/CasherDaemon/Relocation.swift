import CLinux
import CasherRecord
import CasherSystem
import Glibc

/// Whether a result says where the tree was: then it is right only there.
struct Relocation {
  let tree: Tree
  /// The paths that the mount is known by.
  let mounts: [FilePath]

  /// Looks for the mount's path in the bytes of outputs and streams, and in the names of what was used outside. Throws
  /// when one of them cannot be read.
  func isBound(_ recording: Recording, transcript: FileDescriptor) throws(Errno) -> Bool {
    let inputs = recording.observations.lazy.map(\.key) + recording.conditions.lazy.map(\.observation)
    if inputs.contains(where: { !$0.isInside && isNamed(by: $0.path) }) { return true }
    for output in recording.outputs {
      if mentions(output.path.bytes) { return true }
      for attribute in output.attributes where mentions(attribute.name.bytes) || mentions(attribute.value) {
        return true
      }
      switch output.content {
      case .symlink(let target): if mentions(target.bytes) { return true }
      case .file:
        let file = try tree.open(output.path)
        defer { file.close() }
        if try mentions(file) { return true }
      case .directory, .hardLink, .fifo, .removed: break
      }
    }
    return try mentions(transcript)
  }

  /// Whether a path outside goes through a mount (`MOUNT/../file`), or has its whole path in it, as programs name the files
  /// of a cache. A path of one name stands in others by chance (`/src`, `/usr/src`).
  private func isNamed(by path: FilePath) -> Bool {
    mounts.contains { mount in
      if path == mount { return false }
      if path.isWithin(mount) { return true }
      let (sought, names) = (mount.components, path.components)
      guard sought.count > 1, names.count > sought.count else { return false }
      return (1...(names.count - sought.count)).contains { names[$0...].starts(with: sought) }
    }
  }

  private func mentions(_ bytes: [UInt8]) -> Bool {
    bytes.withUnsafeBytes { buffer in mounts.contains { Relocation.contains(buffer, $0.bytes) } }
  }

  /// Reads the file from its begin, whatever the descriptor's position; pieces overlap by the length of what is sought.
  private func mentions(_ file: FileDescriptor) throws(Errno) -> Bool {
    let size = 1 << 20
    let overlap = (mounts.map(\.bytes.count).max() ?? 1) - 1
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size + overlap, alignment: 16)
    defer { buffer.deallocate() }
    var offset: Int64 = 0
    while true {
      let count = try file.read(into: buffer, at: offset)
      if count == 0 { return false }
      let piece = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count])
      if mounts.contains(where: { Relocation.contains(piece, $0.bytes) }) { return true }
      if count <= overlap { return false }
      offset += Int64(count - overlap)
    }
  }

  private static func contains(_ bytes: UnsafeRawBufferPointer, _ sought: [UInt8]) -> Bool {
    guard !sought.isEmpty, bytes.count >= sought.count else { return false }
    return casher_memmem(bytes.baseAddress, bytes.count, sought, sought.count) != 0
  }
}
