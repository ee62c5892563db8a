// What was asked of a tag's hosts, in a file that commands change under a lock and that the relay reads while it runs:
// /run/mycel-lab-TAG. Memory-mapped; every field is read whole or old. One thread a process.
#ifndef TOOLS_LAB_HOSTS_STATE_H
#define TOOLS_LAB_HOSTS_STATE_H

#include "tools/lab/hosts.h"

#define HOSTS_STATE_MAGIC "mycelhs1"

// Index 0 of every list is unused: hosts count from 1.
struct hosts_table {
    char magic[8];
    uint32_t count;                                   // highest host made
    uint8_t made[HOSTS_MAX + 1];                      // 1: complete
    uint8_t generation[HOSTS_MAX + 1];                // of its address
    uint64_t rate_bits[HOSTS_MAX + 1];                // 0: no limit
    uint32_t loss_millionth[HOSTS_MAX + 1];           // of what arrives
    uint32_t delay_us[HOSTS_MAX + 1][HOSTS_MAX + 1];  // [from][to]
    uint8_t cut[HOSTS_MAX + 1][HOSTS_MAX + 1];        // [from][to], 1: nothing arrives
};

struct hosts_state {
    int fd;
    struct hosts_table *table;
};

// Opens it for changes, making an empty one where there is none, and waits for the lock. IO, NO_SPACE, REFUSED (no
// permission).
CORE_MUST_USE enum core_err hosts_state_open(struct hosts_state *state, const char *tag);
// For reading, without the lock; NOT_FOUND.
CORE_MUST_USE enum core_err hosts_state_peek(struct hosts_state *state, const char *tag);
void hosts_state_close(struct hosts_state *state);
void hosts_state_remove(const char *tag);
// "/run/mycel-lab-TAG" + suffix.
char *hosts_state_path(char out[64], const char *tag, const char *suffix);
// Calls `each` with every tag that has a file or a namespace.
void hosts_state_tags(void (*each)(void *context, const char *tag), void *context);

#endif
