import CasherRecord
import CasherSystem

/// Extended attributes of the user namespace (xattr(7)): what a run may read of a file besides its content, and what
/// it may leave on its outputs.
enum ExtendedAttributes {
  private static let prefix = Array("user.".utf8)

  /// Those of the user namespace, sorted by name; none where the filesystem has no such thing.
  static func userAttributes(of descriptor: FileDescriptor) throws(Errno) -> [ExtendedAttribute] {
    var result: [ExtendedAttribute] = []
    for name in try descriptor.attributeNames() where name.bytes.starts(with: prefix) {
      if let value = try descriptor.attribute(name) { result.append(ExtendedAttribute(name: name, value: value)) }
    }
    return result.sorted { $0.name < $1.name }
  }

  /// Gives it these of the user namespace and no others.
  static func setUserAttributes(of descriptor: FileDescriptor, _ attributes: [ExtendedAttribute]) throws(Errno) {
    for present in try userAttributes(of: descriptor) where !attributes.contains(where: { $0.name == present.name }) {
      try descriptor.removeAttribute(present.name)
    }
    for attribute in attributes { try descriptor.setAttribute(attribute.name, attribute.value) }
  }

  /// As bytes to digest; empty when there is nothing at `path` or it is a symlink, which can have none.
  static func encodedUserAttributes(of path: FilePath, in tree: Tree) throws(Errno) -> [UInt8] {
    guard let status = try tree.status(of: path), status.type == .regular || status.type == .directory else {
      return []
    }
    if let file = tree.placed(path) {
      var encoder = ByteEncoder()
      encoder.put(file.attributes.map { ExtendedAttribute(name: $0.name, value: $0.value) })
      return encoder.bytes
    }
    let descriptor = try tree.open(path)
    defer { descriptor.close() }
    var encoder = ByteEncoder()
    encoder.put(try userAttributes(of: descriptor))
    return encoder.bytes
  }
}
