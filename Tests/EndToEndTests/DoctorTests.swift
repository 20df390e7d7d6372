import Foundation
import Testing

@Suite("casherfs doctor")
struct DoctorTests {
  private func states(_ outcome: Outcome) throws -> [String: String] {
    let report = try outcome.json(as: [String: Any].self)
    let checks = report["checks"] as? [[String: String]] ?? []
    return Dictionary(checks.map { ($0["name"] ?? "", $0["state"] ?? "") }) { first, _ in first }
  }

  @Test("Where the tests can mount, nothing is wrong, and nothing is left behind")
  func well() throws {
    let place = try Place()
    place.environment["TMPDIR"] = place.base
    let outcome = try place.casherfs("doctor", "--json")
    #expect(outcome.status == 0, "\(outcome.output)")
    let states = try states(outcome)
    for name in ["fuse", "fusermount3", "namespaces", "strace", "ptrace", "configuration", "mount", "cache", "disk"] {
      #expect(states[name] == "ok" || states[name] == "warning", "\(name)")
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: place.base) == ["work"])
    #expect(try place.casherfs("doctor").output.contains("/dev/fuse can be opened"))
  }

  @Test("What is wrong is named with its remedy, and the exit code is 1")
  func wrong() throws {
    let place = try Place()
    place.environment["PATH"] = place.base
    let missing = try place.casherfs("doctor")
    #expect(missing.status == 1)
    #expect(missing.output.contains("strace         not installed"))
    #expect(missing.output.contains("-> apt install strace"))
    place.environment["PATH"] = "/usr/bin:/bin"
    try place.write("colour: red\n", to: "casher.yml")
    let configured = try run(Programs.casherfs, ["doctor", "--json"], in: place.work, environment: place.environment)
    #expect(configured.status == 1)
    #expect(try states(configured)["configuration"] == "problem")
    guard geteuid() == 0 else { return }
    try place.shell("rm casher.yml; mkdir -m 700 ../cache; chown 1234 ../cache")
    let owned = try place.casherfs("doctor", "--json")
    #expect(owned.status == 1)
    #expect(try states(owned)["cache"] == "problem")
  }

  @Test("A closed /dev/fuse is a problem, a missing namespace is not", .root)
  func closed() throws {
    let place = try Place()
    let script = "mount --bind /dev/null /dev/fuse && exec casherfs doctor --json"
    let outcome = try run(
      "/usr/bin/unshare", ["--mount", "/bin/sh", "-c", script], environment: place.environment)
    #expect(outcome.status == 1)
    #expect(try states(outcome)["mount"] == "problem")
  }
}
