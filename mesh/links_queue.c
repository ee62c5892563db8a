// Frames on their way out: encoded once, sent at once where the lane takes them, else kept in the bounded queue of
// their class.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "mesh/links_internal.h"

// ---- frames ----

enum link_class links_class_of(enum message_type type)
{
    if (message_info(type)->lane == LANE_BULK) return LINK_CLASS_BULK;
    return type == MESSAGE_CAST || type == MESSAGE_CAST_HAVE ? LINK_CLASS_CAST : LINK_CLASS_CONTROL;
}

enum core_err frame_make(struct links *l, const struct message *m, struct buffer *bulk, struct frame *out)
{
    size_t size;
    enum core_err err = wire_encode(m, &l->options.charter->id, l->scratch, WIRE_HEAD_MAX, &size);
    if (err) return err;
    *out = (struct frame){.bulk_bytes = m->bulk, .bytes = size + m->bulk.size};
    if (m->bulk.size && bulk) {
        out->bulk = buffer_keep(bulk);
    } else if (m->bulk.size) {
        out->bulk = buffer_new(m->bulk.size);
        if (!out->bulk) return CORE_ERR_NO_MEMORY;
        memcpy(buffer_data(out->bulk), m->bulk.data, m->bulk.size);
        out->bulk_bytes = buffer_slice(out->bulk);
    }
    if (zmq_msg_init_size(&out->head, size) != 0) {
        buffer_drop(out->bulk);
        return CORE_ERR_NO_MEMORY;
    }
    memcpy(zmq_msg_data(&out->head), l->scratch, size);
    return CORE_ERR_OK;
}

void frame_close(struct frame *f)
{
    zmq_msg_close(&f->head);
    buffer_drop(f->bulk);
}

static void drop_hint(void *data, void *hint)
{
    (void)data;
    buffer_drop(hint);
}

// libzmq sends the buffer's own bytes and drops it afterwards, from its I/O thread.
static bool send_bulk(void *socket, struct frame *f)
{
    zmq_msg_t bulk;
    if (zmq_msg_init_data(&bulk, (void *)(uintptr_t)f->bulk_bytes.data, f->bulk_bytes.size, drop_hint, f->bulk) != 0)
        return false;
    f->bulk = NULL;
    if (zmq_msg_send(&bulk, socket, ZMQ_DONTWAIT) >= 0) return true;
    zmq_msg_close(&bulk);
    return false;
}

