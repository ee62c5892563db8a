// A bump allocator: memory whose worst case is known from options, taken at start, then sealed.
// One owner, one thread. Nothing is freed alone; `arena_reset` forgets everything at once.
#ifndef CORE_ARENA_H
#define CORE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

struct arena {
    uint8_t *base;
    size_t size;  // bytes
    size_t used;  // bytes
    size_t peak;  // largest `used` ever
    bool sealed;  // no more allocation: a later one is a programmer's error
};

// Takes `size` bytes from the system. CORE_ERR_NO_MEMORY if there are none.
CORE_MUST_USE enum core_err arena_open(struct arena *a, size_t size);
void arena_close(struct arena *a);

// Zeroed memory aligned to 16 bytes, or NULL when the arena is full. Aborts if sealed.
void *arena_alloc(struct arena *a, size_t size);

// A copy of `size` bytes of `data`, or NULL when full. `size` 0 gives a valid pointer.
void *arena_copy(struct arena *a, const void *data, size_t size);

void arena_seal(struct arena *a);
void arena_reset(struct arena *a);

#endif
