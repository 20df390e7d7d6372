#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "CLinuxOverlay.h"
#include <malloc.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

_Static_assert(CASHER_RENAME_WHITEOUT == RENAME_WHITEOUT && CASHER_AT_SYMLINK_FOLLOW == AT_SYMLINK_FOLLOW, "");
_Static_assert(CASHER_O_DIRECT == O_DIRECT, "");

static struct timespec time_of(const struct statx_timestamp *time) {
  return (struct timespec){.tv_sec = time->tv_sec, .tv_nsec = time->tv_nsec};
}

static int look(
    int directory, const char *name, unsigned wanted, struct stat *status, int64_t *birth, uint64_t *mount) {
  struct statx x;
  int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);
  if (statx(directory, name, flags, STATX_BASIC_STATS | STATX_BTIME | wanted, &x) < 0) return -1;
  // STATX_MNT_ID_UNIQUE; older headers have no name for the field that follows the device numbers.
  memcpy(mount, (const char *)&x + 0x90, sizeof *mount);
  memset(status, 0, sizeof *status);
  status->st_dev = makedev(x.stx_dev_major, x.stx_dev_minor);
  status->st_ino = x.stx_ino;
  status->st_nlink = x.stx_nlink;
  status->st_mode = x.stx_mode;
  status->st_uid = x.stx_uid;
  status->st_gid = x.stx_gid;
  status->st_rdev = makedev(x.stx_rdev_major, x.stx_rdev_minor);
  status->st_size = (off_t)x.stx_size;
  status->st_blksize = x.stx_blksize;
  status->st_blocks = (blkcnt_t)x.stx_blocks;
  status->st_atim = time_of(&x.stx_atime);
  status->st_mtim = time_of(&x.stx_mtime);
  status->st_ctim = time_of(&x.stx_ctime);
  *birth = x.stx_mask & STATX_BTIME ? x.stx_btime.tv_sec * 1000000000 + x.stx_btime.tv_nsec : 0;
  return 0;
}

int casher_device(int fd, uint64_t *device) {
  struct statx x;
  if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, 0, &x) < 0) return -1;
  *device = makedev(x.stx_dev_major, x.stx_dev_minor);
  return 0;
}

int casher_status_with_birth(int directory, const char *name, struct stat *status, int64_t *birth) {
  uint64_t mount;
  return look(directory, name, 0, status, birth, &mount);
}

int casher_status_with_mount(int directory, const char *name, struct stat *status, int64_t *birth) {
  enum { UNIQUE_MOUNT_NUMBER = 0x4000 };
  uint64_t mount = 0;
  if (look(directory, name, UNIQUE_MOUNT_NUMBER, status, birth, &mount) < 0) return -1;
  status->st_dev |= mount << 32;
  return 0;
}

ssize_t casher_copy_file_range_flags(
    int from, int64_t *fromOffset, int to, int64_t *toOffset, size_t count, unsigned flags) {
  return copy_file_range(from, (off64_t *)fromOffset, to, (off64_t *)toOffset, count, flags);
}

int casher_protection(int fd) {
  struct statx x;
  if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, 0, &x) < 0) return -1;
  if (x.stx_attributes & STATX_ATTR_IMMUTABLE) return CASHER_IMMUTABLE;
  return x.stx_attributes & STATX_ATTR_APPEND ? CASHER_APPEND_ONLY : 0;
}

int casher_thread_umask(mode_t mask) {
  static __thread int is_own;
  if (!is_own && unshare(CLONE_FS) < 0) return -1;
  is_own = 1;
  umask(mask);
  return 0;
}

uint64_t casher_raise_descriptor_limit(void) {
  unsigned long most = 0;
  FILE *file = fopen("/proc/sys/fs/nr_open", "re");
  if (file) {
    if (fscanf(file, "%lu", &most) != 1) most = 0;
    fclose(file);
  }
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 1024;
  struct rlimit wish = {.rlim_cur = most, .rlim_max = most};
  if (most <= limit.rlim_max || setrlimit(RLIMIT_NOFILE, &wish) < 0) {
    wish = (struct rlimit){.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &wish);
  }
  return getrlimit(RLIMIT_NOFILE, &limit) < 0 ? 1024 : limit.rlim_cur;
}

int casher_chmod_path_descriptor(int fd, unsigned mode) {
  const long fchmodat2 = 452;
  return (int)syscall(fchmodat2, fd, "", mode, AT_EMPTY_PATH);
}

static void nothing(int signal) { (void)signal; }

int casher_ignore_with_handler(int signal) {
  struct sigaction action = {.sa_handler = nothing};
  return sigaction(signal, &action, NULL);
}

void casher_trim_memory(void) { malloc_trim(0); }

int casher_run(char *const arguments[]) {
  pid_t process;
  if (posix_spawnp(&process, arguments[0], NULL, NULL, arguments, environ) != 0) return -1;
  int status;
  while (waitpid(process, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
