import Foundation
import Testing

@Suite("mount.fuse.casherfs", .root)
struct MountHelperTests {
  /// A shell's script as root in a mount namespace in which /usr/sbin has the helper, and with an fstab of its own.
  private func withHelper(_ place: Place, fstab: String = "", _ script: String) throws -> Outcome {
    let setup = """
      set -e
      mkdir ../sbin; mount --bind /usr/sbin ../sbin; original=$(realpath ../sbin)
      mount -t tmpfs none /usr/sbin
      for program in "$original"/*; do ln -s "$program" /usr/sbin/; done
      ln -s "$(command -v casherfs)" /usr/sbin/mount.fuse.casherfs
      printf '%s' "$FSTAB" > ../fstab; touch /etc/fstab; mount --bind ../fstab /etc/fstab
      set +e
      cd ..
      \(script)
      """
    var environment = place.environment
    environment["FSTAB"] = fstab
    return try run(
      "/usr/bin/unshare", ["--mount", "--propagation", "private", "/bin/bash", "-c", setup], in: place.work,
      environment: environment)
  }

  /// A place whose path has no spaces, which fstab has to write otherwise.
  private func fstab(_ place: Place, _ options: String) -> String {
    let path = place.work.replacing(" ", with: "\\040")
    return "\(path) \(path) fuse.casherfs \(options) 0 0\n"
  }

  @Test("mount -t fuse.casherfs mounts, with options of its own and of every filesystem; umount ends it")
  func mount() throws {
    let place = try Place()
    try place.write("text", to: "in")
    let outcome = try withHelper(
      place,
      """
      mount -t fuse.casherfs -o rw,nosuid,_netdev,x-systemd.automount,timeout=2s,cache_dir="$PWD/elsewhere" work work
      echo "mounted $?"; (cd work && acache -- cat in && acache -- cat in)
      casherfs stats --cache-dir elsewhere | head -n 1
      mount -t fuse.casherfs work work 2>&1 | grep -o 'is already mounted'
      umount work; echo "unmounted $?"
      """)
    #expect(outcome.output.hasPrefix("mounted 0\ntexttext"))
    #expect(outcome.output.contains("hits             1 (50 % of 2 calls)"))
    #expect(outcome.output.hasSuffix("is already mounted\nunmounted 0\n"), "\(outcome.output)\(outcome.error)")
  }

  @Test("An fstab line works; mount -a leaves one with noauto alone")
  func table() throws {
    let place = try Place()
    let outcome = try withHelper(
      place, fstab: fstab(place, "noauto,nofail,x-note=1"),
      """
      mounted() { findmnt -n -t fuse.casherfs --mountpoint "$PWD/work" | wc -l; }
      mount work; echo $?; mounted; umount work; mount -a; mounted
      """)
    #expect(outcome.output == "0\n1\n0\n", "\(outcome.error)")
  }

  @Test("What cannot be mounted gives mount's exit codes and one sentence")
  func failures() throws {
    let place = try Place()
    let helper = place.base + "/mount.fuse.casherfs"
    try FileManager.default.createSymbolicLink(atPath: helper, withDestinationPath: Programs.casherfs)
    func call(_ arguments: String...) throws -> Outcome {
      try run(helper, arguments, environment: place.environment)
    }
    let unknown = try call(place.work, place.work, "-o", "rw,colour=red")
    #expect(unknown.status == 1)
    #expect(unknown.error == "casherfs: 'colour' is not a mount option; 'casherfs mount --help' lists them.\n")
    // -f checks without mounting, -s leaves out what is unknown.
    #expect(try call(place.work, place.work, "-sfnv", "-o", "rw,colour=red").status == 0)
    #expect(try call(place.work, place.work, "-f", "-o", "ro").status == 1)
    #expect(try call(place.work).status == 1)
    #expect(try call("/no/such", "/no/such").status == 32)
    #expect(try call(place.work, place.base).status == 1)
    #expect(try call(place.work, place.work, "-x").status == 1)
    #expect(try !place.shell("grep fuse.casherfs /proc/mounts").output.contains(place.work))
  }
}
