#define _GNU_SOURCE 1
#include "Launch.h"
#include "DetachedMount.h"
#include "Watch.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// The first argument by which a tracer starts this program in place of the command.
static const char exec_stage_mark[] = "\1exec";

static void tell(int report, int event, int value) {
  if (report < 0) return;
  struct casher_launch_report record = {.event = event, .value = value};
  // At most PIPE_BUF bytes: written whole. Without a reader there is nobody to tell.
  while (write(report, &record, sizeof record) < 0 && errno == EINTR) {}
}

static int write_text(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t size = (ssize_t)strlen(text);
  ssize_t written = write(fd, text, (size_t)size);
  int error = errno;
  close(fd);
  errno = error;
  return written == size ? 0 : -1;
}

// A mount namespace of this process's own; without the right to it in a user namespace of its own, where it is who it
// was (user_namespaces(7): setgroups must be denied before an unprivileged process may write gid_map).
static int leave_namespace(void) {
  if (unshare(CLONE_NEWNS) == 0) return 0;
  if (errno != EPERM) return -1;
  uid_t user = geteuid();
  gid_t group = getegid();
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) return -1;
  char map[64];
  if (write_text("/proc/self/setgroups", "deny") < 0 && errno != ENOENT) return -1;
  snprintf(map, sizeof map, "%lu %lu 1", (unsigned long)user, (unsigned long)user);
  if (write_text("/proc/self/uid_map", map) < 0) return -1;
  snprintf(map, sizeof map, "%lu %lu 1", (unsigned long)group, (unsigned long)group);
  return write_text("/proc/self/gid_map", map);
}

static int enter_view(const struct casher_launch *plan) {
  if (leave_namespace() < 0) return -1;
  // What is mounted outside later is seen here, nothing goes the other way.
  if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0) return -1;
  if (plan->root >= 0) return 0;
  if (mount(plan->view, plan->mount, NULL, MS_BIND, NULL) < 0) return -1;
  // The directory this process stands in is still that of the other view.
  return chdir(plan->directory);
}

