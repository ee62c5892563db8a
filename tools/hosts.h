// Hosts made of network namespaces, to try a mesh over a network with limits and faults on one machine.
//
// A set of hosts has a tag. Host K (from 1) is the network namespace `mycel-TAG-K`, where any program can be run:
// `ip netns exec mycel-TAG-K CMD` or `mycel lab hosts exec K --tag TAG -- CMD`. Its device is eth0 with the address
// 10.77.0.K/16 and the bytes that eth0 counts are those on the wire. All hosts hang on one bridge in a namespace of its
// own, `mycel-TAG-net`; the machine's own network isn't touched, so two tags never meet.
//
//     host K                       mycel-TAG-net
//     [ eth0: tbf up ] ---veth--- [ hK: tbf down ]--bridge
//       | delay0: what K sends, held by the relay (tools/relay.h) and sent on through eth0; only with a delay
//       | nft table `lab`: what arrives and is cut off or lost is dropped, silently for the sender
//
// The kernel holds everything but the delays, which stand in a file that the relay reads (hosts_delays.h). Whatever a
// killed command left behind is found by the tag and removed by hosts_down.
//
// Needs CAP_NET_ADMIN and CAP_SYS_ADMIN, and the programs ip, tc and nft. Every function blocks; one thread.
#ifndef TOOLS_HOSTS_H
#define TOOLS_HOSTS_H

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

// Makes the hosts of `tag`; those that are there already stay, and get the limits given. `why` (HOSTS_WHY_SIZE) takes
// what failed and what to do next.
CORE_MUST_USE enum core_err hosts_up(const char *tag, const struct hosts_options *options, char *why);
// Ends every process that still runs in them and removes them with all that belongs to the tag. Fine when nothing does.
CORE_MUST_USE enum core_err hosts_down(const char *tag, char *why);
// How many there are: namespaces from 1 on without a gap.
unsigned hosts_count(const char *tag);
// Moves the calling process into the network of host `number`; for the time between fork and exec.
CORE_MUST_USE enum core_err hosts_enter(const char *tag, unsigned number);

// "mycel-TAG-K"; number 0: the bridge's.
char *hosts_name(char out[HOSTS_NAME_SIZE], const char *tag, unsigned number);
// "10.77.0.K". A host may have more, 10.77.GENERATION.K: addresses it gets later.
char *hosts_address(char out[HOSTS_ADDRESS_SIZE], unsigned number, unsigned generation);
// Gives host `number` the address of `generation` in place of all it had.
CORE_MUST_USE enum core_err hosts_readdress(const char *tag, unsigned number, unsigned generation, char *why);

// Letters, digits and '_', 1 to 20 of them.
bool hosts_tag_valid(const char *tag);

// ---- which hosts, and what to do to them ----

// Parsed from "K" or "A..B" (those, and everything else), "X-Y" (between X and Y, both ways) or "X->Y" (what X sends
// to Y), where X and Y are K or A..B.
struct hosts_ways {
    bool from[HOSTS_MAX + 1];
    bool to[HOSTS_MAX + 1];
    bool both;   // also what `to` sends to `from`
    bool alone;  // no second side was named
};

// CORE_ERR_USAGE with `why` when it isn't one or names a host above `count`. NULL: all of them.
CORE_MUST_USE enum core_err hosts_ways_parse(struct hosts_ways *ways, const char *text, unsigned count, char *why);

// What is sent that way never arrives, and nobody is told; or arrives again.
CORE_MUST_USE enum core_err hosts_cut(const char *tag, const struct hosts_ways *ways, bool cut, char *why);
// Holds what is sent that way for so long, from now on. The first delay starts the relay.
CORE_MUST_USE enum core_err hosts_delay(const char *tag, const struct hosts_ways *ways, uint32_t delay_us, char *why);
// Of single hosts: each way of the link, what arrives. CORE_ERR_USAGE when `ways` names two sides.
CORE_MUST_USE enum core_err hosts_rate(const char *tag, const struct hosts_ways *ways, uint64_t rate_bits, char *why);
CORE_MUST_USE enum core_err hosts_loss(const char *tag, const struct hosts_ways *ways, uint32_t millionth, char *why);

#endif
