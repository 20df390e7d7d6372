#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "CLinux.h"
#include <sys/vfs.h>
#include <unistd.h>

int casher_syncfs(int fd) { return syncfs(fd); }

long casher_filesystem_type(int fd) {
  struct statfs result;
  if (fstatfs(fd, &result) < 0) return -1;
  return (long)result.f_type;
}
