#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "CFuse.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

// From the kernel's include/uapi/linux/fuse.h, version 7.40; older headers lack some of it.
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
struct attributes {
  uint64_t ino, size, blocks, atime, mtime, ctime;
  uint32_t atimensec, mtimensec, ctimensec, mode, nlink, uid, gid, rdev, blksize, flags;
};
struct attributes_out {
  uint64_t valid;
  uint32_t valid_nsec, dummy;
  struct attributes attributes;
};
struct wide_time {
  int64_t sec;
  uint32_t nsec;
  int32_t reserved;
};
struct wide_attributes_out {
  uint64_t valid;
  uint32_t valid_nsec, flags;
  uint64_t spare[2];
  uint32_t mask, blksize;
  uint64_t attributes;
  uint32_t nlink, uid, gid;
  uint16_t mode, spare0;
  uint64_t ino, size, blocks, attributes_mask;
  struct wide_time atime, btime, ctime, mtime;
  uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
  uint64_t spare2[14];
};
_Static_assert(sizeof(struct attributes_out) == 104 && sizeof(struct wide_attributes_out) == 288, "");
_Static_assert(sizeof(struct in_header) == 40 && sizeof(struct out_header) == 16, "");
_Static_assert(sizeof(struct init_out) == 64 && sizeof(struct open_out) == 16, "");

enum { OPCODE_GETATTR = 3, OPCODE_INIT = 26, OPCODE_CREATE = 35, OPCODE_TMPFILE = 51, OPCODE_STATX = 52 };
enum { FIRST_MINOR_WITH_PASSTHROUGH = 40 };
// STATX_BASIC_STATS and STATX_BTIME.
enum { WIDE_BASIC = 0x7ff, WIDE_BIRTH = 0x800 };
#define INIT_EXT (1u << 30)
#define HANDLE_KILLPRIV_V2 (1u << 28)
#define INIT2_PASSTHROUGH (1u << (37 - 32))
#define OPEN_KEEP_CACHE (1u << 1)
#define OPEN_PASSTHROUGH (1u << 7)
#define DEVICE_BACKING_OPEN _IOW(229, 1, struct backing_map)
#define DEVICE_BACKING_CLOSE _IOW(229, 2, uint32_t)

static __thread int next_backing;

void cfuse_pass_next_open(int id) { next_backing = id; }

// The calling thread's request is a STATX of this number; 0 when it is another.
static __thread uint64_t wide_request;
static __thread int64_t wide_birth;

int cfuse_wants_birth(void) { return wide_request != 0; }
void cfuse_tell_birth(int64_t nanoseconds) { wide_birth = nanoseconds; }

// Both begin as the requests do that libfuse knows.
static void translate(struct in_header *header) {
  wide_request = 0;
  if (header->opcode == OPCODE_TMPFILE) header->opcode = OPCODE_CREATE;
  if (header->opcode == OPCODE_STATX) {
    header->opcode = OPCODE_GETATTR;
    wide_request = header->unique;
    wide_birth = 0;
  }
}

static void widen(const struct attributes_out *reply, struct wide_attributes_out *wide) {
  const struct attributes *from = &reply->attributes;
  *wide = (struct wide_attributes_out){
      .valid = reply->valid, .valid_nsec = reply->valid_nsec, .mask = WIDE_BASIC, .blksize = from->blksize,
      .nlink = from->nlink, .uid = from->uid, .gid = from->gid, .mode = (uint16_t)from->mode, .ino = from->ino,
      .size = from->size, .blocks = from->blocks, .atime = {(int64_t)from->atime, from->atimensec, 0},
      .ctime = {(int64_t)from->ctime, from->ctimensec, 0}, .mtime = {(int64_t)from->mtime, from->mtimensec, 0},
      .rdev_major = from->rdev >> 8 & 0xfff, .rdev_minor = (from->rdev & 0xff) | (from->rdev >> 12 & 0xfff00)};
  if (wide_birth == 0) return;
  const int64_t second = 1000000000;
  int64_t rest = wide_birth % second < 0 ? wide_birth % second + second : wide_birth % second;
  wide->mask |= WIDE_BIRTH;
  wide->btime = (struct wide_time){(wide_birth - rest) / second, (uint32_t)rest, 0};
}

