import CasherSystem
import Foundation
import Testing

@testable import CasherOverlay

/// Making a mount and ending it.
@Suite(.serialized) struct MountTests {
  private func code(_ directory: String) -> OverlayError.Code? {
    do throws(OverlayError) {
      let overlay = try Overlay(configuration: .init(directory: FilePath(directory)), recorder: CallLog())
      try overlay.mount()
      umask(0o022)
      overlay.stop()
      return nil
    } catch { return error.code }
  }

  @Test func whatCannotBeMountedIsToldApart() throws {
    try withMount { mount in
      #expect(code(mount.base + "/missing") == .missing)
      try mount.sh("touch file")
      #expect(code(mount.directory + "/file") == .notDirectory)
      #expect(code(mount.directory) == .alreadyMounted)
      #expect(code(mount.directory + "/.") == .alreadyMounted)
    }
  }

  @Test func anUnmountIsRefusedWhileInUseAndEndsTheServingElse() throws {
    let mount = try Mount()
    defer { mount.end() }
    let inside = try FileDescriptor.open(FilePath(mount.directory), O_RDONLY)
    #expect(!mount.overlay.unmount())
    inside.close()
    #expect(eventually { mount.overlay.unmount() })
    #expect(mount.overlay.serve() == .unmounted)
    #expect(try MountTable.top(at: FilePath(mount.directory)) == nil)
  }

  @Test func stoppingEndsAMountInUseAndEveryWait() throws {
    let mount = try Mount()
    defer { mount.end() }
    try mount.sh("echo x > f")
    let holder = try FileDescriptor.open(FilePath(mount.directory + "/f"), O_RDWR)
    let waiter = try FileDescriptor.open(FilePath(mount.directory + "/f"), O_RDWR)
    #expect(flock(holder.rawValue, LOCK_EX) == 0)
    let result = Monitor<Int32?>(nil)
    try SystemThread.start {
      let answer = flock(waiter.rawValue, LOCK_EX)
      result.update { $0 = answer }
    }
    #expect(eventually { mount.overlay.locks.waiting == 1 })
    mount.overlay.stop()
    #expect(mount.overlay.serve() == .stopped)
    #expect(result.wait { $0 } == -1)
    holder.close()
    waiter.close()
    try #expect(Outcome.of("ls -A", in: mount.directory).output == "f\n")
  }

  @Test func theDeviceIsTheMountsOwn() throws {
    try withMount { mount in
      let shown = try FileDescriptor.workingDirectory.status(of: FilePath(mount.directory)).key.device
      #expect(mount.overlay.device == shown)
      let lower = try mount.overlay.rootDescriptor.status().key.device
      #expect(shown != lower)
    }
  }

  @Test func anyBytesMayBeInTheMountsOwnPath() throws {
    let base = "/tmp/casher-overlay-names.\(getpid())"
    let directory = FilePath(Array("\(base)/a, b\\c\n".utf8) + [0xff])
    defer { _ = try? Outcome.of("rm -rf '\(base)'", in: "/") }
    try FileDescriptor.workingDirectory.makeDirectory(FilePath(base), mode: 0o755)
    try FileDescriptor.workingDirectory.makeDirectory(directory, mode: 0o755)
    let overlay = try Overlay(configuration: .init(directory: directory), recorder: CallLog())
    try overlay.mount()
    umask(0o022)
    #expect(try MountTable.top(at: directory)?.type == Overlay.mountType)
    overlay.stop()
    #expect(try MountTable.top(at: directory) == nil)
  }
}
