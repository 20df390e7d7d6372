import CasherSystem
import Glibc

/// `mount.fuse.casherfs`: how mount(8) has a filesystem of type `fuse.casherfs` mounted, from a command line or from
/// fstab(5). It is casherfs by another name, called as `mount.fuse.casherfs SOURCE TARGET [-sfnv] [-N NS] [-t TYPE]
/// [-o OPTIONS]` (mount(8), EXTERNAL HELPERS).
enum MountHelper {
  /// The names under which casherfs is the helper.
  static let names: [FilePath] = ["mount.fuse.casherfs", "mount.casherfs"]

  /// Exit statuses of mount(8).
  private static let usage: Int32 = 1
  private static let failed: Int32 = 32

  private struct Call {
    var operands: [FilePath] = []
    var options: [FilePath] = []
    /// Unknown options are to be left out.
    var isSloppy = false
    /// Everything but the mount itself is to be done.
    var isFake = false
    var isVerbose = false
  }

  static func run(_ arguments: [FilePath]) -> Int32 {
    do throws(Failure) {
      let call = try parse(arguments)
      setHome()
      var words = try words(call)
      guard call.operands.count == 2 else {
        throw Failure(.usage, "SOURCE and TARGET are needed, the directory both times, and '-o OPTIONS' after them.")
      }
      words += [FilePath("--")] + call.operands
      let parsed = try Arguments(words, for: .mount)
      if call.isFake { return 0 }
      if call.isVerbose { Console.complain("mounting \(call.operands[1])") }
      return try Command.mount.run(parsed) == .success ? 0 : failed
    } catch {
      Console.complain(error.message)
      return error.code == .usage ? usage : failed
    }
  }

  private static func parse(_ arguments: [FilePath]) throws(Failure) -> Call {
    var call = Call()
    var rest = arguments[...]
    while let argument = rest.popFirst() {
      guard argument.bytes.first == UInt8(ascii: "-"), argument.bytes.count > 1 else {
        call.operands.append(argument)
        continue
      }
      var letters = argument.bytes.dropFirst()
      while let letter = letters.popFirst() {
        switch letter {
        case UInt8(ascii: "s"): call.isSloppy = true
        case UInt8(ascii: "f"): call.isFake = true
        case UInt8(ascii: "v"): call.isVerbose = true
        // There is no /etc/mtab to be left alone.
        case UInt8(ascii: "n"), UInt8(ascii: "w"): break
        case UInt8(ascii: "r"): call.options.append("ro")
        case UInt8(ascii: "o"), UInt8(ascii: "t"), UInt8(ascii: "N"):
          guard let value = letters.isEmpty ? rest.popFirst() : FilePath(letters) else {
            throw Failure(.usage, "-\(Unicode.Scalar(letter)) needs a value.")
          }
          letters = []
          if letter == UInt8(ascii: "o") { call.options.append(value) }
        default: throw Failure(.usage, "-\(Unicode.Scalar(letter)) is not an option of a mount helper.")
        }
      }
    }
    return call
  }

  /// The command line of `casherfs mount` for the options.
  private static func words(_ call: Call) throws(Failure) -> [FilePath] {
    var words: [FilePath] = []
    for list in call.options {
      for option in list.bytes.split(separator: UInt8(ascii: ",")).map({ FilePath($0) }) {
        if option.bytes.starts(with: "cache_dir=".utf8) {
          words += [FilePath(Option.cacheDirectory.name), FilePath(option.bytes.dropFirst(10))]
          continue
        }
        do throws(Failure) {
          var options = MountOptions()
          try options.add(option)
          words += ["--options", option]
        } catch { if !call.isSloppy { throw error } }
      }
    }
    return words
  }

  /// At boot there is no HOME: the cache is where it would be for a session of this user.
  private static func setHome() {
    guard Environment.nonEmptyValue("HOME") == nil, let entry = getpwuid(geteuid()), let home = entry.pointee.pw_dir
    else { return }
    setenv("HOME", home, 1)
  }
}
