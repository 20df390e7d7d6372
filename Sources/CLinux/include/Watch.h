// The few system calls that no filesystem sees, told to another process before they are carried out (seccomp_unotify(2)).
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// What a notified call is, on whichever machine.
enum casher_watched {
  CASHER_WATCHED_CONNECT = 1,
  CASHER_WATCHED_BIND,
  // sendto(2) with an address.
  CASHER_WATCHED_SEND,
  CASHER_WATCHED_SEND_MESSAGE,
  CASHER_WATCHED_SEND_MESSAGES,
  CASHER_WATCHED_ACCEPT,
  CASHER_WATCHED_IO_URING,
  CASHER_WATCHED_OPEN_BY_HANDLE,
  CASHER_WATCHED_MOUNT,
  // umount2(2), move_mount(2).
  CASHER_WATCHED_CHANGE_MOUNTS,
  CASHER_WATCHED_ENTER_NAMESPACE,
  // One of these of a program for another kind of machine, whose arguments are not understood.
  CASHER_WATCHED_FOREIGN,
};

struct casher_notification {
  uint64_t id;
  // The thread that waits, in this process's pid namespace.
  int32_t thread;
  int32_t call;
  uint64_t arguments[6];
};

// Installs the filter in the calling process, which needs CAP_SYS_ADMIN; all that it starts is watched too. Returns the
// descriptor that notifications come from, or -1 with errno: EBUSY where there is one already.
int casher_watch_install(void);
// Takes another process's descriptor over (pidfd_getfd(2)).
int casher_take_descriptor(pid_t process, int descriptor);
// The next notification; -1 with errno, ENOENT when who waited for it has gone.
int casher_watch_receive(int listener, struct casher_notification *notification);
// Lets the call be carried out.
int casher_watch_continue(int listener, uint64_t id);
// Whether the call is still waiting: then what was read of the process since was its own.
int casher_watch_is_valid(int listener, uint64_t id);
// Reads memory of another process; the bytes read, which may be fewer at an end of a mapping.
ssize_t casher_read_memory(pid_t process, uint64_t address, void *buffer, size_t size);
// Attaches a mount at a path of the mount namespace that another process is in, by a process of its own. Returns 0, or -1
// with errno.
int casher_attach_in_namespace(int mount, pid_t process, const char *path);
// The address family of a socket; -1 when the descriptor is none.
int casher_socket_family(int descriptor);
