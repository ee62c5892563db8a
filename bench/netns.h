// A private network for the processes of a benchmark: a network namespace in which only lo is, so that nothing else's
// bytes are counted and packets can be dropped without touching the machine. Process I gets the address
// netns_address(I) and the user NETNS_USER + I, by which the kernel gives its outgoing connections that address, too:
// then every packet says truly whose it is, whatever program sent it. Needs root, and `ip`; cuts need `nft`. One
// thread.
#ifndef BENCH_NETNS_H
#define BENCH_NETNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NETNS_NODES_MAX = 1024, NETNS_USER = 40000, NETNS_ADDRESS_MAX = 20 };

struct netns {
    int fd;      // -1: none; the processes run in the machine's own network
    int before;  // where the caller was
    uint32_t nodes;
};

// Makes one for `nodes` processes. Where that cannot be, `why` says so, and false is returned with ns->fd -1.
bool netns_open(struct netns *ns, uint32_t nodes, char *why, size_t why_size);
void netns_close(struct netns *ns);

void netns_address(uint32_t index, char out[NETNS_ADDRESS_MAX]);

// What is started between these two runs in it. No-ops where ns->fd is -1.
void netns_enter(const struct netns *ns);
void netns_leave(const struct netns *ns);

// What lo carried since it was made, all headers counted. False where ns->fd is -1.
bool netns_counters(const struct netns *ns, uint64_t *bytes, uint64_t *packets);

// From now on the first `count` processes and the rest don't reach each other. False where nft failed.
bool netns_cut_half(const struct netns *ns, uint32_t count);
// Nor does this one reach anyone.
bool netns_cut_one(const struct netns *ns, uint32_t index);
bool netns_heal(const struct netns *ns);  // all cuts end

#endif
