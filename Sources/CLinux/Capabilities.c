#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "Capabilities.h"
#include <linux/capability.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// The C library has no capset(2): the system call changes the calling thread alone, which is what is wanted here.
struct sets {
  struct __user_cap_header_struct header;
  struct __user_cap_data_struct words[2];
};

static const uint32_t bit = 1u << CAP_SYS_ADMIN;

static struct sets settled;

static int load(struct sets *sets) {
  sets->header = (struct __user_cap_header_struct){.version = _LINUX_CAPABILITY_VERSION_3};
  return (int)syscall(SYS_capget, &sets->header, sets->words);
}

static int store(struct sets *sets) { return (int)syscall(SYS_capset, &sets->header, sets->words); }

int casher_has_sys_admin(void) {
  struct sets sets;
  return load(&sets) == 0 && sets.words[0].effective & bit ? 1 : 0;
}

int casher_settle_sys_admin(enum casher_capability_use use) {
  struct sets sets;
  if (load(&sets) < 0) return 0;
  if (!((sets.words[0].effective | sets.words[0].permitted | sets.words[0].inheritable) & bit)) return 0;
  int isAmbient = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_SYS_ADMIN, 0, 0) == 1;
  sets.words[0].effective &= ~bit;
  if (use != CASHER_CAPABILITY_PASSED_ON || !isAmbient) {
    // Ambient ones go with the inheritable ones.
    sets.words[0].inheritable &= ~bit;
    if (use != CASHER_CAPABILITY_LENT) sets.words[0].permitted &= ~bit;
  }
  // With a set that cannot be made smaller nothing else may be done.
  if (store(&sets) < 0) abort();
  settled = sets;
  return sets.words[0].permitted & bit ? 1 : 0;
}

int casher_lend_sys_admin(int on) {
  // All threads have the sets that the first one settled on.
  struct sets sets = settled;
  if (on) sets.words[0].effective |= bit;
  if (store(&sets) == 0) return 0;
  if (!on) abort();
  return -1;
}

int casher_is_secure_execution(void) { return getauxval(AT_SECURE) != 0; }
