// Bulk bytes with a count of who holds them: what a link sends without a copy and what it hands up without one. A
// buffer is plain memory from a pool, a memfd that several processes of one host map (sealed for good, or a slab of a
// pool), or somebody else's memory with a function to give it back.
//
// Keep and drop may be called from any thread; the bytes of a buffer that more than one holds are never written.
#ifndef MESH_BUFFER_H
#define MESH_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"

struct buffer;

// `size` bytes that the caller fills in, one holder. NULL without memory.
CORE_MUST_USE struct buffer *buffer_new(size_t size);
// The same in a memfd, page-aligned: fill it in, then call buffer_seal; from then on it is read-only and goes to other
// processes of this host by its descriptor. NULL without memory or where the system has no memfd.
CORE_MUST_USE struct buffer *buffer_new_shared(size_t size);
// Takes over `data`: `release(context)` is called when the last holder drops it. NULL without memory (not taken over).
CORE_MUST_USE struct buffer *buffer_adopt(void *data, size_t size, void (*release)(void *context), void *context);

struct buffer *buffer_keep(struct buffer *b);  // NULL is fine, as for drop; returns `b`
void buffer_drop(struct buffer *b);

uint8_t *buffer_data(struct buffer *b);
size_t buffer_size(const struct buffer *b);
struct slice buffer_slice(struct buffer *b);

// Ends writing to a shared buffer: its mapping becomes read-only in place, its memfd is sealed against writing and
// resizing. Before anybody else holds it. CORE_ERR_OK where it is sealed by now, CORE_ERR_UNSUPPORTED where it isn't
// shared, CORE_ERR_IO (the bytes are lost).
CORE_MUST_USE enum core_err buffer_seal(struct buffer *b);
// A copy to be sent only: a sealed memfd without a mapping (buffer_data is NULL). Writing into a memfd by its
// descriptor costs less than half of what filling a fresh mapping does. NULL as above.
CORE_MUST_USE struct buffer *buffer_copy_shared(struct slice from);
// The descriptor of a sealed shared buffer or slab, which the buffer closes; -1 for any other.
int buffer_descriptor(const struct buffer *b);
// Maps what another process sent: takes `fd` over in any case. CORE_ERR_MALFORMED unless it is a memfd of exactly
// `size` bytes, sealed against writing, growing and shrinking; CORE_ERR_NO_MEMORY.
CORE_MUST_USE enum core_err buffer_map(int fd, size_t size, struct buffer **out);

// ---- a pool: memory of large buffers is used again while it is warm ----

struct buffer_pool;
// Keeps at most `keep_bytes` of free memory. NULL without memory.
CORE_MUST_USE struct buffer_pool *buffer_pool_open(size_t keep_bytes);
// The pool's memory goes when its last buffer does.
void buffer_pool_close(struct buffer_pool *pool);
// As buffer_new, from the pool. Any thread.
CORE_MUST_USE struct buffer *buffer_pool_new(struct buffer_pool *pool, size_t size);
// A slab: shared memory that is used again once all have dropped it, here and in the processes that it was lent to
// (mesh/bulk_slabs.c), so that its pages are neither cleared nor mapped anew for every message. It cannot be resized
// and nobody else can write to it; we can, so it is lent only to who may trust us: the same user in the same
// namespaces. Fill it in, then buffer_seal. NULL without memory or where the system has none of it.
CORE_MUST_USE struct buffer *buffer_pool_new_slab(struct buffer_pool *pool, size_t size);
bool buffer_is_slab(const struct buffer *b);
// Somebody may go on reading a slab who will not say when it is over: its memory is not used again.
void buffer_spoil(struct buffer *b);
// Gives free memory back to the system: for an idle peer.
void buffer_pool_trim(struct buffer_pool *pool);
// From now on at most `bytes` are kept; with 0 what is free goes at once, and what becomes free.
void buffer_pool_keep(struct buffer_pool *pool, size_t bytes);

#endif
