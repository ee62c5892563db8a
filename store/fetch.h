// Fetches an object by its root from several peers at once, as a pure state machine: it says whom to ask for what
// (EFFECT_SEND of MESSAGE_CHUNK_GET), judges what comes by its hash, and goes to the next peer on silence, refusal or
// wrong bytes. Files are the caller's: it puts what it is told to keep. One thread; states at the head of fetch.c.
#ifndef STORE_FETCH_H
#define STORE_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/effect.h"
#include "store/object.h"

enum { FETCH_PEERS_MAX = 64 };

struct fetch_options {
    uint64_t size_limit;  // bytes of the object in all; 0 for 32 GiB
    uint32_t in_flight;   // requests at once, over all peers; 0 for 8, at most 64
    uint32_t per_peer;    // requests at once to one peer; 0 for 2
    uint32_t timeout_ms;  // for one answer, at most; 0 for 10 000
    uint32_t first_ms;    // for the first answer: an index' peer has so long, doubled with each further one; a chunk's
                          // twice that, or 4 times what chunks have taken so far; 0 for 1 500
    uint32_t retry_ms;    // pause before every peer is asked once more; 0 for 2 000
    uint32_t sweeps;      // times that every peer is asked for one chunk before giving up; 0 for 5
    // Whether the caller holds a chunk of this many bytes already (store_has_size): one of another size means that the
    // index lies, which fetching it brings out. NULL: none.
    bool (*have)(void *context, const struct core_hash *hash, uint32_t size);
    void *context;
};

enum fetch_state {
    FETCH_IDLE,
    FETCH_INDEX,   // asking for the index
    FETCH_CHUNKS,  // asking for chunks
    FETCH_DONE,    // every chunk is held
    FETCH_FAILED,  // fetch_failure says why
};

// What the caller does with the bytes that it handed in.
enum fetch_verdict {
    FETCH_IGNORED,     // not asked for, late, or "I don't have it"
    FETCH_KEEP_INDEX,  // object_put_index(store, root, message.bulk), before the next event
    FETCH_KEEP_CHUNK,  // store_put_checked(store, hash, message.bulk), before the next event
    FETCH_WRONG,       // the bytes are not what their name says: costs the sender, who isn't asked again
};

// Why a peer did not give what it was asked for.
struct fetch_peer {
    struct core_id id;
    uint64_t bytes;  // good ones
    uint32_t asked, timeouts, refusals, wrong;
    bool gone;  // fetch_peer_gone, or wrong bytes
};

struct fetch;

CORE_MUST_USE enum core_err fetch_open(struct fetch **out, const struct fetch_options *options);
void fetch_close(struct fetch *f);  // NULL is fine

// Begins a fetch, forgetting an earlier one; the candidates are asked in turn, beginning with the first.
void fetch_start(struct fetch *f, const struct core_hash *root, const struct core_id *peers, uint32_t count,
                 uint64_t now_ms, struct outbox *out);
// One more candidate, or one that came back. Beyond FETCH_PEERS_MAX it is passed over.
void fetch_candidate(struct fetch *f, const struct core_id *peer, uint64_t now_ms, struct outbox *out);
void fetch_peer_gone(struct fetch *f, const struct core_id *peer, uint64_t now_ms, struct outbox *out);
// MESSAGE_CHUNK of an authenticated peer.
enum fetch_verdict fetch_chunk(struct fetch *f, const struct core_id *from, const struct message *m, uint64_t now_ms,
                               struct outbox *out);
// What was to be kept could not be written (NO_SPACE ..): the fetch fails with that error.
void fetch_abort(struct fetch *f, enum core_err why);
void fetch_tick(struct fetch *f, uint64_t now_ms, struct outbox *out);
uint64_t fetch_next_ms(const struct fetch *f);  // UINT64_MAX for never

struct fetch_progress {
    enum fetch_state state;
    struct core_hash root;
    uint32_t chunks, chunks_done;  // 0 until the index is there
    uint64_t bytes, bytes_done;
    uint32_t in_flight;
};
struct fetch_progress fetch_progress(const struct fetch *f);
// The reason of FETCH_FAILED: NOT_FOUND (everyone answered, nobody has it), UNREACHABLE (somebody did not answer),
// VERIFY_FAILED (only wrong bytes came), TOO_LARGE, or fetch_abort's.
enum core_err fetch_failure(const struct fetch *f);
// The candidates and what came of them, for `why` texts.
const struct fetch_peer *fetch_peers(const struct fetch *f, uint32_t *count);

#endif
