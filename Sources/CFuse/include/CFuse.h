// libfuse's low-level interface, and what libfuse 3.14 does not carry: passthrough of open files to lower,
// HANDLE_KILLPRIV_V2, TMPFILE and STATX. They are done where requests enter libfuse and replies leave it for the kernel
// (fuse_session_custom_io), in the kernel's own format, which does not change: so with every libfuse alike, also with one
// that could do them itself.
//
// TMPFILE arrives as a CREATE of CFUSE_NAMELESS. STATX arrives as a GETATTR, and its reply has the time of creation that
// cfuse_tell_birth said before. Requests must be read, not spliced (FUSE_CAP_SPLICE_READ), to be seen here.
#pragma once
#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <semaphore.h>
#include <stdint.h>

// One session's side of what is done below libfuse. It is the session's user data.
struct cfuse_context {
  // The object the requests are for.
  void *owner;
  // What is asked of the kernel when it offers it.
  int wants_passthrough, wants_killpriv;
  // How many stacked filesystems lower may be made of: 1, or 2 when lower is itself stacked (overlayfs).
  uint32_t stack_depth;
  // Whether the kernel was told that passthrough will be used; see cfuse_has_passthrough.
  int has_passthrough;
  // INIT, while the connection is being negotiated: its number, what the kernel offered, whether it was answered (1 while
  // the answer is on its way, 2 when the kernel has it).
  uint64_t init_unique;
  uint64_t offered;
  int is_answered;
  // How many threads wait for the kernel's requests and how many may; those that are too many wait at `parking`.
  int waiting, most_waiting, parked;
  sem_t parking;
};

// To be called once, before the session is made.
int cfuse_prepare(struct cfuse_context *context, int most_waiting);

// Makes the session read and write `fd` through functions that patch the replies to INIT, OPEN and CREATE.
int cfuse_install(struct fuse_session *session, int fd);
// Whether the kernel has the answer to INIT: the mount works.
int cfuse_is_negotiated(struct cfuse_context *context);
// Whether files can be registered, as far as the negotiation goes. To be called when a request has been served.
int cfuse_has_passthrough(struct cfuse_context *context);
// Registers `fd`, which may be O_PATH, as a file that the kernel reads and writes by itself: its id, or -errno.
int cfuse_backing_open(struct fuse_session *session, int fd);
void cfuse_backing_close(struct fuse_session *session, int id);
// The next reply to OPEN or CREATE of the calling thread lets the kernel use the backing file; 0 takes it back.
void cfuse_pass_next_open(int id);

// No file's name; the kernel sends it with TMPFILE.
#define CFUSE_NAMELESS "/"
// Whether the request that the calling thread serves asks for the time of creation too.
int cfuse_wants_birth(void);
// That time, nanoseconds since 1970; for the next reply to such a request.
void cfuse_tell_birth(int64_t nanoseconds);

// Makes every name that the kernel keeps be looked up again at its next use (FUSE_NOTIFY_INC_EPOCH of Linux 6.16).
// Returns 0, or -errno where the kernel does not know it.
int cfuse_forget_names(struct fuse_session *session);

// A descriptor that polls as one of an ended connection, for `cfuse_disconnect`; or -errno.
int cfuse_ended_descriptor(void);
// Closes the connection and leaves the mount table alone: fuse_session_unmount would take away whatever is mounted at
// the path by then. `ended` is taken over.
void cfuse_disconnect(struct fuse_session *session, int ended);

// fuse_session_loop_mt with a descriptor of its own for each thread, which are at most `threads`, `idle` of them kept.
// Returns 0 after an unmount or fuse_session_exit, else -errno.
int cfuse_loop(struct fuse_session *session, unsigned threads, unsigned idle);

// A message of libfuse goes to `handler` instead of standard error; to be set before any session is made.
void cfuse_set_log(void (*handler)(const char *message));
