// The sending thread: one lane after the other has its turn, a few records or packets at a time, as long as the system
// takes them.
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mesh/bulk_internal.h"

enum { EVENTS = 32, LOOK_TURNS = 8, LIMIT_US = 1000 };

// The message that is sent now is done.
static void item_done(struct bulk_lane *lane)
{
    struct item *item = lane->item;
    lane->item = NULL;
    buffer_drop(item->buffer);
    free(item);
    pthread_mutex_lock(&lane->bulk->mutex);
    lane->items--;
    pthread_mutex_unlock(&lane->bulk->mutex);
}

static enum core_err send_some(struct bulk_lane *lane, struct slice bytes)
{
    ssize_t got = send(lane->fd, bytes.data, bytes.size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) return CORE_ERR_OK;
    if (got < 0) return errno == EAGAIN ? CORE_ERR_WOULD_BLOCK : CORE_ERR_NOT_FOUND;
    record_writer_took(&lane->writer, (size_t)got);
    atomic_fetch_add(&lane->taken, (uint64_t)got);
    return CORE_ERR_OK;
}

// A few records of one lane. CORE_ERR_OK: there may be more to do.
static enum core_err turn_sealed(struct bulk_lane *lane)
{
    for (int i = 0; i < TURN && lane->item; i++) {
        struct slice next = record_writer_next(&lane->writer);
        enum core_err err = next.size ? send_some(lane, next) : CORE_ERR_OK;
        if (err) return err;
        if (next.size == 0) item_done(lane);
    }
    return CORE_ERR_OK;
}

static enum core_err take_turn(struct bulk_lane *lane)
{
    if (lane->way == LINK_WAY_SEALED) return turn_sealed(lane);
    const bool tells = packet_tells(lane);
    enum core_err err = tells ? packet_tell(lane) : packet_send(lane, lane->item);
    if (err == CORE_ERR_LIMIT) {
        usleep(LIMIT_US);
        return CORE_ERR_OK;
    }
    if (err || tells) return err;
    atomic_fetch_add(&lane->taken, lane->item->head_size + lane->item->bulk.size);
    item_done(lane);
    return CORE_ERR_OK;
}

// The next message of a lane becomes the one that is sent.
static void take_item(struct bulk_lane *lane)
{
    if (lane->item || !lane->first) return;
    lane->item = lane->first;
    lane->first = lane->item->next;
    if (!lane->first) lane->last = NULL;
    lane->item->next = NULL;
    if (lane->way == LINK_WAY_SEALED)
        record_writer_begin(&lane->writer, (struct slice){lane->item->head, lane->item->head_size}, lane->item->bulk);
}

static bool has_to_send(struct bulk *b, struct bulk_lane *lane)
{
    if (lane->tx_wants && !lane->dropped) {
        struct epoll_event e = {.events = EPOLLOUT | EPOLLET, .data.ptr = lane};
        lane->tx_wants = false;
        lane->tx_has = lane->writable = epoll_ctl(b->tx_epoll, EPOLL_CTL_ADD, lane->fd, &e) == 0;
    }
    if (!lane->tx_has || !lane->writable) return false;
    take_item(lane);
    return lane->item != NULL || packet_tells(lane);
}

// A lane to be let go, or the next one in turn that has something to send. With the mutex.
static struct bulk_lane *next_lane(struct bulk *b, const struct bulk_lane *after, bool *let_go)
{
    for (struct bulk_lane *lane = b->lanes; lane; lane = lane->next) {
        *let_go = lane->tx_has && (lane->dropped || lane->step == STEP_OVER || b->stopping);
        if (*let_go) return lane;
    }
    for (struct bulk_lane *lane = after ? after->next : NULL; lane; lane = lane->next)
        if (has_to_send(b, lane)) return lane;
    for (struct bulk_lane *lane = b->lanes; lane; lane = lane->next)
        if (has_to_send(b, lane)) return lane;
    return NULL;
}

static void look_for_room(struct bulk *b, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(b->tx_epoll, events, EVENTS, timeout_ms);
    pthread_mutex_lock(&b->mutex);
    b->tx_sleeps = false;
    for (int i = 0; i < count; i++) {
        struct source *source = events[i].data.ptr;
        if (source->kind == SOURCE_LANE) {
            ((struct bulk_lane *)(void *)source)->writable = true;
        } else {
            uint64_t times;
            (void)!read(b->tx_wake, &times, sizeof times);
        }
    }
    pthread_mutex_unlock(&b->mutex);
}

void *bulk_send_main(void *argument)
{
    struct bulk *b = argument;
    prctl(PR_SET_NAME, "bulk-send");
    struct bulk_lane *lane = NULL;
    for (uint32_t turns = 1;; turns++) {
        bool let_go = false;
        pthread_mutex_lock(&b->mutex);
        lane = next_lane(b, lane, &let_go);
        bool stop = !lane && b->stopping;
        b->tx_sleeps = !lane;
        pthread_mutex_unlock(&b->mutex);
        if (stop) return NULL;
        // A busy lane must not keep others from being seen to have room again.
        if (!lane || turns % LOOK_TURNS == 0) look_for_room(b, lane ? 0 : -1);
        if (!lane) continue;
        if (let_go) {
            epoll_ctl(b->tx_epoll, EPOLL_CTL_DEL, lane->fd, NULL);
            bulk_let_go(lane, &lane->tx_has);
            lane = NULL;
        } else {
            enum core_err err = take_turn(lane);
            if (err == CORE_ERR_WOULD_BLOCK) {
                pthread_mutex_lock(&b->mutex);
                lane->writable = false;
                pthread_mutex_unlock(&b->mutex);
            } else if (err) {
                bulk_end(lane, bulk_reason(err));
            }
        }
    }
}
