// The gate: who may try to shake hands, and how often.
//
//   addresses  gate_accept, asked when a TCP connection is accepted, before any of CURVE's cost. libzmq asks its ZAP
//              handler only after it has done all of a server's arithmetic (HELLO, WELCOME, INITIATE and the vouch: 0.7
//              ms of CPU), so a limit there saves nothing. IPv6 counts by /64, what one machine is given.
//   keys       libzmq's ZAP handler (RFC 27), a thread of its own that must answer before the listener opens: without
//   one
//              a CURVE server accepts everyone. It refuses keys that are banned and limits how often the rest may try.
//
// Whether a key is a member is for HELLO to prove. Every function may be called from any thread; tables are of fixed
// size: of the buckets, the one that was idle for longest makes room.
#ifndef MESH_GATE_H
#define MESH_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum { GATE_KEY_SIZE = 32, GATE_ADDRESS_MAX = 48, GATE_USER_ID_MAX = 2 * GATE_KEY_SIZE + 1 };

// The ZAP domain that the listener names.
#define GATE_DOMAIN "mycel"
// Where libzmq asks, by ZAP's name for it.
#define GATE_ENDPOINT "inproc://zeromq.zap.01"

struct gate;

struct gate_refusal {
    bool banned;  // else: too many tries
    uint8_t key[GATE_KEY_SIZE];
    char address[GATE_ADDRESS_MAX];
};

// Binds the ZAP endpoint in libzmq's `context` and starts the thread; on return it answers. CORE_ERR_NO_MEMORY,
// CORE_ERR_IO.
CORE_MUST_USE enum core_err gate_open(void *context, struct gate **out);
// Call after zmq_ctx_shutdown and before zmq_ctx_term: waits for the thread.
void gate_close(struct gate *gate);

// Refuses a key for `ms` from now, 0: for ever. A later call for the same key replaces the earlier one.
void gate_ban(struct gate *gate, const uint8_t key[GATE_KEY_SIZE], uint64_t ms);
// Whether a connection from this address may go on; takes one try. False: shut it down.
CORE_MUST_USE bool gate_accept(struct gate *gate, const char *address);
// A member proved to hold this key, from `address` (NULL: we dialled it): its try there is given back, and it may try
// more often.
void gate_know(struct gate *gate, const uint8_t key[GATE_KEY_SIZE], const char *address);
// Somebody at this address sent rubbish: for `ms` connections from there get in only slowly.
void gate_slow(struct gate *gate, const char *address, uint64_t ms);
// The oldest refusal that was not taken yet; false where there is none. When more than 64 wait, later ones are only
// counted in `lost`.
bool gate_take(struct gate *gate, struct gate_refusal *out, uint64_t *lost);

#endif
