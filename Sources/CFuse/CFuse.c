#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "CFuse.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

// Layouts of the kernel's interface, <linux/fuse.h> of version 7.40.
struct out_header {
  uint32_t len;
  int32_t error;
  uint64_t unique;
};
struct in_header {
  uint32_t len, opcode;
  uint64_t unique, nodeid;
  uint32_t uid, gid, pid;
  uint16_t total_extlen, padding;
};
struct init_in {
  uint32_t major, minor, max_readahead, flags, flags2, unused[11];
};
struct init_out {
  uint32_t major, minor, max_readahead, flags;
  uint16_t max_background, congestion_threshold;
  uint32_t max_write, time_gran;
  uint16_t max_pages, map_alignment;
  uint32_t flags2, max_stack_depth;
  uint16_t request_timeout, unused[11];
};
struct open_out {
  uint64_t fh;
  uint32_t open_flags;
  int32_t backing_id;
};
struct backing_map {
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
_Static_assert(sizeof(struct init_out) == 64, "");
_Static_assert(sizeof(struct open_out) == 16, "");

enum { OPCODE_INIT = 26, MINOR_WITH_PASSTHROUGH = 40 };
#define INIT_EXT (1u << 30)
#define PASSTHROUGH_IN_FLAGS2 (1u << (37 - 32))
#define OPEN_KEEP_CACHE (1u << 1)
#define OPEN_PASSTHROUGH (1u << 7)

// A request is read, handled and answered by one thread.
static __thread int offers_passthrough, accept_passthrough;
static __thread int32_t next_backing;

int casher_fuse_kernel_offers_passthrough(void) { return offers_passthrough; }
void casher_fuse_accept_passthrough(void) { accept_passthrough = 1; }
void casher_fuse_next_open_backing(int32_t backing) { next_backing = backing; }

static ssize_t io_read(int fd, void *buffer, size_t size, void *context) {
  (void)context;
  ssize_t result = read(fd, buffer, size);
  if (result >= (ssize_t)(sizeof(struct in_header) + sizeof(struct init_in))) {
    const struct in_header *header = buffer;
    if (header->opcode == OPCODE_INIT) {
      const struct init_in *init = (const void *)(header + 1);
      offers_passthrough = (init->flags & INIT_EXT) && (init->flags2 & PASSTHROUGH_IN_FLAGS2);
    }
  }
  return result;
}

static ssize_t io_writev(int fd, struct iovec *parts, int count, void *context) {
  (void)context;
  if (count == 2) {
    const struct out_header *header = parts[0].iov_base;
    if (accept_passthrough && header->error == 0 && parts[1].iov_len == sizeof(struct init_out)) {
      struct init_out *init = parts[1].iov_base;
      init->flags |= INIT_EXT;
      init->flags2 |= PASSTHROUGH_IN_FLAGS2;
      init->max_stack_depth = 1;
      if (init->minor < MINOR_WITH_PASSTHROUGH) init->minor = MINOR_WITH_PASSTHROUGH;
      accept_passthrough = 0;
    } else if (next_backing > 0 && header->error == 0 && parts[1].iov_len >= sizeof(struct open_out)) {
      struct open_out *open = (void *)((char *)parts[1].iov_base + parts[1].iov_len - sizeof(struct open_out));
      open->open_flags |= OPEN_PASSTHROUGH;
      open->open_flags &= ~OPEN_KEEP_CACHE;
      open->backing_id = next_backing;
      next_backing = 0;
    }
  }
  return writev(fd, parts, count);
}

static ssize_t io_splice_receive(int in, off_t *inOffset, int out, off_t *outOffset, size_t size, unsigned flags, void *context) {
  (void)context;
  return splice(in, inOffset, out, outOffset, size, flags);
}

static ssize_t io_splice_send(int in, off_t *inOffset, int out, off_t *outOffset, size_t size, unsigned flags, void *context) {
  (void)context;
  return splice(in, inOffset, out, outOffset, size, flags);
}

int casher_fuse_install_io(struct fuse_session *session, int device) {
  const struct fuse_custom_io io = {
      .writev = io_writev, .read = io_read, .splice_receive = io_splice_receive, .splice_send = io_splice_send};
  return fuse_session_custom_io(session, &io, device);
}

int32_t casher_fuse_backing_open(int device, int fd) {
  struct backing_map map = {.fd = fd};
  int result = ioctl(device, _IOW(229, 1, struct backing_map), &map);
  return result < 0 ? -errno : result;
}

int casher_fuse_backing_close(int device, int32_t backing) {
  uint32_t id = (uint32_t)backing;
  return ioctl(device, _IOW(229, 2, uint32_t), &id) < 0 ? -errno : 0;
}

int casher_fuse_loop(struct fuse_session *session, unsigned max_threads, unsigned idle_threads) {
  struct fuse_loop_config *config = fuse_loop_cfg_create();
  if (!config) return -ENOMEM;
  fuse_loop_cfg_set_clone_fd(config, 1);
  fuse_loop_cfg_set_max_threads(config, max_threads);
  fuse_loop_cfg_set_idle_threads(config, idle_threads);
  int result = fuse_session_loop_mt(session, config);
  fuse_loop_cfg_destroy(config);
  return result;
}
