// Objects being fetched from other members into the store, each a store/fetch machine: datasets, parameters, inner
// states. Loop's thread.
#ifndef NODE_TRANSFERS_H
#define NODE_TRANSFERS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/effect.h"
#include "store/fetch.h"

struct node;

enum { TRANSFERS_MAX = 16 };

struct transfer {
    struct fetch *fetch;  // NULL: free
    struct core_hash root;
    // Everything is in the store (OK), or it failed. The transfer is free afterwards.
    void (*done)(struct node *n, void *context, enum core_err err);
    void *context;
};

struct transfers {
    struct transfer items[TRANSFERS_MAX];
};

// Fetches `root` from the alive members, `first` (may be NULL) before the others. CORE_ERR_LIMIT, NO_MEMORY. `done` is
// not called from within.
CORE_MUST_USE enum core_err transfers_start(struct node *n, const struct core_hash *root, const struct core_id *first,
                                            void (*done)(struct node *, void *, enum core_err), void *context);
// Forgets those with this context; their `done` is not called.
void transfers_cancel(struct node *n, void *context);
void transfers_chunk(struct node *n, const struct core_id *from, const struct message *m);
void transfers_gone(struct node *n, const struct core_id *peer);
void transfers_back(struct node *n, const struct core_id *peer);  // a member (again) alive and linked
void transfers_tick(struct node *n);
uint64_t transfers_next_ms(const struct transfers *t);
void transfers_close(struct transfers *t);

#endif
