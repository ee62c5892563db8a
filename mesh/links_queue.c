// Frames on their way out: encoded once, sent at once where libzmq takes them, else kept in the lane's bounded queue.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "mesh/links_internal.h"

// ---- frames ----

static bool fill(zmq_msg_t *m, const void *data, size_t size)
{
    if (zmq_msg_init_size(m, size) != 0) return false;
    if (size) memcpy(zmq_msg_data(m), data, size);
    return true;
}

enum core_err frame_make(struct links *l, const struct message *m, struct frame *out)
{
    uint8_t header[WIRE_HEADER_SIZE];
    size_t size;
    enum core_err err = wire_encode(m, &l->options.charter->id, header, l->scratch, WIRE_BODY_MAX, &size);
    if (err) return err;
    *out = (struct frame){.has_bulk = m->bulk.size > 0, .bytes = sizeof header + size + m->bulk.size};
    if (!fill(&out->header, header, sizeof header)) return CORE_ERR_NO_MEMORY;
    if (!fill(&out->body, l->scratch, size)) {
        zmq_msg_close(&out->header);
        return CORE_ERR_NO_MEMORY;
    }
    if (out->has_bulk && !fill(&out->bulk, m->bulk.data, m->bulk.size)) {
        zmq_msg_close(&out->header);
        zmq_msg_close(&out->body);
        return CORE_ERR_NO_MEMORY;
    }
    return CORE_ERR_OK;
}

void frame_close(struct frame *f)
{
    zmq_msg_close(&f->header);
    zmq_msg_close(&f->body);
    if (f->has_bulk) zmq_msg_close(&f->bulk);
}

// Sends all parts, or none: CORE_ERR_WOULD_BLOCK leaves the frame with the caller, anything else takes it.
static enum core_err send_parts(void *socket, const struct conn *to, struct frame *f)
{
    if (to && zmq_send(socket, to->routing_id, ROUTING_ID_SIZE, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
        if (errno == EAGAIN) return CORE_ERR_WOULD_BLOCK;
        frame_close(f);  // EHOSTUNREACH: the monitor says so too
        return CORE_ERR_UNREACHABLE;
    }
    if (zmq_msg_send(&f->header, socket, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
        // With a routing id sent, libzmq has chosen the pipe and takes the rest; a DEALER without room refuses here.
        if (errno == EAGAIN && !to) return CORE_ERR_WOULD_BLOCK;
        frame_close(f);
        return CORE_ERR_UNREACHABLE;
    }
    int rc = zmq_msg_send(&f->body, socket, (f->has_bulk ? ZMQ_SNDMORE : 0) | ZMQ_DONTWAIT);
    if (rc >= 0 && f->has_bulk) rc = zmq_msg_send(&f->bulk, socket, ZMQ_DONTWAIT);
    frame_close(f);  // what was sent is empty by now
    return rc < 0 ? CORE_ERR_UNREACHABLE : CORE_ERR_OK;
}

void conn_send(struct links *l, struct conn *c, const struct message *m)
{
    struct frame f;
    if (!c->named || c->closed || frame_make(l, m, &f)) return;
    if (send_parts(l->router, c, &f) == CORE_ERR_WOULD_BLOCK) frame_close(&f);
}

// ---- queues ----

bool queue_open(struct queue *q, uint32_t capacity)
{
    *q = (struct queue){.frames = calloc(capacity, sizeof *q->frames), .capacity = capacity};
    return q->frames != NULL;
}

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

void queue_close(struct queue *q)
{
    while (q->count) {
        frame_close(queue_front(q));
        queue_pop(q);
    }
    free(q->frames);
    *q = (struct queue){0};
}

static bool may_send(const struct link *link, uint32_t lane)
{
    return link->lanes[lane].state == LANE_OPEN && (lane != LANE_BULK || link->credit > 0);
}

// One frame to libzmq, with its accounts.
static enum core_err push(struct links *l, struct link *link, uint32_t lane, struct frame *f)
{
    struct lane *at = &link->lanes[lane];
    size_t bytes = f->bytes;
    enum core_err err = at->dealer ? send_parts(at->dealer, NULL, f) : send_parts(l->router, &l->conns[at->conn], f);
    at->blocked = err == CORE_ERR_WOULD_BLOCK;
    if (err) return err;
    at->tx_bytes += bytes;
    at->tx_messages++;
    l->totals.tx_bytes[lane] += bytes;
    if (lane == LANE_BULK) link->credit -= (int64_t)bytes;
    return CORE_ERR_OK;
}

enum core_err lane_send(struct links *l, struct link *link, uint32_t lane, struct frame *f)
{
    struct lane *at = &link->lanes[lane];
    struct queue *q = &at->queue;
    if (q->count == 0 && may_send(link, lane)) {
        enum core_err err = push(l, link, lane, f);
        if (err != CORE_ERR_WOULD_BLOCK) return err;
    }
    uint64_t limit = lane == LANE_BULK ? l->options.bulk_queue_bytes : l->options.control_queue_bytes;
    if (q->count == q->capacity || q->bytes + f->bytes > limit) {
        frame_close(f);
        at->would_block++;
        return CORE_ERR_WOULD_BLOCK;
    }
    q->frames[(q->first + q->count++) % q->capacity] = *f;
    q->bytes += f->bytes;
    return CORE_ERR_OK;
}

bool lane_greet(struct links *l, struct link *link, uint32_t lane)
{
    struct message hello;
    struct frame f;
    hello_make(&l->self, &link->id, (enum message_lane)lane, link->nonce, &hello);
    if (frame_make(l, &hello, &f)) return false;
    enum core_err err = send_parts(link->lanes[lane].dealer, NULL, &f);
    if (err == CORE_ERR_WOULD_BLOCK) frame_close(&f);
    return err == CORE_ERR_OK;
}

void lane_flush(struct links *l, struct link *link, uint32_t lane)
{
    struct queue *q = &link->lanes[lane].queue;
    while (q->count && may_send(link, lane)) {
        if (push(l, link, lane, queue_front(q)) == CORE_ERR_WOULD_BLOCK) return;
        queue_pop(q);
    }
}
