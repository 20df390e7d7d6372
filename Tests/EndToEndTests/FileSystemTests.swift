import Foundation
import Testing

/// What programs that are no part of Casher expect of any filesystem.
@Suite("The mount as a filesystem") struct FileSystemTests {
  @Test("A daemon that has no descriptor left keeps its mount, whatever others mount")
  func noDescriptors() throws {
    try withMount { place throws in
      try place.write("here", to: "in")
      let daemon = try #require(try place.daemon())
      let outcome = try place.shell(
        """
        exec 2>&1; mkdir other; most=$(prlimit --pid \(daemon) --nofile --noheadings -o SOFT)
        prlimit --pid \(daemon) --nofile=3:
        for i in 1 2 3 4 5 6 7 8 9 10; do mount -t tmpfs none other; umount other; done
        prlimit --pid \(daemon) --nofile=$most:
        """, in: place.base)
      #expect(outcome == Outcome(status: 0, output: "", error: ""))
      // The daemon has looked at the mount table by the time that it has answered to a hit.
      for _ in 1...3 { #expect(try place.acache("cat in").output == "here") }
      #expect(try place.counts() == Counts(hits: 2, misses: 1))
      #expect(try place.shell("mountpoint -q .; echo $?; cat in").output == "0\nhere")
    }
  }
}