// Sends all parts, or none: CORE_ERR_WOULD_BLOCK leaves the frame with the caller, anything else takes it.
static enum core_err send_parts(void *socket, const struct conn *to, struct frame *f)
{
    if (to && zmq_send(socket, to->routing_id, ROUTING_ID_SIZE, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
        if (errno == EAGAIN) return CORE_ERR_WOULD_BLOCK;
        frame_close(f);  // EHOSTUNREACH: the monitor says so too
        return CORE_ERR_UNREACHABLE;
    }
    if (zmq_msg_send(&f->head, socket, (f->bulk ? ZMQ_SNDMORE : 0) | ZMQ_DONTWAIT) < 0) {
        // With a routing id sent, libzmq has chosen the pipe and takes the rest; a DEALER without room refuses here.
        if (errno == EAGAIN && !to) return CORE_ERR_WOULD_BLOCK;
        frame_close(f);
        return CORE_ERR_UNREACHABLE;
    }
    bool ok = !f->bulk || send_bulk(socket, f);
    frame_close(f);  // what was sent is empty by now
    return ok ? CORE_ERR_OK : CORE_ERR_UNREACHABLE;
}

void conn_send(struct links *l, struct conn *c, const struct message *m)
{
    struct frame f;
    if (!c->named || c->closed || frame_make(l, m, NULL, &f)) return;
    if (send_parts(l->router, c, &f) == CORE_ERR_WOULD_BLOCK) frame_close(&f);
}

// ---- queues ----

static struct frame *queue_front(struct queue *q)
{
    return &q->frames[q->first];
}

static void queue_pop(struct queue *q)
{
    q->bytes -= queue_front(q)->bytes;
    q->first = (q->first + 1) % q->capacity;
    q->count--;
}

// The ring begins with nothing and doubles while it has to: an idle link costs no memory.
static bool queue_grow(struct queue *q)
{
    uint32_t capacity = q->capacity ? 2 * q->capacity : QUEUE_FRAMES_LEAST;
    if (capacity > QUEUE_FRAMES_MAX) return false;
    struct frame *frames = malloc(capacity * sizeof *frames);
    if (!frames) return false;
    for (uint32_t i = 0; i < q->count; i++) frames[i] = q->frames[(q->first + i) % q->capacity];
    free(q->frames);
    q->frames = frames;
    q->capacity = capacity;
    q->first = 0;
    return true;
}

static bool queue_push(struct queue *q, const struct frame *f, uint64_t limit)
{
    if (q->bytes + f->bytes > limit || (q->count == q->capacity && !queue_grow(q))) return false;
    q->frames[(q->first + q->count++) % q->capacity] = *f;
    q->bytes += f->bytes;
    return true;
}

void frames_close(struct queue *q)
{
    while (q->count) {
        frame_close(queue_front(q));
        queue_pop(q);
    }
    free(q->frames);
    *q = (struct queue){0};
}

static enum message_lane lane_of(enum link_class class)
{
    return class == LINK_CLASS_BULK ? LANE_BULK : LANE_CONTROL;
}

static bool may_send(const struct link *link, enum link_class class)
{
    return link->lanes[lane_of(class)].state == LANE_OPEN && (class != LINK_CLASS_BULK || link->credit > 0);
}

// One frame to the lane, with its accounts.
static enum core_err push(struct links *l, struct link *link, enum link_class class, struct frame *f)
{
    enum message_lane index = lane_of(class);
    struct lane *at = &link->lanes[index];
    size_t bytes = f->bytes;
    bool apart = class == LINK_CLASS_BULK && link->bulk.lane;
    enum core_err err = apart        ? bulk_push(link, f)
                        : at->dealer ? send_parts(at->dealer, NULL, f)
                                     : send_parts(l->router, &l->conns[at->conn], f);
    at->blocked = err == CORE_ERR_WOULD_BLOCK;
    if (err) return err;
    at->tx_bytes += bytes;
    at->tx_messages++;
    l->totals.tx_bytes[index] += bytes;
    if (class == LINK_CLASS_BULK) link->credit -= (int64_t)bytes;
    return CORE_ERR_OK;
}

enum core_err lane_send(struct links *l, struct link *link, enum link_class class, struct frame *f)
{
    struct queue *q = &link->queues[class];
    if (q->count == 0 && may_send(link, class)) {
        enum core_err err = push(l, link, class, f);
        if (err != CORE_ERR_WOULD_BLOCK) return err;
    }
    if (q->count == 0) q->since_ms = l->now_ms;
    const uint64_t limits[] = {l->options.control_queue_bytes, l->options.cast_queue_bytes,
                               l->options.bulk_queue_bytes};
    if (queue_push(q, f, limits[class])) return CORE_ERR_OK;
    frame_close(f);
    link->lanes[lane_of(class)].would_block++;
    link->dropped[class]++;
    l->totals.dropped[class]++;
    return CORE_ERR_WOULD_BLOCK;
}

bool lane_say(struct links *l, struct link *link, uint32_t lane, const struct message *m)
{
    struct frame f;
    if (frame_make(l, m, NULL, &f)) return false;
    enum core_err err = send_parts(link->lanes[lane].dealer, NULL, &f);
    if (err == CORE_ERR_WOULD_BLOCK) frame_close(&f);
    return err == CORE_ERR_OK;
}

bool lane_greet(struct links *l, struct link *link, uint32_t lane)
{
    struct message hello;
    hello_make(&l->self, &link->id, (enum message_lane)lane, link->nonce, &hello);
    return lane_say(l, link, lane, &hello);
}

void lane_flush(struct links *l, struct link *link, enum link_class class)
{
    struct queue *q = &link->queues[class];
    while (q->count && may_send(link, class)) {
        if (push(l, link, class, queue_front(q)) == CORE_ERR_WOULD_BLOCK) return;
        queue_pop(q);
        q->since_ms = l->now_ms;
    }
}

uint64_t lane_slow_at(const struct links *l, const struct link *link)
{
    uint64_t at = 0;
    // How bulk goes is for bulk_slow_at to say: what waits for credit may be a large message on a slow line.
    for (uint32_t i = 0; i < LINK_CLASS_BULK; i++) {
        const struct queue *q = &link->queues[i];
        if (!q->count) continue;
        uint64_t then = q->since_ms + (uint64_t)l->options.slow_ms;
        if (at == 0 || then < at) at = then;
    }
    return at;
}
