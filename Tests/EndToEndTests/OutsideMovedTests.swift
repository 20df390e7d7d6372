import Testing

@Suite struct OutsideMovedTests {
  private static let reading = "cat ../out/f ../out/d/f ../out/l/f 2>/dev/null; ls ../out/e; stat -c %a ../out/e"

  @Test(
    "What another takes away, moves or exchanges outside while the command runs is not taken for what the command saw",
    arguments: ["view", "strace"],
    [
      "rm ../out/f", "mv ../out/f ../out/g", "rm -r ../out/d", "mv ../out/d ../out/old; mv ../out/other ../out/d",
      "mv ../out/d ../out/old; mkdir ../out/d", "ln -sfn other ../out/l", "mv -T ../out/link ../out/l",
      "mv ../out/e ../out/old; mv ../out/other ../out/e", "chmod 711 ../out/e",
    ])
  func moved(outside: String, change: String) throws {
    try withMount { place throws in
      try place.shell(
        """
        mkdir ../out ../out/d ../out/e ../out/other; echo one > ../out/f; echo one > ../out/d/f; echo two > ../out/other/f
        ln -s d ../out/l; ln -s other ../out/link; mkfifo ../ready ../go
        """)
      let plain = try place.shell(OutsideMovedTests.reading).output
      let script = "\(OutsideMovedTests.reading); echo > ../ready; read x < ../go"
      let call = "timeout 60 acache --outside=\(outside) -- sh -c '\(script)'"
      func answer(to change: String) throws -> String {
        try place.shell("\(call) & timeout 60 sh -c 'read x < ../ready; \(change); echo > ../go'; wait").output
      }
      #expect(try answer(to: change) == plain)
      let changed = try place.shell(OutsideMovedTests.reading).output
      #expect(changed != plain)
      #expect(try answer(to: ":") == changed)
      try #expect(place.counts() == Counts(hits: 0, misses: 2))
      // What nobody changed meanwhile is stored.
      #expect(try place.shell(call).output == changed)
      try #expect(place.counts() == Counts(hits: 1, misses: 2))
    }
  }
}
