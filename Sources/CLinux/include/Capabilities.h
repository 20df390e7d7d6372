// CAP_SYS_ADMIN of a process that is not root (capabilities(7)).
#pragma once

// Whether the calling thread may use it now.
int casher_has_sys_admin(void);

// What a process does with the capability that it was started with.
enum casher_capability_use {
  CASHER_CAPABILITY_DROPPED,
  // Nobody uses it here, but what is executed gets it, if it is an ambient one: of a file's it is dropped.
  CASHER_CAPABILITY_PASSED_ON,
  // It can be had by `casher_lend_sys_admin`, and no program that is executed gets it.
  CASHER_CAPABILITY_LENT,
};
// Takes it out of the effective set, and out of the others as `use` says. To be called before another thread is started.
// Returns whether it is permitted still; ends the process if a set cannot be made smaller.
int casher_settle_sys_admin(enum casher_capability_use use);

// Puts it into the effective set of the calling thread alone, or takes it out again. Returns 0, or -1 when it cannot be
// put in; ends the process if it cannot be taken out.
int casher_lend_sys_admin(int on);

// Whether the kernel has started this program with more than who started it has (getauxval(3), AT_SECURE).
int casher_is_secure_execution(void);
