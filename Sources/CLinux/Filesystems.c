#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "CLinux.h"
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

int casher_syncfs(int fd) { return syncfs(fd); }

long casher_filesystem_type(int fd) {
  struct statfs result;
  if (fstatfs(fd, &result) < 0) return -1;
  return (long)result.f_type;
}

int casher_write_in_place(int fd) {
  int flags;
  if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0) return -1;
  flags |= FS_NOCOW_FL;
  return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}
