// What a picture of the mesh is made of: who is there, where, and what lies between them, at one moment, as one peer
// and those that it asked know it. Plain values; a snapshot of the same moment gives the same picture, byte by byte.
// Texts may come from strangers: whoever draws passes them through atlas_label.
#ifndef ATLAS_SNAPSHOT_H
#define ATLAS_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/sign.h"

enum { ATLAS_NAME_MAX = 63, ATLAS_SITE_MAX = 31, ATLAS_DEVICES_MAX = 16, ATLAS_LABEL_MAX = 20 };

enum atlas_state { ATLAS_ALIVE, ATLAS_SUSPECT, ATLAS_DEAD, ATLAS_LEFT, ATLAS_STATES };

struct atlas_device {
    char name[32];  // "NVIDIA H100", "2 cpus"
    uint32_t busy;  // percent, UINT32_MAX: not known
    bool gpu;
};

struct atlas_peer {
    struct core_id id;
    char name[ATLAS_NAME_MAX + 1];
    char site[ATLAS_SITE_MAX + 1];  // "" for none
    uint64_t host;                  // the same for peers of one host
    enum atlas_state state;
    bool self;      // who took the snapshot
    bool answered;  // it told its links itself; others' are drawn grey
    bool located;
    double at[3], above;  // network coordinates and height, microseconds (gossip/coordinates.h)
    struct atlas_device devices[ATLAS_DEVICES_MAX];
    uint32_t device_count;
};

// A link between two, each pair once, a < b by their places in `peers`.
struct atlas_link {
    uint32_t a, b;
    uint64_t rtt_us;   // 0: not measured
    uint64_t bytes_s;  // over it, both ways, a second; 0: nothing or not known
};

// Who sends sums to whom in a run: `from` is a group's member, `to` owns the sum.
struct atlas_flow {
    uint32_t from, to;
    uint32_t level;  // of the tree, from 0
    uint32_t run;    // which of the runs that were asked for, from 0
};

struct atlas_snapshot {
    char mesh[ATLAS_NAME_MAX + 1];
    uint64_t taken_s;  // since 1970
    struct atlas_peer *peers;
    uint32_t peer_count;
    struct atlas_link *links;
    uint32_t link_count;
    struct atlas_flow *flows;
    uint32_t flow_count;
};

void atlas_snapshot_free(struct atlas_snapshot *s);
// Puts everything in its one order (peers by site, host, name, id; links and flows by their ends), whatever order it
// was gathered in; links that appear twice become one (the larger numbers count), those that point nowhere or at
// themselves are dropped. Layouts and pictures want a snapshot that went through here. CORE_ERR_NO_MEMORY.
CORE_MUST_USE enum core_err atlas_snapshot_settle(struct atlas_snapshot *s);

// `text` as it may be shown: printable ASCII, whatever else replaced by '?', at most `columns` (and ATLAS_LABEL_MAX)
// with
// "~" for what is left out of the middle: names of a kind differ at the end, those of hosts at the front. Returns its
// length.
size_t atlas_label(char out[ATLAS_LABEL_MAX + 1], const char *text, size_t columns);
const char *atlas_state_name(enum atlas_state state);

#endif
