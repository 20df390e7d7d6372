#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "CLinux.h"
#include <spawn.h>

int casher_spawn_close_from(void *actions, int first) {
  return posix_spawn_file_actions_addclosefrom_np(actions, first);
}
short casher_spawn_new_session(void) { return POSIX_SPAWN_SETSID; }
