import CFuse
import CLinux
import CasherSystem
import Glibc

/// The table of callbacks for libfuse. None of them captures anything: each finds its overlay by its request.
enum Operations {
  static func table() -> fuse_lowlevel_ops {
    var table = fuse_lowlevel_ops()
    setUp(&table)
    lookUp(&table)
    attributes(&table)
    change(&table)
    files(&table)
    directories(&table)
    extendedAttributes(&table)
    lock(&table)
    return table
  }

  private static func setUp(_ table: inout fuse_lowlevel_ops) {
    table.`init` = { context, connection in
      guard let context, let connection else { return }
      let overlay = Unmanaged<Overlay>.fromOpaque(context).takeUnretainedValue()
      func want(_ capability: UInt32) {
        if connection.pointee.capable & capability != 0 { connection.pointee.want |= capability }
      }
      want(UInt32(FUSE_CAP_SPLICE_READ))
      want(UInt32(FUSE_CAP_SPLICE_WRITE))
      want(UInt32(FUSE_CAP_SPLICE_MOVE))
      want(UInt32(FUSE_CAP_ATOMIC_O_TRUNC))
      want(UInt32(FUSE_CAP_CACHE_SYMLINKS))
      want(UInt32(FUSE_CAP_READDIRPLUS))
      want(UInt32(FUSE_CAP_READDIRPLUS_AUTO))
      // The kernel clears set-id bits itself, by SETATTR, when a file is written.
      connection.pointee.want &= ~UInt32(FUSE_CAP_HANDLE_KILLPRIV)
      connection.pointee.want &= ~UInt32(FUSE_CAP_WRITEBACK_CACHE)
      connection.pointee.max_write = 1 << 20
      connection.pointee.max_background = 64
      if overlay.wantsPassthrough, casher_fuse_kernel_offers_passthrough() != 0 {
        casher_fuse_accept_passthrough()
        overlay.acceptPassthrough()
      }
    }
    table.statfs = { request, _ in
      guard let request = Request(request) else { return }
      request.note(.statfs)
      var result = statvfs()
      if fstatvfs(request.overlay.rootDescriptor.rawValue, &result) < 0 {
        request.fail(.current)
      } else {
        fuse_reply_statfs(request.pointer, &result)
      }
    }
    table.ioctl = { request, _, _, _, _, _, _, _, _ in
      guard let request = Request(request) else { return }
      request.note(.ioctl)
      request.fail(.notTerminal)
    }
  }
}
