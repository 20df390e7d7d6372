#include "CLinux.h"
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/xattr.h>

// Asks ptrace(2) about process 0, which is never a tracee: ESRCH unless the call itself is refused. Returns errno.
int casher_ptrace_probe(void) {
  errno = 0;
  return ptrace(PTRACE_CONT, 0, 0, 0) == -1 ? errno : 0;
}

// Whether an executable has file capabilities (capabilities(7)).
int casher_has_capabilities(int fd) { return fgetxattr(fd, "security.capability", 0, 0) > 0; }
