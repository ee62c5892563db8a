// A peer as a process: makes homes (`init`, `join`) and runs the daemon (`up`, `join`).
//
// Every function here blocks, belongs to the process's main thread, prints nothing on stdout, and explains a failure in
// `struct node_failure`. The daemon logs events to stderr, or, detached, to HOME/log.
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/sign.h"

enum { NODE_ADVERTISE_MAX = 8, NODE_PORT = 6173 };

// What failed, why, and what to do next: two sentences for a person.
struct node_failure {
    char what[768];
    char remedy[256];
};

struct node_options {
    const char *home;    // absolute path (home_path)
    const char *listen;  // "HOST:PORT", "PORT" or NULL: as the home's settings say, else 0.0.0.0:6173; port 0: any free
    const char *site;    // from now on; NULL: as the home's settings say, "": nowhere in particular
    const char
        *advertise[NODE_ADVERTISE_MAX];  // "HOST:PORT"; none: every non-loopback address, and 127.0.0.1 to this host
    uint32_t advertise_count;
    bool no_lan;             // neither announces itself to the LAN nor listens for others of the mesh
    bool map_port;           // asks the gateway for a port: PCP, NAT-PMP, UPnP
    uint32_t cpus;           // to compute with at most; 0: this peer's fair share of the machine
    uint64_t memory_bytes;   // 0: this peer's fair share of half of the machine's
    const char *gpus;        // "all" (as NULL), "none", how many, or names: "nvidia:0,nvidia:1"
    uint32_t share_percent;  // of what it may have, processors' time and memory; 0: all
    bool http;               // a live page on 127.0.0.1, ..
    uint16_t http_port;      // .. here; 0: any that is free
    bool log_json;
    bool quiet;    // warnings and errors only
    bool verbose;  // every event
    bool detach;   // run in a child process that outlives the caller; return once it is ready
};

// What init made.
struct node_created {
    struct core_hash mesh;
    char name[64];  // the mesh's, as `join` learned it
    struct core_id id;
};

struct node_init_options {
    const char *home;  // absolute
    const char *mesh_name;
    const char *peer_name;  // NULL: the host's name
    const char *listen;     // NULL: 0.0.0.0:6173
    bool byzantine;
};

// Bootstraps a private mesh in a new home: charter, key, first certificate. Starts nothing.
// CORE_ERR_EXISTS when a peer lives there already.
CORE_MUST_USE enum core_err node_init(const struct node_init_options *o, struct node_created *created,
                                      struct node_failure *why);

struct node_join_options {
    const char *home;   // absolute
    const char *token;  // as printed by `invite`
    const char *peer_name;
    const char *listen;
    const char *sponsors[NODE_ADVERTISE_MAX];  // "HOST:PORT" where the sponsor may be, besides the token's addresses
    uint32_t sponsor_count;
    // Told what each address answered, and every wait: one sentence without a line's end. May be NULL.
    void (*progress)(void *context, const char *text);
    void *context;
    uint32_t timeout_ms;  // for everything together; 0: 30 s
};

// Makes a home that is a member of the token's mesh: asks the sponsor at every address of the token, and is admitted or
// told why not. CORE_ERR_MALFORMED, TRUNCATED, EXPIRED, USED_UP, WRONG_MESH, REFUSED, UNREACHABLE, TIMED_OUT.
CORE_MUST_USE enum core_err node_join(const struct node_join_options *o, struct node_created *created,
                                      struct node_failure *why);

// Runs the peer of `o->home` until `down`, `leave`, SIGTERM or SIGINT, or, with `detach`, returns in the caller once
// the daemon is ready or has failed. CORE_ERR_OK after a graceful stop.
CORE_MUST_USE enum core_err node_run(const struct node_options *o, struct node_failure *why);

#endif
