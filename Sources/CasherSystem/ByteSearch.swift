import CLinux

extension [UInt8] {
  /// Whether these bytes occur in a row; so do none anywhere. The corresponding C function is `memmem`.
  public func contains(bytes sought: [UInt8]) -> Bool {
    if sought.isEmpty { return true }
    if sought.count > count { return false }
    return withUnsafeBytes { casher_memmem($0.baseAddress, $0.count, sought, sought.count) != 0 }
  }
}
