// What Swift's importer leaves out of glibc: variadic calls, macros with casts, raw system calls, GNU constants.
// Declared without _GNU_SOURCE, because Swift's own Glibc module is built without it and the two must agree.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
// Swift's Glibc module leaves this one out.
#include <sys/xattr.h>
#include "Launch.h"
#include "Terminal.h"
#include "CLinuxOverlay.h"
#include "Capabilities.h"
#include "DetachedMount.h"
#include "Guard.h"
#include "Watch.h"

int casher_open(const char *path, int flags, mode_t mode);
int casher_openat(int dir, const char *path, int flags, mode_t mode);
int casher_fcntl(int fd, int command, long argument);
int casher_renameat2(int from, const char *name, int to, const char *newName, unsigned flags);
// FICLONE: share the extents of `source` with `destination` (ioctl_ficlone(2)).
int casher_ficlone(int destination, int source);
int casher_fionread(int fd, int *count);
int casher_gettid(void);
// Credentials of the calling thread alone; glibc's wrappers change every thread of the process.
int casher_thread_setfsuid(uid_t uid);
int casher_thread_setfsgid(gid_t gid);
int casher_thread_setgroups(size_t count, const gid_t *groups);
int casher_prctl(int option, unsigned long argument);
long casher_getdents64(int fd, void *buffer, size_t size);
int casher_syncfs(int fd);
// The magic number of the filesystem that `fd` is on (statfs(2), f_type); -1 with errno on failure.
long casher_filesystem_type(int fd);
// FS_NOCOW_FL: an empty file gets its content where it is, not elsewhere each time (ioctl_iflags(2)).
int casher_write_in_place(int fd);
int casher_exited(int status);
int casher_exit_status(int status);
int casher_signaled(int status);
int casher_term_signal(int status);
int casher_stopped(int status);

// File types, for Swift sees no macro with a cast.
enum {
  CASHER_S_IFMT = 0170000, CASHER_S_IFREG = 0100000, CASHER_S_IFDIR = 0040000, CASHER_S_IFLNK = 0120000,
  CASHER_S_IFIFO = 0010000, CASHER_S_IFSOCK = 0140000, CASHER_S_IFCHR = 0020000, CASHER_S_IFBLK = 0060000
};

// Constants that glibc shows only to _GNU_SOURCE; CLinux.c asserts that they are its own.
enum {
  CASHER_O_PATH = 010000000,
  CASHER_O_TMPFILE = 020200000,
  CASHER_AT_EMPTY_PATH = 0x1000,
  CASHER_RENAME_NOREPLACE = 1,
  CASHER_RENAME_EXCHANGE = 2,
  CASHER_UTIME_NOW = 0x3fffffff,
  CASHER_UTIME_OMIT = 0x3ffffffe,
  CASHER_CLONE_NEWNS = 0x00020000,
  CASHER_CLONE_NEWUSER = 0x10000000,
  CASHER_SEEK_DATA = 3,
  CASHER_SEEK_HOLE = 4,
  CASHER_PR_SET_CHILD_SUBREAPER = 36
};

// One message with up to 4 file descriptors beside it (unix(7), SCM_RIGHTS). Return as sendmsg(2) and recvmsg(2);
// received descriptors are close-on-exec and stand in fds[0..<*count].
ssize_t casher_send_with_fds(int socket, const void *bytes, size_t size, const int *fds, int count);
ssize_t casher_receive_with_fds(int socket, void *bytes, size_t size, int *fds, int *count);
// SO_PEERCRED of a connected Unix socket.
int casher_peer_credentials(int socket, pid_t *pid, uid_t *uid, gid_t *gid);
// `count`: room for so many, then how many there are.
int casher_peer_groups(int socket, gid_t *groups, int *count);

ssize_t casher_copy_file_range(int from, int64_t *fromOffset, int to, int64_t *toOffset, size_t count);
int casher_fallocate(int fd, int mode, int64_t offset, int64_t length);
int casher_unshare(int flags);
int casher_pipe2(int fds[2], int flags);
int casher_memfd_create(const char *name, unsigned flags);
ssize_t casher_tee(int from, int to, size_t count, unsigned flags);
ssize_t casher_splice(int from, int64_t *fromOffset, int to, int64_t *toOffset, size_t count, unsigned flags);

// For posix_spawn(3): closes every descriptor from `first` on (`actions` is a posix_spawn_file_actions_t), and the flag
// for a new session.
int casher_spawn_close_from(void *actions, int first);
short casher_spawn_new_session(void);

// statx(2): 0 and the birth time in nanoseconds, or -1 where it is not known. Does not follow symlinks.
int casher_birth_time(int directory, const char *path, int64_t *nanoseconds);
// getxattr(2) and setxattr(2), whose header Swift's Glibc module leaves out.
ssize_t casher_getxattr(const char *path, const char *name, void *value, size_t size);
int casher_setxattr(const char *path, const char *name, const void *value, size_t size);
int casher_ptrace_probe(void);
int casher_has_capabilities(int fd);
// memmem(3): 1 when the bytes are found.
int casher_memmem(const void *bytes, size_t size, const void *sought, size_t soughtSize);
// ioctl_tty(2), TIOCGWINSZ.
int casher_window_size(int fd, int *rows, int *columns);
