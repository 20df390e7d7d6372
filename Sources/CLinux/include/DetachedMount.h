// Mounts that no path leads to until they are attached (fsopen(2), open_tree(2), move_mount(2)). By number where glibc has
// no function for a call yet.
#pragma once
#include <stdint.h>

// Makes a FUSE filesystem that is served through `device`, an open /dev/fuse, and owned by the user and group. Returns a
// descriptor of its root, which keeps it mounted, or -1 with errno.
int casher_mount_fuse_detached(int device, uint32_t user, uint32_t group);
// A mount of its own of what is at `path` below `directory`, with the mounts below it if `recursive`: its descriptor, or -1
// with errno. EINVAL before Linux 6.15 when `directory` is in a detached mount itself.
int casher_clone_tree(int directory, const char *path, int recursive);
// Attaches a detached mount at a path below `directory`.
int casher_attach_mount(int mount, int directory, const char *path);
// Whether something is mounted in the mount that the working directory is in: 1, 0, or -1 with errno where only the mount
// table tells (before Linux 6.8). `mount` becomes its number there (proc_pid_mountinfo(5)), 0 where that is not known.
int casher_has_mounts_below(uint64_t *mount);
