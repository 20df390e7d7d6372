import CasherRecord
import CasherSystem

/// The places where a command was looked for before it was found, as far as they lie outside the mount: a program that
/// appears in one of them would be run instead. (What lies inside, the overlay has seen.)
enum CommandSearch {
  /// `candidates` are the error numbers of the places in the order of the search (`CommandLaunch.Process.letGo`).
  static func accesses(
    command: [UInt8], environment: [[UInt8]], candidates: [Int32], mount: FilePath
  ) -> [OutsideAccess] {
    if command.contains(UInt8(ascii: "/")) { return [] }
    let variable = Array("PATH=".utf8)
    let path =
      environment.first { $0.starts(with: variable) }?.dropFirst(variable.count) ?? Array("/bin:/usr/bin".utf8)[...]
    var result: [OutsideAccess] = []
    let directories = path.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    for (directory, code) in zip(directories, candidates) where directory.first == UInt8(ascii: "/") && code != 0 {
      let place = plain(directory).appending(FilePath(command))
      if place.isWithin(mount) { continue }
      let error = Errno(rawValue: code)
      result.append(
        OutsideAccess(path: place, observed: error == .noSuchFile || error == .notDirectory ? .missing : .lookedUp))
    }
    return result
  }

  /// The first program of this name, as far as it can be told without running it; nil when there is none.
  static func program(_ command: [UInt8], environment: [[UInt8]]) -> FilePath? {
    if command.contains(UInt8(ascii: "/")) { return FilePath(command) }
    let variable = Array("PATH=".utf8)
    guard let path = environment.first(where: { $0.starts(with: variable) })?.dropFirst(variable.count) else {
      return nil
    }
    for directory in path.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false) {
      let place = FilePath(directory.isEmpty ? [UInt8(ascii: ".")] : Array(directory)).appending(FilePath(command))
      guard let target = try? place.canonical(),
        let status = try? FileDescriptor.workingDirectory.status(of: target), status.type == .regular,
        status.permissions & 0o111 != 0
      else { continue }
      return place
    }
    return nil
  }

  /// The directory without `.` and empty components.
  private static func plain(_ path: ArraySlice<UInt8>) -> FilePath {
    let components = path.split(separator: UInt8(ascii: "/")).filter { !$0.elementsEqual([UInt8(ascii: ".")]) }
    return FilePath(Array("/".utf8) + Array(components.joined(separator: [UInt8(ascii: "/")])))
  }
}
