import CasherRecord
import CasherSystem
import Glibc

/// The mount that the working directory is in.
struct MountLocation: Sendable {
  /// Absolute, as getcwd(2) has it.
  var directory: FilePath
  /// Where this process sees the mount's root.
  var mount: FilePath
  var answer: MountAnswer

  /// Asks the working directory itself. The reason why there is nothing is the end of a sentence.
  static func find() -> Result<MountLocation, NoCache> {
    let directory: FilePath
    do throws(Errno) { directory = try presentDirectory() } catch {
      return .failure(NoCache("the working directory has no path (\(error))"))
    }
    guard directory.isAbsolute else { return .failure(NoCache("the working directory is out of reach")) }
    let value: [UInt8]
    do throws(Errno) { value = try FilePath(".").extendedAttribute(ProtocolVersion.attribute) } catch {
      return .failure(
        error == .noData || error == .notSupported
          ? NoCache("\(directory): not inside a casherfs mount")
          : NoCache("\(directory): the mount does not answer (\(error))", isMounted: true))
    }
    let answer: MountAnswer
    do throws(DecodingFailure) { answer = try MountAnswer(encoded: value) } catch {
      return .failure(NoCache("\(directory): \(error)"))
    }
    guard let mount = directory.dropping(suffix: answer.directory) else {
      return .failure(NoCache("\(directory) is not where the mount says it is (\(answer.directory))"))
    }
    return .success(MountLocation(directory: directory, mount: mount, answer: answer))
  }

  /// `find` for a call that uses the mount. What is mounted in it is in no view: a command would see, and write, the
  /// directory beneath, and the files of a hit would come to lie there.
  static func findForCall() -> Result<MountLocation, NoCache> {
    find().flatMap { location in
      do throws(Errno) {
        guard let place = try MountTable.placeBelowWorkingDirectory(in: location.mount) else {
          return .success(location)
        }
        return .failure(NoCache("\(location.mount): another filesystem is mounted in it, at \(place)", isMounted: true))
      } catch {
        return .failure(
          NoCache("\(location.mount): what is mounted in it cannot be told (\(error))", isMounted: true))
      }
    }
  }

  /// Where a mount lets the kernel keep no names, a directory has no path for a moment when its name is looked up anew;
  /// looking it up gives it back, and a shell says where it is.
  private static func presentDirectory() throws(Errno) -> FilePath {
    do throws(Errno) { return try FilePath.currentDirectory() } catch {
      guard error == .noSuchFile, let name = getenv("PWD") else { throw error }
      _ = try? FileDescriptor.workingDirectory.status(
        of: FilePath(UnsafeBufferPointer(start: name, count: strlen(name)).map { UInt8(bitPattern: $0) }))
      return try FilePath.currentDirectory()
    }
  }
}

/// Why a command is run without a cache.
struct NoCache: Error, CustomStringConvertible {
  let description: String
  /// There is a mount, but none that works.
  let isMounted: Bool

  init(_ description: String, isMounted: Bool = false) {
    self.description = description
    self.isMounted = isMounted
  }
}

extension FilePath {
  /// This path without the components of `suffix` at its end; nil when it does not end in them.
  func dropping(suffix: FilePath) -> FilePath? {
    if suffix.isEmpty { return self }
    let tail = [UInt8(ascii: "/")] + suffix.bytes
    guard bytes.count >= tail.count, bytes.suffix(tail.count).elementsEqual(tail) else { return nil }
    return bytes.count == tail.count ? "/" : FilePath(bytes.dropLast(tail.count))
  }
}
