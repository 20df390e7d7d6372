// libfuse's low-level interface, and what Swift or libfuse before 3.17 leaves out of it.
#pragma once
#define FUSE_USE_VERSION 314
#include <stdint.h>
#include <sys/statvfs.h>
#include <fuse3/fuse_lowlevel.h>

// Passthrough (Linux 6.9, Documentation/filesystems/fuse-passthrough.rst) for a libfuse whose headers do not have it: two
// replies are completed on their way to the kernel, and the backing files are registered on the device itself.

// Reads and writes of the session go through this file from now on. 0, or a negative errno.
int casher_fuse_install_io(struct fuse_session *session, int device);
// What the kernel offered in INIT; valid in the thread that handles it.
int casher_fuse_kernel_offers_passthrough(void);
// The INIT reply that this thread sends next accepts passthrough.
void casher_fuse_accept_passthrough(void);
// The OPEN or CREATE reply that this thread sends next passes I/O on to this backing file; 0 forgets it.
void casher_fuse_next_open_backing(int32_t backing);
// Registers an open file (O_PATH will do) as a backing file: an id above 0, or a negative errno.
int32_t casher_fuse_backing_open(int device, int fd);
int casher_fuse_backing_close(int device, int32_t backing);

// The session's loop with `max_threads` workers, of which `idle_threads` stay when there is nothing to do.
int casher_fuse_loop(struct fuse_session *session, unsigned max_threads, unsigned idle_threads);