// The kernel hands requests to the threads that wait for them in turn. Where many wait, each request finds a thread that has
// slept for long, at a third of the cost of a request; so no more wait there than can run at once, and the others park.
// Both waits can be cancelled, which is how libfuse ends its threads.
static void begin_waiting(struct cfuse_context *context) {
  for (;;) {
    int waiting = __atomic_load_n(&context->waiting, __ATOMIC_SEQ_CST);
    if (waiting < context->most_waiting) {
      if (__atomic_compare_exchange_n(
              &context->waiting, &waiting, waiting + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return;
      continue;
    }
    __atomic_add_fetch(&context->parked, 1, __ATOMIC_SEQ_CST);
    // Who takes the last place away sees this thread parked, or this thread sees the place free.
    if (__atomic_load_n(&context->waiting, __ATOMIC_SEQ_CST) > 0) sem_wait(&context->parking);
    __atomic_sub_fetch(&context->parked, 1, __ATOMIC_SEQ_CST);
  }
}

static void end_waiting(struct cfuse_context *context) {
  if (__atomic_sub_fetch(&context->waiting, 1, __ATOMIC_SEQ_CST) > 0) return;
  // A thread that was not parked any more leaves the post to the next, which looks again.
  if (__atomic_load_n(&context->parked, __ATOMIC_SEQ_CST) > 0) sem_post(&context->parking);
}

static ssize_t read_request(int fd, void *buffer, size_t size, void *data) {
  struct cfuse_context *context = data;
  begin_waiting(context);
  ssize_t count = read(fd, buffer, size);
  int error = errno;
  end_waiting(context);
  errno = error;
  if (count >= (ssize_t)sizeof(struct in_header)) translate(buffer);
  if (!context->init_unique && count >= (ssize_t)(sizeof(struct in_header) + 16)) {
    const struct in_header *header = buffer;
    const struct init_in *init = (const void *)(header + 1);
    if (header->opcode == OPCODE_INIT && init->major == 7) {
      context->init_unique = header->unique;
      context->offered = init->flags;
      if (init->flags & INIT_EXT && count >= (ssize_t)(sizeof *header + sizeof *init))
        context->offered |= (uint64_t)init->flags2 << 32;
    }
  }
  return count;
}

static void patch_init(struct cfuse_context *context, struct init_out *reply) {
  if (context->wants_killpriv && context->offered & HANDLE_KILLPRIV_V2) {
    reply->flags |= HANDLE_KILLPRIV_V2;
  }
  if (context->wants_passthrough && context->offered >> 32 & INIT2_PASSTHROUGH) {
    reply->flags |= INIT_EXT;
    reply->flags2 |= INIT2_PASSTHROUGH;
    reply->max_stack_depth = context->stack_depth;
    if (reply->minor < FIRST_MINOR_WITH_PASSTHROUGH) reply->minor = FIRST_MINOR_WITH_PASSTHROUGH;
    __atomic_store_n(&context->has_passthrough, 1, __ATOMIC_RELEASE);
  }
}

static ssize_t write_reply(int fd, struct iovec *parts, int count, void *data) {
  struct cfuse_context *context = data;
  struct out_header *header = parts[0].iov_base;
  int is_init = 0;
  if (!context->is_answered && count == 2 && context->init_unique != 0 && header->unique == context->init_unique) {
    // The only reply so far: the kernel sends nothing else before it has this one.
    context->is_answered = is_init = 1;
    if (header->error == 0 && parts[1].iov_len == sizeof(struct init_out)) patch_init(context, parts[1].iov_base);
  }
  if (next_backing > 0 && count == 2 && header->unique != 0) {
    if (header->error == 0 && parts[1].iov_len >= sizeof(struct open_out)) {
      struct open_out *reply = (void *)((char *)parts[1].iov_base + parts[1].iov_len - sizeof(struct open_out));
      reply->open_flags = (reply->open_flags | OPEN_PASSTHROUGH) & ~OPEN_KEEP_CACHE;
      reply->backing_id = next_backing;
    }
    next_backing = 0;
  }
  struct wide_attributes_out wide;
  if (wide_request != 0 && header->unique == wide_request) {
    wide_request = 0;
    if (header->error == 0 && count == 2 && parts[1].iov_len == sizeof(struct attributes_out)) {
      widen(parts[1].iov_base, &wide);
      parts[1] = (struct iovec){&wide, sizeof wide};
      header->len = sizeof *header + sizeof wide;
    }
  }
  ssize_t written = writev(fd, parts, count);
  if (is_init && written >= 0 && header->error == 0) __atomic_store_n(&context->is_answered, 2, __ATOMIC_RELEASE);
  return written;
}

static ssize_t splice_pages(int in, off_t *inOffset, int out, off_t *outOffset, size_t size, unsigned flags, void *data) {
  (void)data;
  return splice(in, inOffset, out, outOffset, size, flags);
}

int cfuse_install(struct fuse_session *session, int fd) {
  const struct fuse_custom_io io = {
      .writev = write_reply, .read = read_request, .splice_receive = splice_pages, .splice_send = splice_pages};
  return fuse_session_custom_io(session, &io, fd);
}

int cfuse_prepare(struct cfuse_context *context, int most_waiting) {
  context->most_waiting = most_waiting;
  return sem_init(&context->parking, 0, 0);
}

int cfuse_is_negotiated(struct cfuse_context *context) {
  return __atomic_load_n(&context->is_answered, __ATOMIC_ACQUIRE) == 2;
}

int cfuse_has_passthrough(struct cfuse_context *context) {
  return __atomic_load_n(&context->has_passthrough, __ATOMIC_ACQUIRE);
}

int cfuse_backing_open(struct fuse_session *session, int fd) {
  struct backing_map map = {.fd = fd};
  int id = ioctl(fuse_session_fd(session), DEVICE_BACKING_OPEN, &map);
  return id < 0 ? -errno : id;
}

void cfuse_backing_close(struct fuse_session *session, int id) {
  uint32_t number = (uint32_t)id;
  ioctl(fuse_session_fd(session), DEVICE_BACKING_CLOSE, &number);
}

int cfuse_forget_names(struct fuse_session *session) {
  const int notify_inc_epoch = 8;
  struct out_header header = {.len = sizeof header, .error = notify_inc_epoch, .unique = 0};
  return write(fuse_session_fd(session), &header, sizeof header) < 0 ? -errno : 0;
}

int cfuse_ended_descriptor(void) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
  close(ends[0]);
  return ends[1];
}

void cfuse_disconnect(struct fuse_session *session, int ended) {
  // libfuse unmounts nothing when its descriptor says that the connection has ended.
  dup3(ended, fuse_session_fd(session), O_CLOEXEC);
  close(ended);
  fuse_session_unmount(session);
}

int cfuse_loop(struct fuse_session *session, unsigned threads, unsigned idle) {
  struct fuse_loop_config *config = fuse_loop_cfg_create();
  if (!config) return -ENOMEM;
  fuse_loop_cfg_set_clone_fd(config, 1);
  fuse_loop_cfg_set_max_threads(config, threads);
  fuse_loop_cfg_set_idle_threads(config, idle);
  int result = fuse_session_loop_mt(session, config);
  fuse_loop_cfg_destroy(config);
  return result;
}

static void (*log_handler)(const char *message);

static void log_message(enum fuse_log_level level, const char *format, va_list arguments) {
  (void)level;
  char message[1024];
  vsnprintf(message, sizeof message, format, arguments);
  if (log_handler) log_handler(message);
}

void cfuse_set_log(void (*handler)(const char *message)) {
  log_handler = handler;
  fuse_set_log_func(log_message);
}