// A root of this process's own: the detached mount with what stays as it is and the view of the mount attached in it. It
// has to be attached somewhere first, and what is at hand is the place that the view is for.
static int enter_root(const struct casher_launch *plan) {
  size_t count = 0;
  while (plan->kept[count]) count++;
  int *kept = calloc(count + 1, sizeof *kept);
  if (!kept) return -1;
  for (size_t i = 0; i < count; i++) {
    kept[i] = casher_clone_tree(AT_FDCWD, plan->kept[i], 1);
    if (kept[i] < 0 && errno != ENOENT) return -1;
  }
  int view = plan->view ? casher_clone_tree(AT_FDCWD, plan->view, 0) : -1;
  if (plan->view && view < 0) return -1;
  if (casher_attach_mount(plan->root, AT_FDCWD, plan->mount) < 0) return -1;
  for (size_t i = 0; i < count; i++) {
    if (kept[i] >= 0 && casher_attach_mount(kept[i], plan->root, plan->kept[i] + 1) < 0) return -1;
  }
  if (view >= 0 && casher_attach_mount(view, plan->root, plan->mount + 1) < 0) return -1;
  // The old root comes to lie over the new one, from where it is taken away (pivot_root(2)).
  if (fchdir(plan->root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0) return -1;
  return chdir(plan->directory);
}

static const char *variable(char *const *environment, const char *name) {
  size_t length = strlen(name);
  for (; *environment; environment++) {
    if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') return *environment + length + 1;
  }
  return NULL;
}

static int probe(const char *path) {
  struct stat status;
  if (stat(path, &status) < 0) return errno;
  if (!S_ISREG(status.st_mode)) return EACCES;
  return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? errno : 0;
}

// execvp(3)'s search: the path to execute, or null with the error number.
static char *search(const char *name, char *const *environment, int report, int *error) {
  *error = ENOENT;
  if (!*name) return NULL;
  if (strchr(name, '/')) {
    *error = probe(name);
    tell(report, CASHER_LAUNCH_CANDIDATE, *error);
    return *error == 0 ? strdup(name) : NULL;
  }
  const char *path = variable(environment, "PATH");
  if (!path) path = "/bin:/usr/bin";
  char *candidate = malloc(strlen(path) + strlen(name) + 3);
  if (!candidate) {
    *error = ENOMEM;
    return NULL;
  }
  int denied = 0;
  for (const char *start = path;; start++) {
    size_t length = strcspn(start, ":");
    char *end = candidate;
    if (length > 0) {
      memcpy(candidate, start, length);
      end = candidate + length;
      *end++ = '/';
    }
    strcpy(end, name);
    int found = probe(candidate);
    tell(report, CASHER_LAUNCH_CANDIDATE, found);
    if (found == 0) {
      *error = 0;
      return candidate;
    }
    if (found == EACCES) denied = 1;
    start += length;
    if (!*start) break;
  }
  free(candidate);
  *error = denied ? EACCES : ENOENT;
  return NULL;
}

// execve(2), and a file that is neither a program nor names its interpreter is the shell's (execvp(3)).
static int execute(const char *path, char *const *arguments, char *const *environment) {
  execve(path, arguments, environment);
  if (errno != ENOEXEC) return errno;
  size_t count = 0;
  while (arguments[count]) count++;
  char **shell = calloc(count + 3, sizeof *shell);
  if (!shell) return ENOMEM;
  shell[0] = "/bin/sh";
  shell[1] = (char *)path;
  for (size_t i = 1; i < count; i++) shell[i + 1] = arguments[i];
  execve("/bin/sh", shell, environment);
  return errno;
}

int casher_replace(char *const *arguments, char *const *environment) {
  int error = ENOENT;
  char *path = search(arguments[0], environment, -1, &error);
  return path ? execute(path, arguments, environment) : error;
}

// Puts the streams in place. Each of `streams` is 3 or more, or in its place already.
static int place_streams(const int streams[3]) {
  for (int i = 0; i < 3; i++) {
    if (streams[i] == CASHER_STREAM_CLOSED) {
      close(i);
    } else if (dup2(streams[i], i) < 0) {
      return -1;
    }
  }
  return 0;
}

// MARK: the tracer

// The tracer must hold neither the command's streams, whose end others wait for, nor its environment, which may change
// how a program behaves (LD_PRELOAD). So both wait in a socket for the program that the tracer starts: the message's
// byte says by its lowest bits which streams there are; the descriptors are those, the environment, the report.
static int hand_over(int socket, const struct casher_launch *plan) {
  int environment = memfd_create("environment", MFD_CLOEXEC);
  if (environment < 0) return -1;
  for (char *const *entry = plan->environment; *entry; entry++) {
    const char *text = *entry;
    size_t rest = strlen(text) + 1;
    while (rest > 0) {
      ssize_t written = write(environment, text, rest);
      if (written < 0) return -1;
      text += written;
      rest -= (size_t)written;
    }
  }
  int fds[5];
  size_t count = 0;
  unsigned char present = 0;
  for (int i = 0; i < 3; i++) {
    if (plan->streams[i] == CASHER_STREAM_CLOSED) continue;
    present |= (unsigned char)(1 << i);
    fds[count++] = plan->streams[i];
  }
  fds[count++] = environment;
  fds[count++] = plan->report;
  struct iovec part = {.iov_base = &present, .iov_len = 1};
  union {
    char space[CMSG_SPACE(sizeof fds)];
    struct cmsghdr align;
  } control;
  memset(&control, 0, sizeof control);
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space};
  message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * count);
  memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
  return sendmsg(socket, &message, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

static int execute_traced(const struct casher_launch *plan, const char *path) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) return errno;
  if (hand_over(ends[0], plan) < 0) return errno;
  close(ends[0]);
  int inherited[] = {ends[1], plan->trace, plan->program};
  for (int i = 0; i < 3; i++) {
    if (fcntl(inherited[i], F_SETFD, 0) < 0) return errno;
  }
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return errno;
  int streams[3] = {null, null, plan->complaints};
  if (place_streams(streams) < 0) return errno;

  size_t head = 0, tail = 0;
  while (plan->tracer[head]) head++;
  while (plan->arguments[tail]) tail++;
  char **arguments = calloc(head + tail + 7, sizeof *arguments);
  if (!arguments) return ENOMEM;
  char program[48], numbers[3][16];
  snprintf(program, sizeof program, "/proc/self/fd/%d", plan->program);
  for (int i = 0; i < 3; i++) snprintf(numbers[i], sizeof numbers[i], "%d", inherited[i]);
  char **next = arguments;
  for (size_t i = 0; i < head; i++) *next++ = plan->tracer[i];
  *next++ = program;
  *next++ = (char *)exec_stage_mark;
  for (int i = 0; i < 3; i++) *next++ = numbers[i];
  *next++ = (char *)path;
  for (size_t i = 0; i < tail; i++) *next++ = plan->arguments[i];
  char *nothing[] = {NULL};
  execve(arguments[0], arguments, nothing);
  return errno;
}

static char **read_environment(int fd) {
  struct stat status;
  if (fstat(fd, &status) < 0) return NULL;
  size_t size = (size_t)status.st_size, filled = 0, count = 0;
  char *text = malloc(size + 1);
  if (!text) return NULL;
  while (filled < size) {
    ssize_t got = pread(fd, text + filled, size - filled, (off_t)filled);
    if (got <= 0) return NULL;
    filled += (size_t)got;
  }
  for (size_t i = 0; i < size; i++) count += text[i] == 0;
  char **entries = calloc(count + 1, sizeof *entries);
  if (!entries) return NULL;
  for (size_t i = 0, at = 0; i < count; at += strlen(text + at) + 1) entries[i++] = text + at;
  return entries;
}

