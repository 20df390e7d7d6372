#define _GNU_SOURCE 1
#include "Launch.h"
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

// SIGKILL and SIGSTOP cannot be caught; a fault is this process's own; SIGCHLD, SIGTTIN and SIGTTOU are about this process.
static const int forwarded[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGUSR1,   SIGUSR2, SIGTERM, SIGALRM, SIGVTALRM, SIGPROF,
                                SIGTSTP, SIGCONT, SIGWINCH, SIGURG, SIGIO,   SIGPWR,  SIGXCPU, SIGXFSZ};
enum { FORWARDED = sizeof forwarded / sizeof forwarded[0] };

static sigset_t found_mask;
static struct sigaction found[FORWARDED];
static struct sigaction found_pipe;
static struct sigaction found_child;
static volatile sig_atomic_t command;
static volatile sig_atomic_t interruption;
static int holding;
static int watches_windows;

static int ends_programs(int signal) {
  return signal == SIGHUP || signal == SIGINT || signal == SIGQUIT || signal == SIGTERM;
}

// What a signal does that nobody handles.
static void end_by(int signal) {
  struct sigaction action = {.sa_handler = SIG_DFL};
  sigaction(signal, &action, NULL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  raise(signal);
}

static void forward(int signal, siginfo_t *info, void *context) {
  (void)context;
  int error = errno;
  if (ends_programs(signal)) {
    // After the command's end nothing is worth being waited for against the user's will. Somebody who asks twice may
    // have found this process where it cannot notice that end.
    if (command == 0 || (interruption && casher_has_ended(command))) end_by(signal);
    interruption = signal;
  }
  // Positive codes are the kernel's: a signal from the terminal has reached the command as well, by its process group.
  if (command > 0 && info->si_code <= 0 && info->si_pid != command) kill(command, signal);
  errno = error;
}

void casher_signals_hold(void) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, holding ? NULL : &found_mask);
  if (holding) return;
  holding = 1;
  for (int i = 0; i < FORWARDED; i++) sigaction(forwarded[i], NULL, &found[i]);
  struct sigaction action = {.sa_handler = SIG_IGN};
  sigaction(SIGPIPE, &action, &found_pipe);
  action.sa_handler = SIG_DFL;
  sigaction(SIGCHLD, &action, &found_child);
}

void casher_signals_forward(pid_t child) {
  command = child;
  // Without SA_RESTART: a write(2) to a reader that does not read is to notice.
  struct sigaction action = {.sa_sigaction = forward, .sa_flags = SA_SIGINFO};
  sigfillset(&action.sa_mask);
  for (int i = 0; i < FORWARDED; i++) {
    // What was ignored stays ignored (nohup(1)): the command has inherited that.
    if (found[i].sa_handler != SIG_IGN || (found[i].sa_flags & SA_SIGINFO)) sigaction(forwarded[i], &action, NULL);
  }
  sigset_t mask = found_mask;
  sigaddset(&mask, SIGCHLD);
  if (watches_windows) sigaddset(&mask, SIGWINCH);
  sigprocmask(SIG_SETMASK, &mask, NULL);
}

void casher_signals_ignore(void) {
  struct sigaction action = {.sa_handler = SIG_IGN};
  for (int i = 0; i < FORWARDED; i++) sigaction(forwarded[i], &action, NULL);
}

void casher_signals_restore(void) {
  if (!holding) return;
  command = 0;
  for (int i = 0; i < FORWARDED; i++) sigaction(forwarded[i], &found[i], NULL);
  sigaction(SIGPIPE, &found_pipe, NULL);
  sigaction(SIGCHLD, &found_child, NULL);
  sigprocmask(SIG_SETMASK, &found_mask, NULL);
  holding = 0;
}

int casher_signals_interrupted(void) { return interruption != 0; }

int casher_has_ended(pid_t child) {
  siginfo_t info = {.si_pid = 0};
  if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) < 0) return errno == ECHILD;
  return info.si_pid == child;
}

void casher_die_of_sigpipe(void) {
  casher_signals_restore();
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  raise(SIGPIPE);
}

int casher_child_signal(int windows) {
  watches_windows = windows;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  if (windows) sigaddset(&set, SIGWINCH);
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int casher_tells_window(const void *bytes, size_t size) {
  struct signalfd_siginfo info;
  for (size_t at = 0; at + sizeof info <= size; at += sizeof info) {
    memcpy(&info, (const char *)bytes + at, sizeof info);
    if (info.ssi_signo == SIGWINCH) return 1;
  }
  return 0;
}

void casher_signal_foreground(int terminal, int signal) {
  kill(0, signal);
  pid_t group = tcgetpgrp(terminal);
  if (group > 0 && group != getpgrp()) kill(-group, signal);
}
