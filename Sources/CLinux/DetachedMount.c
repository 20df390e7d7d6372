#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "DetachedMount.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

// From the kernel's include/uapi/linux/mount.h; the numbers of the calls are the same on every machine.
enum { CALL_OPEN_TREE = 428, CALL_MOVE_MOUNT = 429, CALL_FSOPEN = 430, CALL_FSCONFIG = 431, CALL_FSMOUNT = 432 };
enum { CLOSE_FS_ON_EXEC = 1, CONFIGURE_FLAG = 0, CONFIGURE_STRING = 1, CONFIGURE_CREATE = 6, CLOSE_MOUNT_ON_EXEC = 1 };
enum { CLONE_TREE = 1, WHOLE_TREE = 0x8000, FROM_EMPTY_PATH = 4 };

// Of statx(2) and listmount(2), which the C library's headers need not have.
enum { CALL_LISTMOUNT = 458, MOUNT_NUMBER = 0x1000, UNIQUE_MOUNT_NUMBER = 0x4000, NO_REQUEST = 0x4000 };
struct list_request {
  uint32_t size, unused;
  uint64_t mount, after;
};

static int set(int filesystem, const char *key, const char *value) {
  return (int)syscall(CALL_FSCONFIG, filesystem, value ? CONFIGURE_STRING : CONFIGURE_FLAG, key, value, 0);
}

int casher_mount_fuse_detached(int device, uint32_t user, uint32_t group) {
  int filesystem = (int)syscall(CALL_FSOPEN, "fuse", CLOSE_FS_ON_EXEC);
  if (filesystem < 0) return -1;
  char numbers[3][16];
  snprintf(numbers[0], sizeof numbers[0], "%d", device);
  snprintf(numbers[1], sizeof numbers[1], "%u", user);
  snprintf(numbers[2], sizeof numbers[2], "%u", group);
  int mount = -1;
  if (set(filesystem, "source", "casherfs-view") == 0 && set(filesystem, "subtype", "casherfs-view") == 0 &&
      set(filesystem, "fd", numbers[0]) == 0 && set(filesystem, "rootmode", "40000") == 0 &&
      set(filesystem, "user_id", numbers[1]) == 0 && set(filesystem, "group_id", numbers[2]) == 0 &&
      set(filesystem, "allow_other", NULL) == 0 && set(filesystem, "default_permissions", NULL) == 0 &&
      syscall(CALL_FSCONFIG, filesystem, CONFIGURE_CREATE, NULL, NULL, 0) == 0) {
    mount = (int)syscall(CALL_FSMOUNT, filesystem, CLOSE_MOUNT_ON_EXEC, 0);
  }
  int error = errno;
  close(filesystem);
  errno = error;
  return mount;
}

int casher_clone_tree(int directory, const char *path, int recursive) {
  unsigned flags = CLONE_TREE | O_CLOEXEC | AT_NO_AUTOMOUNT | (recursive ? WHOLE_TREE : 0) | (*path ? 0 : AT_EMPTY_PATH);
  return (int)syscall(CALL_OPEN_TREE, directory, path, flags);
}

int casher_attach_mount(int mount, int directory, const char *path) {
  return (int)syscall(CALL_MOVE_MOUNT, mount, "", directory, path, FROM_EMPTY_PATH);
}

// The number of the mount that the working directory is in, 0 where the kernel does not tell.
static uint64_t mount_number(unsigned kind) {
  // A struct statx: its first 32 bits say what is known, the number is at 144.
  union {
    uint32_t known;
    uint64_t words[32];
  } answer = {0};
  if (syscall(SYS_statx, AT_FDCWD, "", AT_EMPTY_PATH | NO_REQUEST, kind, &answer) < 0) return 0;
  return answer.known & kind ? answer.words[18] : 0;
}

int casher_has_mounts_below(uint64_t *mount) {
  struct list_request request = {sizeof request, 0, mount_number(UNIQUE_MOUNT_NUMBER), 0};
  uint64_t first;
  long count = -1;
  errno = ENOSYS;
  if (request.mount) count = syscall(CALL_LISTMOUNT, &request, &first, (size_t)1, 0);
  int error = errno;
  *mount = count == 0 ? 0 : mount_number(MOUNT_NUMBER);
  errno = error;
  return count < 0 ? -1 : count > 0;
}
