// Starting a command: what must happen between fork(2) and execve(2), and the signals of the process that waits for it.
// For a process with one thread.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// What a child reports before its command runs, in the order of the events.
enum casher_launch_event {
  // A place where the command was looked for; the value is 0 when it is there, else the error number.
  CASHER_LAUNCH_CANDIDATE = 1,
  // Something failed and the command does not run; the value is the error number.
  CASHER_LAUNCH_VIEW_FAILED = 2,
  CASHER_LAUNCH_SEARCH_FAILED = 3,
  CASHER_LAUNCH_TRACER_FAILED = 4,
  CASHER_LAUNCH_EXEC_FAILED = 5,
  // The program that the tracer started has taken over and executes the command next.
  CASHER_LAUNCH_HANDED_OVER = 6,
  // As VIEW_FAILED, of the view of the whole root.
  CASHER_LAUNCH_ROOT_FAILED = 7,
  // The child is watched; the value is its descriptor that notifications come from (Watch.h).
  CASHER_LAUNCH_WATCHED = 8,
};
struct casher_launch_report {
  int32_t event;
  int32_t value;
};

// Stands for a standard stream that the command finds closed.
enum { CASHER_STREAM_CLOSED = -1 };

struct casher_launch {
  // Both end with a null pointer. The first argument is looked for as execvp(3) does, in the environment's PATH.
  char *const *arguments;
  char *const *environment;
  // The directory that is bound over `mount` in a mount namespace of the child's own; null: no namespace.
  const char *view;
  const char *mount;
  // A detached mount that becomes the root of that namespace, or -1; and what stays as it is there, absolute paths without
  // symlinks, ended by a null pointer.
  int root;
  char *const *kept;
  // Whether the calls that no filesystem sees are to be told; with a root only.
  int watch;
  // The working directory, entered again once the view is bound.
  const char *directory;
  // What becomes of standard input, output and error; CASHER_STREAM_CLOSED closes it.
  int streams[3];
  // The tracer's argument vector up to its own options' end; null: no tracer. The tracer starts this program again, which
  // then becomes the command at once (a constructor in Launch.c).
  char *const *tracer;
  // Descriptors that the tracer inherits: where its trace goes, and this program's executable.
  int trace;
  int program;
  // The tracer's own standard error.
  int complaints;
  // Where `casher_launch_report`s go. It is at its end when the command's program has replaced the child.
  int report;
  // The child waits for a byte of this pipe before it looks for the command.
  int go;
};

// Forks; the child carries the plan out. Returns the child's process id, or -1 with errno. Signals are to be held back
// (casher_signals_hold); the child's are as the process found them.
pid_t casher_launch(const struct casher_launch *plan);

// Looks the command up and replaces this process with it. Returns the error number.
int casher_replace(char *const *arguments, char *const *environment);

// Remembers every disposition and the mask, and blocks all signals.
void casher_signals_hold(void);
// Lets signals through again: those that a process sends to this one alone go on to `child`, those of the terminal
// reach it anyway. SIGCHLD stays blocked, for signalfd(2); SIGPIPE is ignored.
void casher_signals_forward(pid_t child);
// What would be forwarded is ignored from now on.
void casher_signals_ignore(void);
// Dispositions and mask as `casher_signals_hold` found them.
void casher_signals_restore(void);
// Whether a signal that ends programs has come since the command ran.
int casher_signals_interrupted(void);
// Sends this process such a signal again, after `casher_signals_restore`.
void casher_signals_repeat(void);
// Whether a child has ended, without taking its status from whoever waits for it.
int casher_has_ended(pid_t child);
// Ends the process by SIGPIPE as a writer without a reader ends; returns when the signal was ignored all along.
void casher_die_of_sigpipe(void);
// A descriptor that is readable when a child has ended, stopped or gone on, and, if `windows`, when the size of the
// terminal has changed (signalfd(2)); SIGWINCH is blocked then.
int casher_child_signal(int windows);
// Whether one of the records read from that descriptor is a changed size's.
int casher_tells_window(const void *bytes, size_t size);
// Sends a signal to this process's group, and to the foreground group of the terminal if that is another.
void casher_signal_foreground(int terminal, int signal);

// waitpid(2) for any child without waiting, and for one with waiting for its end.
int casher_wait_any(int *status);
int casher_wait_for(pid_t child, int *status);
// Whether a descriptor and one of another process share one open file description (kcmp(2)): 1, 0, or -1 when the kernel
// does not say.
int casher_same_open_file(int left, pid_t process, int right);
// Waits for more than `known` bytes in a pipe, at most `timeout` milliseconds; 1 when it has no writer any more, else 0.
int casher_await_growth(int fd, int known, int timeout, int *bytes);
enum { CASHER_SPLICE_NONBLOCK = 2 };
int casher_fork(void);
int casher_set_pipe_size(int fd, int bytes);
int casher_pipe_size(int fd);
