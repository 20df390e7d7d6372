#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "Watch.h"
#include "DetachedMount.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
enum { CALL_PIDFD_OPEN = 434, CALL_PIDFD_GETFD = 438, CALL_IO_URING_SETUP = 425, CALL_MOVE_MOUNT = 429 };

struct watched {
  uint32_t number;
  int32_t call;
};

static const struct watched own[] = {
    {SYS_connect, CASHER_WATCHED_CONNECT},
    {SYS_bind, CASHER_WATCHED_BIND},
    {SYS_sendto, CASHER_WATCHED_SEND},
    {SYS_sendmsg, CASHER_WATCHED_SEND_MESSAGE},
    {SYS_sendmmsg, CASHER_WATCHED_SEND_MESSAGES},
    {SYS_accept, CASHER_WATCHED_ACCEPT},
    {SYS_accept4, CASHER_WATCHED_ACCEPT},
    {CALL_IO_URING_SETUP, CASHER_WATCHED_IO_URING},
    {SYS_open_by_handle_at, CASHER_WATCHED_OPEN_BY_HANDLE},
    {SYS_mount, CASHER_WATCHED_MOUNT},
    {SYS_umount2, CASHER_WATCHED_CHANGE_MOUNTS},
    {CALL_MOVE_MOUNT, CASHER_WATCHED_CHANGE_MOUNTS},
    {SYS_setns, CASHER_WATCHED_ENTER_NAMESPACE},
};

// The machine's own kind, and the older one whose programs run too, with the numbers that the calls have there.
#if defined(__x86_64__)
enum { OWN_KIND = AUDIT_ARCH_X86_64, OTHER_KIND = AUDIT_ARCH_I386 };
static const uint32_t other[] = {102, 361, 362, 345, 364, 369, 370, 425, 342, 21, 52, 429, 346};
#elif defined(__aarch64__)
enum { OWN_KIND = AUDIT_ARCH_AARCH64, OTHER_KIND = AUDIT_ARCH_ARM };
static const uint32_t other[] = {282, 283, 285, 290, 296, 366, 374, 425, 371, 21, 52, 429, 375};
#else
#error "which calls a program of this kind of machine makes is not known"
#endif

enum { OWN_COUNT = sizeof own / sizeof *own, OTHER_COUNT = sizeof other / sizeof *other };
// Numbers of x32, whose programs pass for the machine's own.
enum { X32_BIT = 0x40000000 };

static struct sock_filter statement(uint16_t code, uint32_t value) {
  return (struct sock_filter){.code = code, .k = value};
}
static struct sock_filter jump(uint16_t code, uint32_t value, uint8_t ifTrue, uint8_t ifFalse) {
  return (struct sock_filter){.code = code, .k = value, .jt = ifTrue, .jf = ifFalse};
}

int casher_watch_install(void) {
  enum { LOAD = BPF_LD | BPF_W | BPF_ABS, EQUALS = BPF_JMP | BPF_JEQ | BPF_K, AT_LEAST = BPF_JMP | BPF_JGE | BPF_K };
  enum { ANSWER = BPF_RET | BPF_K };
  struct sock_filter program[16 + 2 * (OWN_COUNT + OTHER_COUNT) + 8];
  unsigned short count = 0;
  program[count++] = statement(LOAD, offsetof(struct seccomp_data, arch));
  program[count++] = jump(EQUALS, OWN_KIND, 2 * OTHER_COUNT + 2, 0);
  program[count++] = statement(LOAD, offsetof(struct seccomp_data, nr));
  for (int i = 0; i < OTHER_COUNT; i++) {
    program[count++] = jump(EQUALS, other[i], 0, 1);
    program[count++] = statement(ANSWER, SECCOMP_RET_USER_NOTIF);
  }
  program[count++] = statement(ANSWER, SECCOMP_RET_ALLOW);
  program[count++] = statement(LOAD, offsetof(struct seccomp_data, nr));
  for (int i = 0; i < OWN_COUNT; i++) {
    if (own[i].number == SYS_sendto) continue;
    program[count++] = jump(EQUALS, own[i].number, 0, 1);
    program[count++] = statement(ANSWER, SECCOMP_RET_USER_NOTIF);
  }
#if defined(__x86_64__)
  program[count++] = jump(AT_LEAST, X32_BIT, 0, 1);
  program[count++] = statement(ANSWER, SECCOMP_RET_USER_NOTIF);
#endif
  // Data for who is connected already goes by sendto without an address.
  program[count++] = jump(EQUALS, SYS_sendto, 0, 5);
  program[count++] = statement(LOAD, offsetof(struct seccomp_data, args[4]));
  program[count++] = jump(EQUALS, 0, 0, 2);
  program[count++] = statement(LOAD, offsetof(struct seccomp_data, args[4]) + 4);
  program[count++] = jump(EQUALS, 0, 1, 0);
  program[count++] = statement(ANSWER, SECCOMP_RET_USER_NOTIF);
  program[count++] = statement(ANSWER, SECCOMP_RET_ALLOW);
  struct sock_fprog filter = {.len = count, .filter = program};
  int flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
  int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
  if (listener < 0 && errno == EINVAL) {
    listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
  }
  return listener;
}

int casher_take_descriptor(pid_t process, int descriptor) {
  int handle = (int)syscall(CALL_PIDFD_OPEN, process, 0);
  if (handle < 0) return -1;
  int taken = (int)syscall(CALL_PIDFD_GETFD, handle, descriptor, 0);
  int error = errno;
  close(handle);
  errno = error;
  return taken;
}

int casher_watch_receive(int listener, struct casher_notification *notification) {
  struct seccomp_notif received;
  // The kernel wants it cleared.
  memset(&received, 0, sizeof received);
  if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &received) < 0) return -1;
  notification->id = received.id;
  notification->thread = (int32_t)received.pid;
  notification->call = CASHER_WATCHED_FOREIGN;
  memcpy(notification->arguments, received.data.args, sizeof notification->arguments);
  if (received.data.arch != OWN_KIND) return 0;
  for (int i = 0; i < OWN_COUNT; i++) {
    if (own[i].number == (uint32_t)received.data.nr) notification->call = own[i].call;
  }
  return 0;
}

int casher_watch_continue(int listener, uint64_t id) {
  struct seccomp_notif_resp answer = {.id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
  return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

int casher_watch_is_valid(int listener, uint64_t id) { return ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0; }

ssize_t casher_read_memory(pid_t process, uint64_t address, void *buffer, size_t size) {
  struct iovec local = {.iov_base = buffer, .iov_len = size};
  struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = size};
  return process_vm_readv(process, &local, 1, &remote, 1, 0);
}

int casher_attach_in_namespace(int mount, pid_t process, const char *path) {
  pid_t child = fork();
  if (child < 0) return -1;
  if (child == 0) {
    char name[40];
    snprintf(name, sizeof name, "/proc/%d/ns/mnt", process);
    int space = open(name, O_RDONLY | O_CLOEXEC);
    if (space < 0 || setns(space, CLONE_NEWNS) < 0) _exit(errno);
    _exit(casher_attach_mount(mount, AT_FDCWD, path) < 0 ? errno : 0);
  }
  int status;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
  return errno == 0 ? 0 : -1;
}

int casher_socket_family(int descriptor) {
  int family;
  socklen_t size = sizeof family;
  return getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0 ? -1 : family;
}
