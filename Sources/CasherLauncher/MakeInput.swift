import CasherSystem

/// Standard input of what a parallel make(1) runs.
///
/// Of the recipes that run at once, GNU make lets one have its own standard input and gives the others a pipe that
/// nobody writes to; which one that is depends on timing (GNU make manual, "Input During Parallel Execution"). So there is
/// nothing in it that a result could depend on, and the same command must be a hit with the one and the other.
enum MakeInput {
  private static let ancestorLimit = 64

  /// Whether standard input is what a parallel make above this process hands out by chance: its own, or the pipe without
  /// writers. Not so for one that the recipe redirected.
  static func isChance(_ input: FileDescriptor, isPipe: Bool, environment: [[UInt8]]) -> Bool {
    guard hasJobServer(environment) else { return false }
    if isPipe {
      guard let there = try? input.awaitGrowth(beyond: 0, timeout: 0), there.bytes == 0, there.isEnd else {
        return false
      }
    }
    let pipe = try? FileDescriptor.workingDirectory.readLink(input.procPath)
    return ProcessEntry.ancestors(limit: ancestorLimit).contains { ancestor in
      guard ancestor.name == "make" || ancestor.name == "gmake" else { return false }
      if !isPipe { return input.isSameOpenFile(as: .standardInput, of: ancestor.process) ?? false }
      // make keeps the pipe open for the next recipe; a pipeline's is not open in it.
      return ancestor.descriptors.contains { $0 > 2 && pipe != nil && ancestor.target(of: $0) == pipe }
    }
  }

  private static func hasJobServer(_ environment: [[UInt8]]) -> Bool {
    guard let flags = environment.first(where: { $0.starts(with: "MAKEFLAGS=".utf8) }) else { return false }
    return flags.dropFirst("MAKEFLAGS=".utf8.count).split(separator: UInt8(ascii: " ")).contains {
      $0.starts(with: "--jobserver".utf8)
    }
  }
}
