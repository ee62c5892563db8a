// How pure code talks to the world: a state machine is handed an event and writes effects into an outbox; the loop
// (`node/`) or the simulator performs them in order, then resets the outbox.
//
// Order is the contract: an EFFECT_PERSIST is durable before any later effect of the same outbox is performed. If
// it fails (a full disk), the rest of that outbox is dropped and the machine is told through its own event.
#ifndef CORE_EFFECT_H
#define CORE_EFFECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/message.h"

// What a broadcast's payload is: each topic's payload is its owner's canonical signed object.
enum cast_topic {
    TOPIC_MEMBER = 1,       // a member's record (gossip/members)
    TOPIC_SUSPICION = 2,    // accusations of one member (gossip/monitor)
    TOPIC_REVOCATION = 3,   // mesh/certificate
    TOPIC_RUN = 4,          // a run's description (learn/run)
    TOPIC_ENTER = 5,        // a peer asks to train, or says it leaves (learn/round)
    TOPIC_COMMIT = 6,       // a trainer's commit (learn/commit)
    TOPIC_PROPOSAL = 7,     // ledger/consensus
    TOPIC_VOTE = 8,         // ledger/consensus
    TOPIC_RUN_COMMAND = 9,  // pause, resume, cancel (learn/run)
    TOPIC_NEWCOMERS = 10,   // several members' records (gossip/newcomers)
    TOPIC_EVIDENCE = 11,    // proof that a member of a run signed two words for one place (learn/evidence)
    TOPIC_COUNT
};

enum effect_kind {
    EFFECT_SEND,     // message to peer `to`, dialling it first where there is no link
    EFFECT_CAST,     // broadcast `payload` under `topic` (learn asks, gossip performs)
    EFFECT_DELIVER,  // a broadcast arrived: `payload` of `origin` under `topic` (gossip hands up)
    EFFECT_DIAL,     // open a link to peer `to` at `payload` (addresses as in its member record)
    EFFECT_HANGUP,   // close the link to `to`
    EFFECT_MEMBER,   // what is known of member `to` changed
    EFFECT_PERSIST,  // write `payload` durably; `kind_of` says what it is to its owner
    EFFECT_WORK,     // heavy work for a worker: `kind_of` and `payload` (a struct of the owner); done comes as an event
};

struct effect {
    enum effect_kind kind;
    struct core_id to;       // peer, member or origin
    uint32_t kind_of;        // topic, or the owner's number
    struct slice payload;    // in the outbox's arena
    struct message message;  // EFFECT_SEND; its views lie in the outbox's arena
};

// Fixed size, one thread. When it is full, further effects are dropped and counted: every protocol here repairs a
// lost message, and a PERSIST or WORK that did not fit is a programmer's error (size the outbox for a step).
struct outbox {
    struct arena arena;
    struct effect *effects;
    size_t count;
    size_t capacity;
    uint64_t dropped;
};

CORE_MUST_USE enum core_err outbox_open(struct outbox *o, size_t effects, size_t bytes);
void outbox_close(struct outbox *o);
void outbox_reset(struct outbox *o);

// Each copies what it is given into the outbox's arena.
void outbox_send(struct outbox *o, const struct core_id *to, const struct message *m);
void outbox_cast(struct outbox *o, enum cast_topic topic, struct slice payload);
void outbox_deliver(struct outbox *o, const struct core_id *origin, enum cast_topic topic, struct slice payload);
void outbox_dial(struct outbox *o, const struct core_id *to, struct slice addresses);
void outbox_hangup(struct outbox *o, const struct core_id *to);
void outbox_member(struct outbox *o, const struct core_id *member);
void outbox_persist(struct outbox *o, uint32_t kind_of, struct slice payload);
void outbox_work(struct outbox *o, uint32_t kind_of, const void *args, size_t size);

// Deep copy of a message's views into `a`; false when the arena is full.
bool message_copy(struct arena *a, struct message *to, const struct message *from);

#endif
