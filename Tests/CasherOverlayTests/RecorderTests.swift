import CasherSystem
import Foundation
import Testing

@testable import CasherOverlay

/// What the recorder hears of a run's commands.
@Suite(.serialized) struct RecorderTests {
  /// Runs the script in a view after `setUp` in the main view, and gives the calls about that view.
  private func calls(_ script: String, after setUp: String = ":") throws -> [String] {
    var result: [String] = []
    try withMount { mount in
      try mount.sh(setUp)
      let (view, path) = mount.view("v")
      try mount.sh("true", in: path)
      _ = mount.log.take(view)
      try mount.sh(script, in: path)
      result = mount.log.take(view)
    }
    return result
  }

  @Test func makingAFileIsALookupAndTheMaking() throws {
    try #expect(calls("echo x > foo") == ["lookup foo missing", "will make foo", "make foo"])
  }

  @Test func aProbeStandsAloneBeforeTheOperationsOwnLookup() throws {
    try #expect(
      calls("[ -e foo ] || echo x > foo") == ["lookup foo missing", "lookup foo missing", "will make foo", "make foo"])
    try #expect(calls("[ -e foo ] && echo x", after: "echo > foo") == ["lookup foo found"])
    try #expect(calls("[ -e foo ] && [ -e foo ]", after: "echo > foo") == ["lookup foo found", "lookup foo found"])
  }

  @Test func readingIsALookupAndTheOpening() throws {
    try #expect(
      calls("cat < foo", after: "echo > foo") == ["lookup foo found", "will open foo r size 1", "open foo r"])
  }

  @Test func truncationIsToldBeforeItHappens() throws {
    try #expect(
      calls("echo x > foo", after: "echo long > foo")
        == ["lookup foo found", "will open foo wt size 5", "open foo wt"])
    try #expect(
      calls("echo x >> foo", after: "echo long > foo")
        == ["lookup foo found", "will open foo wa size 5", "open foo wa"])
    try #expect(
      calls("truncate -s 1 foo", after: "echo long > foo").contains("will change foo size 1"))
  }

  @Test func listingIsToldOnceAndShowsNoFile() throws {
    let calls = try calls("ls", after: "touch a b; mkdir c")
    #expect(calls == ["list "])
    // What a listing showed is looked up like anything else when it is used.
    try #expect(
      self.calls("ls -U > /dev/null; exec < a", after: "touch a b")
        == ["list ", "lookup a found", "will open a r size 0", "open a r"])
  }

  @Test func directoriesAreLookedUpOnce() throws {
    try #expect(
      calls("exec < d/e/f; exec < d/e/f", after: "mkdir -p d/e; touch d/e/f")
        == [
          "lookup d found", "lookup d/e found", "lookup d/e/f found", "will open d/e/f r size 0", "open d/e/f r",
          "lookup d/e/f found", "will open d/e/f r size 0", "open d/e/f r",
        ])
  }

  @Test func renamingAndRemovingAreToldBeforeAndAfter() throws {
    let calls = try calls("mv a d/b; rm -rf d", after: "touch a; mkdir d")
    #expect(
      calls.filter { !$0.hasPrefix("lookup") && !$0.hasPrefix("list") }
        == [
          "will rename a d/b", "rename a d/b", "will remove d/b", "remove d/b", "will remove d", "remove d",
        ])
    #expect(calls.contains("list d"))
    let operation = calls.firstIndex(of: "will rename a d/b") ?? 0
    #expect(calls[..<operation].contains("lookup d/b missing"))
  }

  @Test func otherNamesAreMade() throws {
    let calls = try calls("mkdir d; ln -s x s; ln a h; mkfifo p", after: "touch a").filter { $0.contains("make") }
    #expect(
      calls == ["will make d", "make d", "will make s", "make s", "will make h", "make h", "will make p", "make p"])
  }

  @Test func attributesAreToldWhenChangedAndRead() throws {
    let script = """
      chmod 600 f; chown 1:1 f; touch -d @1 f; touch f
      python3 -S -c 'import os; os.setxattr("f", "user.a", b"1"); os.getxattr("f", "user.a"); os.listxattr("f")'
      """
    let calls = try calls(script, after: "touch f").filter { $0.contains("change") || $0.contains("attributes") }
    #expect(
      calls == [
        "will change f permissions", "change f permissions", "will change f owner", "change f owner",
        "will change f modified", "change f modified", "will change f times", "change f times",
        "will change f user.a", "change f user.a", "attributes f", "attributes f",
      ])
  }

  @Test func executingIsReading() throws {
    let calls = try calls("./t", after: "cp /bin/true t")
    #expect(calls.contains("will open t r size \((try FileDescriptor.workingDirectory.status(of: "/bin/true")).size)"))
  }

  @Test func fromTheMainViewOnlyChangesAreTold() throws {
    try withMount { mount in
      try mount.sh("echo x > f; cat f; ls; [ -e g ]; rm f")
      #expect(
        mount.log.take(mount.overlay.mainView) == ["will make f", "make f", "will remove f", "remove f"])
      mount.log.isIdle = true
      let (view, path) = mount.view("v")
      try mount.sh("echo x > f; cat f; ls; rm f", in: path)
      #expect(mount.log.take(view) == [])
    }
  }

  @Test func aFileWrittenAgainFromTheMainViewIsAChange() throws {
    try withMount { mount in
      try mount.sh("echo x > f")
      _ = mount.log.take(mount.overlay.mainView)
      try mount.sh("echo y >> f")
      #expect(mount.log.take(mount.overlay.mainView) == ["will open f wa size 2", "open f wa"])
    }
  }
}
