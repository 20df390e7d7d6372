import CasherSystem
import Foundation
import Testing

@testable import CasherOverlay

/// What the kernel lists from its own cache.
@Suite(.serialized) struct DirectoryListingTests {
  @Test func aDirectoryThatHasJustBeenListedIsNotReadAgain() throws {
    try withMount(timeout: 1000) { mount in
      try mount.sh("mkdir d e; touch d/a d/b e/c")
      let expected = try mount.sh("ls -l d e")
      func readings() -> Int {
        mount.overlay.counters.filter { $0.name.hasPrefix("requests.readdir") }.reduce(0) { $0 + $1.value }
      }
      // The kernel tells of the last close later than it happens.
      try #require(eventually { mount.overlay.listings.openHandles == 0 })
      try mount.sh("ls -l d e")
      try #require(eventually { mount.overlay.listings.openHandles == 0 })
      let before = readings()
      #expect(before > 0)
      try #expect(mount.sh("ls -l d e") == expected)
      #expect(readings() == before)
      try #expect(mount.sh("touch d/new; ls d").output == "a\nb\nnew\n")
      #expect(readings() > before)
    }
  }

  @Test func nothingIsCachedWhereTheMountCachesNothing() throws {
    try withMount(timeout: 0) { mount in
      try mount.sh("mkdir d; touch d/a")
      try mount.sh("ls -l d")
      let before = mount.overlay.counters.first { $0.name == "requests.readdirplus" }?.value ?? 0
      try mount.sh("ls -l d")
      try #expect(#require(mount.overlay.counters.first { $0.name == "requests.readdirplus" }).value > before)
    }
  }

  /// Names come and go through every view and by placing, while handles stay open in the middle of a listing.
  @Test(arguments: 1...6) func aListingIsNeverOfBefore(seed: UInt64) throws {
    let mount = try PlacedMount(timeout: 1000)
    defer { mount.end() }
    var random = Generator(state: seed)
    let directory = mount.directory + "/d"
    try #require(mkdir(directory, 0o755) == 0)
    _ = mount.overlay.makeView(token: "v", attachment: nil)
    let throughView = mount.directory + "/.casher-views/v/d"
    var present: Set<String> = []
    var number = 0
    // More than one buffer of readdir(3), and more than one answer of READDIRPLUS.
    func make(through place: String) {
      number += 1
      let name = "file-with-a-long-name-that-takes-some-room-in-the-buffers-of-everybody-\(number)"
      close(open(place + "/" + name, O_CREAT | O_WRONLY, 0o644))
      present.insert(name)
    }
    for _ in 0..<[5, 150, 600][Int(seed) % 3] { make(through: directory) }
    struct Handle {
      let stream: OpaquePointer
      var found: [String]
      /// What has been there since the handle was opened.
      var throughout: Set<String>
    }
    var handles: [Handle] = []
    defer { for handle in handles { closedir(handle.stream) } }
    var compared = 0
    for step in 0..<500 {
      for index in handles.indices { handles[index].throughout.formIntersection(present) }
      let place = random.next(2) == 0 ? directory : throughView
      switch random.next(10) {
      case 0: make(through: place)
      case 1:
        if let name = present.sorted().randomElement(using: &random) {
          unlink(place + "/" + name)
          present.remove(name)
        }
      case 2:
        if let name = present.sorted().randomElement(using: &random) {
          number += 1
          rename(place + "/" + name, place + "/renamed-\(number)")
          present.remove(name)
          present.insert("renamed-\(number)")
        }
      case 3 where seed > 3:
        number += 1
        let file = PlacedFile(
          blob: try mount.blobs.put("x"), size: 1, permissions: 0o644, user: getuid(), group: getgid(),
          modified: PlacedMount.time, changed: Clock.now(), attributes: [], run: PlacedMount.run)
        try mount.overlay.place([
          Placing(directory: try mount.overlay.pinDirectory("d"), name: FilePath("placed-\(number)"), file: file)
        ])
        present.insert("placed-\(number)")
      case 4:
        guard handles.count < 4, let handle = opendir(directory) else { break }
        handles.append(Handle(stream: handle, found: names(handle, atMost: random.next(400)), throughout: present))
      case 5:
        guard let handle = handles.popLast() else { break }
        let found = handle.found + names(handle.stream, atMost: .max)
        closedir(handle.stream)
        #expect(found.count == Set(found).count, "seed \(seed), step \(step), continued")
        #expect(handle.throughout.subtracting(found) == [], "seed \(seed), step \(step), continued")
      case 6:
        guard let index = handles.indices.randomElement(using: &random) else { break }
        mount.overlay.flushNotifications()
        rewinddir(handles[index].stream)
        handles[index].throughout = present
        let isWhole = random.next(2) == 0
        handles[index].found = names(handles[index].stream, atMost: isWhole ? .max : random.next(400))
        if isWhole { #expect(Set(handles[index].found) == present, "seed \(seed), step \(step), rewound") }
      default:
        mount.overlay.flushNotifications()
        let handle = try #require(opendir(directory))
        let found = names(handle, atMost: .max)
        closedir(handle)
        #expect(found.count == present.count && Set(found) == present, "seed \(seed), step \(step)")
        compared += 1
      }
    }
    #expect(compared > 100)
  }

  private func names(_ stream: OpaquePointer, atMost limit: Int) -> [String] {
    var result: [String] = []
    while result.count < limit, let entry = readdir(stream) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { result.append(name) }
    }
    return result
  }

  /// The same numbers for the same seed (splitmix64, Steele, Lea and Flood 2014).
  private struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var mixed = state
      mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
      mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
      return mixed ^ (mixed >> 31)
    }

    mutating func next(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }
  }
}
