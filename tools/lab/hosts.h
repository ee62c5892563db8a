// Hosts made of network namespaces, to try a mesh over a network with limits and faults on one machine.
//
// A set of hosts has a tag. Host K (from 1) is the network namespace `mycel-TAG-K`, where any program can be run:
// `ip netns exec mycel-TAG-K CMD` or `mycel lab hosts exec K --tag TAG -- CMD`. Its device is eth0 with the address
// 10.77.0.K, and the bytes that eth0 counts are those on the wire. All hosts hang on one router, the namespace
// `mycel-TAG-net`. The machine's own network isn't touched, so two tags never meet.
//
//     host K                mycel-TAG-net                        host L
//     [eth0: tbf up] --veth-- [hK] -> [relay] -> [nft] -> [hL: tbf down] --veth-- [eth0]
//
// relay: a process that holds each packet for the delay from K to L (tools/lab/relay.h); only where there is a delay.
// nft: drops what is cut off or lost, silently for both sides. Neighbours are fixed and IPv6 is off: an idle host
// neither sends nor receives anything of its own.
//
// What was asked for stands in a file (tools/lab/hosts_state.h), from which `list` reads and from which the kernel is
// told. Whatever a killed command left behind is found by the tag and removed by hosts_down.
//
// Needs root (or its capabilities over network and mounts) and the programs ip, tc and nft. Every function blocks; one
// thread. `why` takes what failed and what to do next.
#ifndef TOOLS_LAB_HOSTS_H
#define TOOLS_LAB_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum { HOSTS_MAX = 254, HOSTS_TAG_SIZE = 24, HOSTS_NAME_SIZE = 48, HOSTS_ADDRESS_SIZE = 16, HOSTS_WHY_SIZE = 512 };

struct hosts_options {
    unsigned count;           // 1 to HOSTS_MAX
    uint64_t rate_bits;       // a second, each way of every host; 0: as fast as it goes
    uint32_t delay_us;        // one way, between any two hosts
    uint32_t loss_millionth;  // of the packets that arrive
};

// Letters, digits and '_', 1 to 20 of them.
bool hosts_tag_valid(const char *tag);
// "mycel-TAG-K"; number 0: the router's.
char *hosts_name(char out[HOSTS_NAME_SIZE], const char *tag, unsigned number);
// "10.77.0.K". A host may be given another, 10.77.GENERATION.K.
char *hosts_address(char out[HOSTS_ADDRESS_SIZE], unsigned number, unsigned generation);

// Makes the hosts of `tag`; those that are there already stay. All get the limits given, and what was cut is whole.
CORE_MUST_USE enum core_err hosts_up(const char *tag, const struct hosts_options *options, char why[HOSTS_WHY_SIZE]);
// Ends every process that still runs in them, and removes them with all that belongs to the tag. Fine when nothing
// does.
CORE_MUST_USE enum core_err hosts_down(const char *tag, char why[HOSTS_WHY_SIZE]);
// How many there are: namespaces from 1 on without a gap.
unsigned hosts_count(const char *tag);
// The namespace of host `number` for spawn_start_in() and setns(); -1 when there is none. The caller closes it.
int hosts_open(const char *tag, unsigned number);
// The address that host `number` has now.
char *hosts_address_now(char out[HOSTS_ADDRESS_SIZE], const char *tag, unsigned number);
// Takes host `number`'s address away and gives it one that it never had; `address` takes that.
CORE_MUST_USE enum core_err hosts_readdress(const char *tag, unsigned number, char address[HOSTS_ADDRESS_SIZE],
                                            char why[HOSTS_WHY_SIZE]);

// ---- which hosts, and what happens to what they send ----

// Parsed from "K" or "A..B" (those hosts, and everything else), "X-Y" (between X and Y, both ways) or "X->Y" (what X
// sends to Y), where X and Y are K or A..B.
struct hosts_ways {
    bool from[HOSTS_MAX + 1];
    bool to[HOSTS_MAX + 1];
    bool both;   // also what `to` sends to `from`
    bool alone;  // no second side was named
};

// CORE_ERR_USAGE with `why` when it isn't one or names a host above `count`. NULL: between all of them.
CORE_MUST_USE enum core_err hosts_ways_parse(struct hosts_ways *ways, const char *text, unsigned count,
                                             char why[HOSTS_WHY_SIZE]);

// What is sent that way never arrives, and nobody is told; or it arrives again.
CORE_MUST_USE enum core_err hosts_cut(const char *tag, const struct hosts_ways *ways, bool cut,
                                      char why[HOSTS_WHY_SIZE]);
// Each packet sent that way from now on arrives so much later.
CORE_MUST_USE enum core_err hosts_delay(const char *tag, const struct hosts_ways *ways, uint32_t delay_us,
                                        char why[HOSTS_WHY_SIZE]);
// Of the hosts in `from`: each way of their link, and what arrives. CORE_ERR_USAGE when `ways` has two sides.
CORE_MUST_USE enum core_err hosts_rate(const char *tag, const struct hosts_ways *ways, uint64_t rate_bits,
                                       char why[HOSTS_WHY_SIZE]);
CORE_MUST_USE enum core_err hosts_loss(const char *tag, const struct hosts_ways *ways, uint32_t millionth,
                                       char why[HOSTS_WHY_SIZE]);

#endif
