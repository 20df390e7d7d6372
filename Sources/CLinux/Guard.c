#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "Guard.h"
#include "Capabilities.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

// From the kernel's include/uapi/linux/mount.h and close_range.h.
enum { CALL_FSOPEN = 430, CALL_FSCONFIG = 431, CALL_FSMOUNT = 432, CALL_CLOSE_RANGE = 436, CONFIGURE_CREATE = 6 };
enum { LISTENED = 0, SIGNALLED = 1, FIRST_UNUSED = 2, MOST_CONNECTIONS = 16 };
// How long a killed process may take to be gone, milliseconds, and how often it is looked for after its connections ended.
enum { PATIENCE = 250, LOOKS = 40 };

struct guard {
  uint32_t connections[MOST_CONNECTIONS];
  int count;
};

static void apply(struct guard *guard, const struct casher_guard_message *message) {
  int at = 0;
  while (at < guard->count && guard->connections[at] != message->connection) at++;
  if (message->is_served && at == guard->count && at < MOST_CONNECTIONS)
    guard->connections[guard->count++] = message->connection;
  if (!message->is_served && at < guard->count) guard->connections[at] = guard->connections[--guard->count];
}

// Takes in what has come; 0 when nobody is left who could tell more.
static int listen_once(struct guard *guard) {
  struct casher_guard_message message;
  ssize_t size = read(LISTENED, &message, sizeof message);
  if (size == (ssize_t)sizeof message) apply(guard, &message);
  return size != 0;
}

// By the kernel's own files (Documentation/filesystems/fuse.rst), which are mounted in most places; else by a mount that
// nobody sees.
static void end_connection(uint32_t connection) {
  char name[64];
  snprintf(name, sizeof name, "/sys/fs/fuse/connections/%u/abort", connection);
  int control = open(name, O_WRONLY | O_CLOEXEC);
  int is_lent = control < 0 && !casher_has_sys_admin() && casher_lend_sys_admin(1) == 0;
  if (control < 0) {
    int filesystem = (int)syscall(CALL_FSOPEN, "fusectl", 0);
    int mount = -1;
    if (filesystem >= 0 && syscall(CALL_FSCONFIG, filesystem, CONFIGURE_CREATE, NULL, NULL, 0) == 0)
      mount = (int)syscall(CALL_FSMOUNT, filesystem, 0, 0);
    snprintf(name, sizeof name, "%u/abort", connection);
    if (mount >= 0) control = openat(mount, name, O_WRONLY | O_CLOEXEC);
    if (mount >= 0) close(mount);
    if (filesystem >= 0) close(filesystem);
  }
  if (is_lent) casher_lend_sys_admin(0);
  if (control < 0) return;
  ssize_t size = write(control, "1", 1);
  (void)size;
  close(control);
}

static _Noreturn void guard(pid_t served) {
  struct guard guard = {.count = 0};
  int is_killed = 0;
  struct pollfd entries[2] = {{.fd = LISTENED, .events = POLLIN}, {.fd = SIGNALLED, .events = POLLIN}};
  // The signal comes when the main thread ends; before it could come that may have happened already.
  if (prctl(PR_SET_PDEATHSIG, SIGUSR2) < 0) _exit(1);
  if (getppid() != served) is_killed = 1;
  while (!is_killed) {
    if (poll(entries, 2, -1) < 0) continue;
    if (entries[0].revents && !listen_once(&guard)) _exit(0);
    if (entries[1].revents) is_killed = 1;
  }
  // While a thread of it waits for an answer that nobody gives any more, its descriptors stay open, the filesystems alive,
  // and whoever uses them waits too. Their numbers are nobody else's as long as they are open.
  for (int look = 0; look < LOOKS; look++) {
    while (poll(entries, 1, PATIENCE) > 0)
      if (!listen_once(&guard)) _exit(0);
    for (int at = 0; at < guard.count; at++) end_connection(guard.connections[at]);
  }
  _exit(0);
}

// What `ps` shows.
static void rename_process(char **arguments, int count) {
  static const char name[] = "casher-guard";
  prctl(PR_SET_NAME, name);
  if (count < 1) return;
  char *begin = arguments[0];
  char *end = begin;
  for (int at = 0; at < count && arguments[at] == end; at++) end += strlen(arguments[at]) + 1;
  memset(begin, 0, (size_t)(end - begin));
  snprintf(begin, (size_t)(end - begin), "%s", name);
}

int casher_start_guard(char **arguments, int count, int32_t *process) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return -1;
  pid_t served = getpid();
  sigset_t all, before;
  sigfillset(&all);
  // Nothing that is meant for the served process, or for all of its group, ends the guard before it.
  sigprocmask(SIG_SETMASK, &all, &before);
  pid_t child = fork();
  int error = errno;
  if (child != 0) {
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(ends[0]);
    *process = child;
    if (child > 0) return ends[1];
    close(ends[1]);
    errno = error;
    return -1;
  }
  setsid();
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGUSR2);
  int signalled = signalfd(-1, &ending, 0);
  // The pipe is at 0 at last and the signals at 1; neither descriptor is lost on the way.
  int listened = fcntl(ends[0], F_DUPFD, 3);
  int moved = fcntl(signalled, F_DUPFD, 3);
  if (listened < 0 || moved < 0 || dup2(listened, LISTENED) < 0 || dup2(moved, SIGNALLED) < 0) _exit(1);
  if (syscall(CALL_CLOSE_RANGE, FIRST_UNUSED, ~0u, 0) < 0) {
    // Before Linux 5.9.
    for (long at = FIRST_UNUSED, limit = sysconf(_SC_OPEN_MAX); at < limit; at++) close((int)at);
  }
  if (chdir("/") < 0) _exit(1);
  rename_process(arguments, count);
  guard(served);
}
