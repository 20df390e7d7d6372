// What the overlay needs of the kernel beyond what glibc shows to Swift.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

// statx(2) as struct stat, without following symlinks and without triggering automounts; with an empty name, of the
// descriptor itself. `birth` becomes the birth time in nanoseconds, 0 where the filesystem has none.
int casher_status_with_birth(int directory, const char *name, struct stat *status, int64_t *birth);
// The same with the mount's number, which is never given again, in the upper half of st_dev (STATX_MNT_ID_UNIQUE of Linux
// 6.8): a directory that is mounted at two places has two devices.
int casher_status_with_mount(int directory, const char *name, struct stat *status, int64_t *birth);
// The device of the filesystem that the descriptor is of, without asking whoever serves it.
int casher_device(int fd, uint64_t *device);
// chmod(2) of what a descriptor, which may be O_PATH, is open on (fchmodat2 of Linux 6.6).
int casher_chmod_path_descriptor(int fd, unsigned mode);
ssize_t casher_copy_file_range_flags(
    int from, int64_t *fromOffset, int to, int64_t *toOffset, size_t count, unsigned flags);
// Raises the limit of open descriptors as far as this process may, to at most fs.nr_open; returns the limit in force.
uint64_t casher_raise_descriptor_limit(void);
// Installs a handler for `signal` that does nothing, so that its arrival interrupts a wait (EINTR).
int casher_ignore_with_handler(int signal);
enum { CASHER_IMMUTABLE = 1, CASHER_APPEND_ONLY = 2 };
// Which of these attributes (chattr(1)) the file has that `fd`, which may be O_PATH, is open on; 0 for neither, -1 with errno.
int casher_protection(int fd);
// Sets the file creation mask of the calling thread, which no longer shares it with the process from then on, nor its
// working directory (unshare(2), CLONE_FS); -1 where that is not allowed.
int casher_thread_umask(mode_t mask);
// Gives the system back whatever memory the allocator holds and nobody uses (malloc_trim(3)).
void casher_trim_memory(void);
// Runs a program, found by PATH, with this process's environment (posix_spawnp(3)): its exit status, or -1.
int casher_run(char *const arguments[]);

enum { CASHER_AT_EACCESS = 0x200 };
enum { CASHER_RENAME_WHITEOUT = 4, CASHER_AT_SYMLINK_FOLLOW = 0x400, CASHER_O_DIRECT = 040000 };
