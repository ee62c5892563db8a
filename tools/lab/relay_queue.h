// Packets held until they are due, in the order in which they become so; equal times keep the order of arrival. A
// packet is read straight into its place and written from there: nothing is copied. Memory follows the bytes held, up
// to a limit. Pure; one thread.
#ifndef TOOLS_LAB_RELAY_QUEUE_H
#define TOOLS_LAB_RELAY_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RELAY_PACKET_MAX = 65536 + 64 };

struct relay_queue;

// Holds at most `bytes_max` bytes of packets.
struct relay_queue *relay_queue_new(size_t bytes_max);
void relay_queue_free(struct relay_queue *q);

// Where the next packet is to be read to, RELAY_PACKET_MAX bytes; NULL when the queue is full. The same place until
// relay_queue_add takes it.
uint8_t *relay_queue_place(struct relay_queue *q);
// Takes the `size` bytes that lie there now.
void relay_queue_add(struct relay_queue *q, size_t size, uint64_t due_ns);
// The packet due first, NULL when there is none; `due_ns` and `size` are told.
const uint8_t *relay_queue_first(const struct relay_queue *q, uint64_t *due_ns, size_t *size);
void relay_queue_drop_first(struct relay_queue *q);

#endif
