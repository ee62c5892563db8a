// Runs a program, mostly this one again as another peer. What it prints is collected, so that a failure can be shown
// with its reason.
// One thread.
#ifndef TOOLS_SPAWN_H
#define TOOLS_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "core/error.h"

struct spawn {
    pid_t pid;
    int said;  // what it printed on both outputs: memory, not a pipe, which a daemon it leaves behind would keep open
};

// Starts `program` with `words` (NULL-terminated, words[0] its name) and `input` on its standard input.
CORE_MUST_USE enum core_err spawn_start(struct spawn *s, const char *program, char *const *words, const char *input);
// The same in the network namespace that the descriptor `network` stands for (-1: in this one); a `program` without a
// slash is looked for on the PATH.
CORE_MUST_USE enum core_err spawn_start_in(struct spawn *s, int network, const char *program, char *const *words,
                                           const char *input);
// Waits for its end; `said` takes the last of what it printed, NUL-terminated, without the final line's end. Returns
// its exit status, 128 + number for a signal.
int spawn_wait(struct spawn *s, char *said, size_t size);

#endif
