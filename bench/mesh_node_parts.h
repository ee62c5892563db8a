// Inside the mesh benchmark's process: what mesh_node.c (identity, links, gossip's effects) and mesh_node_steer.c
// (lines in and out) share. One thread.
#ifndef BENCH_MESH_NODE_PARTS_H
#define BENCH_MESH_NODE_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/mesh_casts_seen.h"
#include "core/effect.h"
#include "gossip/gossip.h"
#include "mesh/certificate.h"
#include "mesh/links.h"

enum {
    MESH_NODES_MAX = 1024,
    MESH_LINKS_MAX = 128,
    MESH_WAITING_MAX = 64,
    MESH_SPONSORS_MAX = 4,
    MESH_TYPES = 256,
    MESH_LINE_MAX = 4096,
};

struct mesh_link {
    struct core_id id;
    bool used;
    bool unwanted;     // gossip hung up
    uint64_t used_ms;  // since when it is up
    uint64_t ping_nonce, ping_us;
};

// A message for a peer that is being dialled.
struct mesh_waiting {
    bool used;
    struct core_id to;
    struct arena arena;
    struct message message;
    uint64_t since_ms;
};

struct mesh_sponsor {
    struct core_id id;
    uint8_t addresses[ADDRESS_LIST_BYTES];
    size_t size;
};

// Broadcasts that are still to be sent.
struct mesh_publication {
    uint64_t next, end, start_us;
    uint64_t first;
    uint32_t size;
    double rate;  // a second; 0: at once
};

struct mesh_node {
    uint32_t index, count;
    struct core_key key;
    struct charter charter;
    uint8_t certificate[CERTIFICATE_MAX];
    size_t certificate_size;
    struct address listen;
    uint8_t address[ADDRESS_LIST_BYTES];
    size_t address_size;

    struct gossip *gossip;
    struct links *links;
    struct outbox out;
    bool performing;
    uint64_t now_ms;

    struct mesh_link link[MESH_LINKS_MAX];
    struct mesh_waiting waiting[MESH_WAITING_MAX];
    struct mesh_sponsor sponsors[MESH_SPONSORS_MAX];
    uint32_t sponsor_count;
    uint64_t join_ms;  // when the sponsors are tried again

    bool sees[MESH_NODES_MAX];
    uint32_t seen;  // this peer among them
    bool full;      // all were seen once
    struct casts_seen casts;
    struct mesh_publication publication;
    uint8_t *payload;
    uint64_t sent[MESH_TYPES], received[MESH_TYPES];
    uint64_t dials, dials_failed, links_up;  // begun, come to nothing; links of either side's dialling

    char line[MESH_LINE_MAX];
    size_t line_size;
    bool ended;
};

uint64_t mesh_node_clock_us(void);  // CLOCK_MONOTONIC
uint64_t mesh_node_wall_us(void);   // CLOCK_REALTIME: the same in every process

// mesh_node.c
void mesh_node_perform(struct mesh_node *n);  // what the outbox holds; call after every event
void mesh_node_join(struct mesh_node *n);     // dials the sponsors where no link is up

// mesh_node_steer.c
void mesh_node_ready(struct mesh_node *n);
void mesh_node_read(struct mesh_node *n);     // what stdin says; sets `ended`
void mesh_node_publish(struct mesh_node *n);  // what is due
// Milliseconds until something is due, at most `most`.
int mesh_node_publish_wait(const struct mesh_node *n, int most);
// What gossip says of this member changed.
void mesh_node_member(struct mesh_node *n, const struct core_id *id);

#endif
