// The lab's peers as folders, processes and ports: HOME/lab/K is peer K's home, K counts from 1. What `lab` shows and
// steers; one thread.
#ifndef TOOLS_LAB_LAB_H
#define TOOLS_LAB_LAB_H

#include "tools/client.h"

enum { LAB_PEERS_MAX = 256 };

struct lab_peer {
    unsigned number;
    char home[HOME_PATH_SIZE];
    int pid;            // 0: no process
    unsigned port;      // 0: not known
    unsigned host;      // 0: on the loopback
    unsigned http;      // its live page's port; 0: none, or not known
    bool sees_all;      // it has listed every other as alive (lab_all_see_all)
    char id[65];        // "" while it doesn't answer
    const char *state;  // "up", "silent": a process that doesn't answer, "down", "absent": no such home
};

struct lab_place;

// Finds out about peer `number`, asking it with `patience_ms`.
void lab_look(struct lab_peer *peer, const char *home, unsigned number, int patience_ms);
// How many there are: homes from 1 on without a gap.
unsigned lab_count(const char *home);
// A port of 127.0.0.1 that nobody listens on now; 0 when there is none.
unsigned lab_free_port(void);
// True when every peer is up and has listed every other one as alive; otherwise `why` says who doesn't see whom first.
// A peer that has is not asked again.
bool lab_all_see_all(struct lab_peer *peers, unsigned count, char *why, size_t size);
// Prints the table, or the JSON object.
void lab_print(const struct output *out, const struct lab_place *place, const struct lab_peer *peers, unsigned count);
// Ends those that run: asks all at once, then signals. False when some don't end.
bool lab_stop(const struct output *out, const struct lab_peer *peers, unsigned count);

#endif
