// Anti-entropy: two neighbours find out where their tables differ, and exchange what each lacks.
//
//   PONG (or MEMBERS_ROOT, on a new link) carries the root of the sender's tree of marks (gossip/digest). Equal: done.
//   MEMBERS_NODES  where it differs, the nodes' children's marks; the other answers with those of the children that
//                  differ, and so on: log16(members) messages to a *leaf*, a node of few members that is named whole
//                  (id, incarnation, seq, accusations). A leaf is answered with
//   MEMBERS_RECORDS  what the other lacks or has older, and
//   MEMBERS_WANT     the ids of what is newer there.
// Equal tables cost 16 bytes in each PONG. Two samples of a mesh differ by design and are never compared: a table that
// is a sample now and then tells a few of its members that the other's sample would hold too.
//
// Bounded: one message is answered with at most SYNC_NODES_MAX nodes, SYNC_WANT_MAX ids and SYNC_RECORDS_BYTES bytes of
// records; what did not fit is found again.
#ifndef GOSSIP_SYNC_H
#define GOSSIP_SYNC_H

#include "core/effect.h"
#include "gossip/members.h"

enum {
    SYNC_NODES_MAX = 64,
    SYNC_LEAF_MAX = 32,  // members of a leaf
    SYNC_WANT_MAX = 512,
    SYNC_RECORDS_SIZE = 32768,    // bytes of one MEMBERS_RECORDS
    SYNC_RECORDS_BYTES = 262144,  // and of all that answer one message
    SYNC_SAMPLE = 16,
};

// The root, for a PONG or MEMBERS_ROOT; empty while the table is a sample.
struct slice sync_root(const struct members *m);
void sync_root_send(const struct members *m, const struct core_id *peer, struct outbox *out);
// True if the other's root differs: tables to be compared.
bool sync_differs(const struct members *m, struct slice root);
// Begins: the top of this table's tree, or some of its sample.
void sync_begin(struct members *m, const struct core_id *peer, struct outbox *out);
// One member's record and accusations.
void sync_entry_send(const struct member *member, const struct core_id *peer, struct outbox *out);

// True if the answer was begun. CORE_ERR_MALFORMED.
CORE_MUST_USE enum core_err sync_root_received(struct members *m, const struct core_id *from,
                                               const struct message_members_root *root, struct outbox *out);
CORE_MUST_USE enum core_err sync_nodes_received(struct members *m, const struct core_id *from,
                                                const struct message_members_nodes *nodes, struct outbox *out);
CORE_MUST_USE enum core_err sync_want_received(struct members *m, const struct core_id *from,
                                               const struct message_members_want *want, struct outbox *out);
// Entries of a MEMBERS_RECORDS, or of a saved table: record and accusations (may be empty) as views. False at the end,
// with r->failed if the bytes are malformed.
bool sync_entry_next(struct reader *r, struct slice *record, struct slice *accusations);
// The same as bytes: at most GOSSIP_ENTRY_MAX.
void sync_entry_write(struct writer *w, const struct member *member);

#endif
