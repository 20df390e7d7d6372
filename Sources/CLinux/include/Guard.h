// A process that outlives the one that serves FUSE filesystems when that is killed.
#pragma once
#include <stdint.h>

// Starts it: returns a descriptor that it listens to, and its process number, or -1 with errno. To be called by the main thread before any other
// was started; `arguments` are those of this process (argv), which the guard's own name takes the place of.
int casher_start_guard(char **arguments, int count, int32_t *process);

// Told through the descriptor, each in one write: connections (their numbers as in /sys/fs/fuse/connections) from then on
// served by this process, or no longer.
struct casher_guard_message {
  uint32_t connection;
  uint32_t is_served;
};
