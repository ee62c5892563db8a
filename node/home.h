// A home: the folder that is one peer. Its files, its lock, and the one way of writing a file that a crash at any
// moment leaves whole (temporary file, fsync, rename, fsync of the folder).
//
//   HOME/lock             flock'd while a process runs this peer; holds its pid as text
//   HOME/key              this peer's key (mesh/identity), mode 0600, looser is refused
//   HOME/charter          the mesh's signed charter
//   HOME/certificate      this peer's certificate
//   HOME/members          member records last known, so that a restarted peer finds its mesh
//   HOME/incarnation      u64, grows at every start
//   HOME/invitations      open invitations with the uses left
//   HOME/revocations      signed revocations
//   HOME/settings         listen address, name, advertised addresses: text, key=value
//   HOME/log              what a detached peer prints
//   HOME/rates            what the devices reached when they were measured: JSON (node/compute/measure.h)
//   HOME/record           the append-only signed log of decisions
//   HOME/runs/RUN/        a run: node/run_disk.h
//   HOME/store/           chunks and objects by hash
//
// Any thread may write files (each write is whole by itself); open and close belong to the process's main thread.
#ifndef NODE_HOME_H
#define NODE_HOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"

enum { HOME_PATH_SIZE = 3072 };

struct home {
    char path[HOME_PATH_SIZE];  // absolute
    int lock;                   // descriptor of the lock file, -1 where not held
};

// The home that `given` (--home), else MYCEL_HOME, else $XDG_STATE_HOME/mycel, else ~/.local/state/mycel names, made
// absolute; it need not exist. For root without a peer in the last one: the machine's (node/machine.h), if there is
// one. CORE_ERR_TOO_LARGE when the path is too long, NOT_FOUND without any of these.
CORE_MUST_USE enum core_err home_path(char out[HOME_PATH_SIZE], const char *given);

// Makes the folder (mode 0700) with its parents. CORE_ERR_EXISTS when it already holds a peer's key. With CORE_ERR_IO
// of this and of those that open, errno tells more.
CORE_MUST_USE enum core_err home_create(const char *path);
// Opens a home and takes its lock. CORE_ERR_NOT_FOUND: no peer lives there; IN_USE: another process runs it.
CORE_MUST_USE enum core_err home_open(struct home *h, const char *path);
// As home_open, for a folder that doesn't hold a peer yet (init, join).
CORE_MUST_USE enum core_err home_open_new(struct home *h, const char *path);
void home_close(struct home *h);
// The pid that holds the lock of the home at `path`, 0 for none.
int home_holder(const char *path);
// The state letter of a process, as in /proc/PID/stat ('T' and 't' are stopped); '?' where it cannot be read.
char home_process_state(int pid);

// Replaces HOME/name by `data` in one step that survives a crash: the old file or the new one, never a part.
// `name` may hold folders, which are made. CORE_ERR_NO_SPACE, CORE_ERR_IO.
CORE_MUST_USE enum core_err home_write(const struct home *h, const char *name, struct slice data);
// The same from several pieces in order, so that large states need no copy.
CORE_MUST_USE enum core_err home_write_parts(const struct home *h, const char *name, const struct slice *parts,
                                             size_t count);
// The whole file into malloc'd memory that the caller frees. CORE_ERR_NOT_FOUND, TOO_LARGE above `limit` bytes.
CORE_MUST_USE enum core_err home_read(const struct home *h, const char *name, size_t limit, uint8_t **data,
                                      size_t *size);
// HOME/name as a path.
void home_file(const struct home *h, const char *name, char out[HOME_PATH_SIZE + 256]);
bool home_has(const struct home *h, const char *name);
// Removes HOME/name (a file); missing is fine.
void home_remove(const struct home *h, const char *name);

#endif