// What this program does when a tracer has started it: takes the streams and the environment over from the socket whose
// number is arguments[2], closes the descriptors arguments[2], [3] and [4], and executes arguments[5] with the argument
// vector arguments[6...].
static _Noreturn void exec_stage(int count, char **arguments) {
  if (count < 7) _exit(125);
  int socket = atoi(arguments[2]);
  unsigned char present = 0;
  int fds[5] = {-1, -1, -1, -1, -1};
  struct iovec part = {.iov_base = &present, .iov_len = 1};
  union {
    char space[CMSG_SPACE(sizeof fds)];
    struct cmsghdr align;
  } control;
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1) _exit(125);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_type != SCM_RIGHTS) _exit(125);
  size_t received = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  if (received > 5) _exit(125);
  memcpy(fds, CMSG_DATA(header), sizeof(int) * received);
  for (int i = 2; i < 5; i++) close(atoi(arguments[i]));

  int streams[3];
  size_t next = 0;
  for (int i = 0; i < 3; i++) streams[i] = present & (1 << i) ? fds[next++] : CASHER_STREAM_CLOSED;
  int report = fds[next + 1];
  char **environment = read_environment(fds[next]);
  if (!environment || place_streams(streams) < 0) _exit(125);
  tell(report, CASHER_LAUNCH_HANDED_OVER, 0);
  int error = execute(arguments[5], arguments + 6, environment);
  tell(report, CASHER_LAUNCH_EXEC_FAILED, error);
  _exit(error == ENOENT ? 127 : 126);
}

// Before anything else of this program, Swift's runtime included: what that looks at would be in the trace.
__attribute__((constructor(101))) static void start_as_exec_stage(int count, char **arguments) {
  if (count > 1 && strcmp(arguments[1], exec_stage_mark) == 0) exec_stage(count, arguments);
}

// MARK: the child

static _Noreturn void carry_out(const struct casher_launch *plan, pid_t parent) {
  casher_signals_restore();
  if ((plan->view || plan->root >= 0) && enter_view(plan) < 0) {
    tell(plan->report, CASHER_LAUNCH_VIEW_FAILED, errno);
    _exit(125);
  }
  if (plan->root >= 0 && enter_root(plan) < 0) {
    tell(plan->report, CASHER_LAUNCH_ROOT_FAILED, errno);
    _exit(125);
  }
  if (plan->root >= 0 && plan->watch) {
    int listener = casher_watch_install();
    if (listener < 0) {
      tell(plan->report, CASHER_LAUNCH_ROOT_FAILED, errno);
      _exit(125);
    }
    // Taken over by the other process before it lets this one go.
    tell(plan->report, CASHER_LAUNCH_WATCHED, listener);
  }
  // Whoever kills acache outright means the command. After unshare(2), which clears it.
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid() != parent) _exit(125);
  char byte;
  while (read(plan->go, &byte, 1) < 0 && errno == EINTR) {}
  int error = 0;
  char *path = search(plan->arguments[0], plan->environment, plan->report, &error);
  if (!path) {
    tell(plan->report, CASHER_LAUNCH_SEARCH_FAILED, error);
    _exit(error == ENOENT ? 127 : 126);
  }
  if (plan->tracer) {
    tell(plan->report, CASHER_LAUNCH_TRACER_FAILED, execute_traced(plan, path));
    _exit(125);
  }
  error = place_streams(plan->streams) < 0 ? errno : execute(path, plan->arguments, plan->environment);
  tell(plan->report, CASHER_LAUNCH_EXEC_FAILED, error);
  _exit(error == ENOENT ? 127 : 126);
}

pid_t casher_launch(const struct casher_launch *plan) {
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) carry_out(plan, parent);
  return child;
}

int casher_wait_any(int *status) {
  int result;
  do result = waitpid(-1, status, WNOHANG | WUNTRACED);
  while (result < 0 && errno == EINTR);
  return result;
}

int casher_wait_for(pid_t child, int *status) { return waitpid(child, status, 0); }

int casher_same_open_file(int left, pid_t process, int right) {
  enum { KCMP_FILE_KIND = 0 };
  long result = syscall(SYS_kcmp, getpid(), process, KCMP_FILE_KIND, (unsigned long)left, (unsigned long)right);
  return result < 0 ? -1 : result == 0;
}
_Static_assert(CASHER_SPLICE_NONBLOCK == SPLICE_F_NONBLOCK, "");
int casher_fork(void) { return fork(); }

// Only edge-triggered epoll(7) tells of every write to a pipe in which there is data already.
int casher_await_growth(int fd, int known, int timeout, int *bytes) {
  int poll = epoll_create1(EPOLL_CLOEXEC);
  if (poll < 0) return -1;
  struct epoll_event event = {.events = EPOLLIN | EPOLLET};
  int result = epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
  while (result == 0) {
    // The first wait returns at once when there is data or an end: it is as good as a look before waiting.
    int count = epoll_wait(poll, &event, 1, timeout);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 || ioctl(fd, FIONREAD, bytes) < 0) {
      result = -1;
    } else if (count == 0) {
      break;
    } else if (event.events & EPOLLHUP) {
      result = 1;
    } else if (*bytes > known) {
      break;
    }
  }
  int error = errno;
  close(poll);
  errno = error;
  return result;
}
int casher_set_pipe_size(int fd, int bytes) { return fcntl(fd, F_SETPIPE_SZ, bytes); }
int casher_pipe_size(int fd) { return fcntl(fd, F_GETPIPE_SZ); }
