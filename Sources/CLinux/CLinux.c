#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "CLinux.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

_Static_assert(CASHER_S_IFMT == S_IFMT && CASHER_S_IFREG == S_IFREG && CASHER_S_IFDIR == S_IFDIR, "");
_Static_assert(CASHER_S_IFLNK == S_IFLNK && CASHER_S_IFIFO == S_IFIFO && CASHER_S_IFSOCK == S_IFSOCK, "");
_Static_assert(CASHER_S_IFCHR == S_IFCHR && CASHER_S_IFBLK == S_IFBLK, "");
_Static_assert(CASHER_O_PATH == O_PATH && CASHER_O_TMPFILE == O_TMPFILE && CASHER_AT_EMPTY_PATH == AT_EMPTY_PATH, "");
_Static_assert(CASHER_RENAME_NOREPLACE == RENAME_NOREPLACE && CASHER_RENAME_EXCHANGE == RENAME_EXCHANGE, "");
_Static_assert(CASHER_UTIME_NOW == UTIME_NOW && CASHER_UTIME_OMIT == UTIME_OMIT, "");
_Static_assert(CASHER_CLONE_NEWNS == CLONE_NEWNS && CASHER_CLONE_NEWUSER == CLONE_NEWUSER, "");
_Static_assert(CASHER_SEEK_DATA == SEEK_DATA && CASHER_SEEK_HOLE == SEEK_HOLE, "");
_Static_assert(CASHER_PR_SET_CHILD_SUBREAPER == PR_SET_CHILD_SUBREAPER, "");

int casher_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }
int casher_openat(int dir, const char *path, int flags, mode_t mode) { return openat(dir, path, flags, mode); }
int casher_fcntl(int fd, int command, long argument) { return fcntl(fd, command, argument); }
int casher_renameat2(int from, const char *name, int to, const char *newName, unsigned flags) {
  return renameat2(from, name, to, newName, flags);
}
int casher_ficlone(int destination, int source) { return ioctl(destination, _IOW(0x94, 9, int), source); }
int casher_fionread(int fd, int *count) { return ioctl(fd, FIONREAD, count); }
int casher_gettid(void) { return (int)syscall(SYS_gettid); }
int casher_thread_setfsuid(uid_t uid) { return (int)syscall(SYS_setfsuid, uid); }
int casher_thread_setfsgid(gid_t gid) { return (int)syscall(SYS_setfsgid, gid); }
int casher_thread_setgroups(size_t count, const gid_t *groups) {
  return (int)syscall(SYS_setgroups, count, groups);
}
int casher_prctl(int option, unsigned long argument) { return prctl(option, argument, 0, 0, 0); }
long casher_getdents64(int fd, void *buffer, size_t size) { return syscall(SYS_getdents64, fd, buffer, size); }
int casher_exited(int status) { return WIFEXITED(status); }
int casher_exit_status(int status) { return WEXITSTATUS(status); }
int casher_signaled(int status) { return WIFSIGNALED(status); }
int casher_term_signal(int status) { return WTERMSIG(status); }
int casher_stopped(int status) { return WIFSTOPPED(status); }

enum { MAX_FDS = 4 };

ssize_t casher_send_with_fds(int socket, const void *bytes, size_t size, const int *fds, int count) {
  if (count < 0 || count > MAX_FDS) {
    errno = EINVAL;
    return -1;
  }
  // Who watches sendmsg cannot tell that it has no address.
  if (count == 0) return send(socket, bytes, size, MSG_NOSIGNAL);
  struct iovec part = {.iov_base = (void *)bytes, .iov_len = size};
  union {
    char space[CMSG_SPACE(sizeof(int) * MAX_FDS)];
    struct cmsghdr align;
  } control;
  memset(&control, 0, sizeof control);
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (count > 0) {
    message.msg_control = control.space;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * (size_t)count);
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL);
}

ssize_t casher_receive_with_fds(int socket, void *bytes, size_t size, int *fds, int *count) {
  struct iovec part = {.iov_base = bytes, .iov_len = size};
  union {
    char space[CMSG_SPACE(sizeof(int) * MAX_FDS)];
    struct cmsghdr align;
  } control;
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
  *count = 0;
  ssize_t result = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (result < 0) return result;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    int received = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    for (int i = 0; i < received && *count < MAX_FDS; i++) memcpy(&fds[(*count)++], CMSG_DATA(header) + sizeof(int) * (size_t)i, sizeof(int));
  }
  return result;
}

int casher_peer_credentials(int socket, pid_t *pid, uid_t *uid, gid_t *gid) {
  struct ucred credentials;
  socklen_t size = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0) return -1;
  *pid = credentials.pid;
  *uid = credentials.uid;
  *gid = credentials.gid;
  return 0;
}

int casher_peer_groups(int socket, gid_t *groups, int *count) {
  socklen_t size = (socklen_t)*count * sizeof(gid_t);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) return -1;
  *count = (int)(size / sizeof(gid_t));
  return 0;
}

ssize_t casher_copy_file_range(int from, int64_t *fromOffset, int to, int64_t *toOffset, size_t count) {
  return copy_file_range(from, (off64_t *)fromOffset, to, (off64_t *)toOffset, count, 0);
}
int casher_fallocate(int fd, int mode, int64_t offset, int64_t length) { return fallocate(fd, mode, offset, length); }
int casher_unshare(int flags) { return unshare(flags); }
int casher_pipe2(int fds[2], int flags) { return pipe2(fds, flags); }
int casher_memfd_create(const char *name, unsigned flags) { return memfd_create(name, flags); }
ssize_t casher_tee(int from, int to, size_t count, unsigned flags) { return tee(from, to, count, flags); }
ssize_t casher_splice(int from, int64_t *fromOffset, int to, int64_t *toOffset, size_t count, unsigned flags) {
  return splice(from, (off64_t *)fromOffset, to, (off64_t *)toOffset, count, flags);
}
int casher_birth_time(int directory, const char *path, int64_t *nanoseconds) {
  struct statx status;
  if (statx(directory, path, AT_SYMLINK_NOFOLLOW, STATX_BTIME, &status) < 0) return -1;
  if (!(status.stx_mask & STATX_BTIME)) return -1;
  *nanoseconds = (int64_t)status.stx_btime.tv_sec * 1000000000 + status.stx_btime.tv_nsec;
  return 0;
}
int casher_memmem(const void *bytes, size_t size, const void *sought, size_t soughtSize) {
  return memmem(bytes, size, sought, soughtSize) != NULL;
}
