#include "mesh/bulk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/check.h"
#include "mesh/bulk_internal.h"

uint64_t bulk_clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void bulk_wake(int descriptor)
{
    uint64_t one = 1;
    (void)!write(descriptor, &one, sizeof one);  // full: it is awake
}

// ---- opening and closing ----

static bool watch(int epoll, int fd, struct source *source)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = source};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}

static bool open_descriptors(struct bulk *b)
{
    b->rx_epoll = epoll_create1(EPOLL_CLOEXEC);
    b->tx_epoll = epoll_create1(EPOLL_CLOEXEC);
    b->rx_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->tx_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->ready = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return b->rx_epoll >= 0 && b->tx_epoll >= 0 && b->rx_wake >= 0 && b->tx_wake >= 0 && b->ready >= 0 &&
           watch(b->rx_epoll, b->rx_wake, &b->rx_wake_source) && watch(b->tx_epoll, b->tx_wake, &b->tx_wake_source);
}

enum core_err bulk_open(const struct bulk_options *options, struct bulk **out)
{
    struct bulk *b = calloc(1, sizeof *b);
    if (!b) return CORE_ERR_NO_MEMORY;
    b->options = *options;
    b->mesh = *options->mesh;
    if (!b->options.records_a_key) b->options.records_a_key = SEAL_RECORDS_MAX;
    b->rx_epoll = b->tx_epoll = b->rx_wake = b->tx_wake = b->ready = b->tcp = b->local = -1;
    b->rx_wake_source.kind = b->tx_wake_source.kind = SOURCE_WAKE;
    b->tcp_source.kind = SOURCE_TCP;
    b->unix_source.kind = SOURCE_UNIX;
    for (int i = 0; i < STRANGERS_MAX; i++) b->strangers[i] = (struct stranger){{SOURCE_STRANGER}, .fd = -1};
    check(pthread_mutex_init(&b->mutex, NULL) == 0);
    b->pool = buffer_pool_open(b->options.pool_bytes);
    bool ok = b->pool && open_descriptors(b);
    if (ok && !options->no_listener) bulk_listen(b);
    b->rx_runs = ok && pthread_create(&b->rx, NULL, bulk_receive_main, b) == 0;
    b->tx_runs = b->rx_runs && pthread_create(&b->tx, NULL, bulk_send_main, b) == 0;
    if (b->tx_runs) {
        *out = b;
        return CORE_ERR_OK;
    }
    bulk_close(b);
    return ok ? CORE_ERR_NO_MEMORY : CORE_ERR_IO;
}

static void close_if_open(int fd)
{
    if (fd >= 0) close(fd);
}

void bulk_close(struct bulk *b)
{
    if (!b) return;
    pthread_mutex_lock(&b->mutex);
    b->stopping = true;
    pthread_mutex_unlock(&b->mutex);
    if (b->rx_runs) bulk_wake(b->rx_wake);
    if (b->tx_runs) bulk_wake(b->tx_wake);
    if (b->rx_runs) pthread_join(b->rx, NULL);
    if (b->tx_runs) pthread_join(b->tx, NULL);
    struct bulk_event e;
    while (bulk_next(b, &e)) bulk_event_done(b, &e);
    check(!b->lanes);  // each was dropped by its owner
    (void)bulk_maps_trim(b, true);
    for (int i = 0; i < STRANGERS_MAX; i++) close_if_open(b->strangers[i].fd);
    close_if_open(b->tcp);
    close_if_open(b->local);
    close_if_open(b->rx_epoll);
    close_if_open(b->tx_epoll);
    close_if_open(b->rx_wake);
    close_if_open(b->tx_wake);
    close_if_open(b->ready);
    buffer_pool_close(b->pool);
    pthread_mutex_destroy(&b->mutex);
    free(b);
}

int bulk_descriptor(const struct bulk *b)
{
    return b->ready;
}

uint16_t bulk_port(const struct bulk *b)
{
    return b->port;
}

const char *bulk_name(const struct bulk *b)
{
    return b->name;
}

uint64_t bulk_refused(const struct bulk *b)
{
    return atomic_load(&b->refused);
}

// ---- lanes ----

void bulk_hold(struct bulk_lane *lane)
{
    atomic_fetch_add(&lane->holders, 1);
}

static void drop_items(struct item *item)
{
    while (item) {
        struct item *next = item->next;
        buffer_drop(item->buffer);
        free(item);
        item = next;
    }
}

void bulk_release(struct bulk_lane *lane)
{
    if (atomic_fetch_sub(&lane->holders, 1) != 1) return;
    drop_items(lane->first);
    drop_items(lane->item);
    bulk_lend_end(lane);
    bulk_returns_end(lane->returns);
    if (lane->reader.seal) record_reader_close(&lane->reader);
    if (lane->writer.seal) record_writer_close(&lane->writer);
    free(lane->packet);
    close_if_open(lane->fd);
    explicit_bzero(lane, sizeof *lane);
    free(lane);
}

static struct bulk_lane *lane_new(struct bulk *b, uint64_t tag, const struct seal_binding *binding, enum link_way way)
{
    struct bulk_lane *lane = calloc(1, sizeof *lane);
    if (!lane) return NULL;
    *lane = (struct bulk_lane){.source = {SOURCE_LANE},
                               .bulk = b,
                               .tag = tag,
                               .way = way,
                               .cipher = binding->cipher,
                               .ticket = binding->ticket,
                               .fd = -1};
    atomic_init(&lane->holders, 1);  // the owner
    seal_derive(binding, &lane->keys);
    return lane;
}

static void lane_add(struct bulk *b, struct bulk_lane *lane)
{
    pthread_mutex_lock(&b->mutex);
    bulk_hold(lane);  // the list's
    lane->next = b->lanes;
    b->lanes = lane;
    pthread_mutex_unlock(&b->mutex);
}

struct bulk_lane *bulk_expect(struct bulk *b, uint64_t tag, const struct seal_binding *binding, enum link_way way)
{
    struct bulk_lane *lane = lane_new(b, tag, binding, way);
    if (lane) lane_add(b, lane);
    return lane;
}

struct bulk_lane *bulk_connect(struct bulk *b, uint64_t tag, const struct seal_binding *binding, enum link_way way,
                               const char *host, uint16_t port, const char *name)
{
    struct bulk_lane *lane = lane_new(b, tag, binding, way);
    if (!lane) return NULL;
    lane->dialled = true;
    lane->step = STEP_CONNECTING;
    lane->port = port;
    snprintf(lane->host, sizeof lane->host, "%s", host);
    snprintf(lane->name, sizeof lane->name, "%s", name);
    lane_add(b, lane);
    bulk_wake(b->rx_wake);
    return lane;
}

// The list's hold goes once the owner has dropped the lane and no thread has it. With the mutex.
static bool unlink_if_free(struct bulk_lane *lane)
{
    if (!lane->dropped || lane->rx_has || lane->tx_has) return false;
    for (struct bulk_lane **at = &lane->bulk->lanes; *at; at = &(*at)->next) {
        if (*at != lane) continue;
        *at = lane->next;
        return true;
    }
    return false;
}

void bulk_drop(struct bulk_lane *lane)
{
    struct bulk *b = lane->bulk;
    pthread_mutex_lock(&b->mutex);
    lane->dropped = lane->ended = true;
    if (lane->fd >= 0) shutdown(lane->fd, SHUT_RDWR);
    bool gone = unlink_if_free(lane);
    pthread_mutex_unlock(&b->mutex);
    if (gone) {
        bulk_release(lane);
    } else {
        bulk_wake(b->rx_wake);
        bulk_wake(b->tx_wake);
    }
    bulk_release(lane);
}

void bulk_let_go(struct bulk_lane *lane, bool *has)
{
    struct bulk *b = lane->bulk;
    pthread_mutex_lock(&b->mutex);
    *has = false;
    bool gone = unlink_if_free(lane);
    pthread_mutex_unlock(&b->mutex);
    if (gone) bulk_release(lane);
}

enum core_err bulk_send(struct bulk_lane *lane, struct slice head, struct buffer *buffer, struct slice bulk)
{
    struct bulk *b = lane->bulk;
    struct item *item = malloc(sizeof *item + head.size);
    if (!item) return CORE_ERR_NO_MEMORY;
    *item = (struct item){.buffer = buffer, .bulk = bulk, .head_size = head.size};
    memcpy(item->head, head.data, head.size);
    pthread_mutex_lock(&b->mutex);
    bool full = lane->items >= BULK_ITEMS_MAX;
    if (!full) {
        buffer_keep(buffer);
        if (lane->last)
            lane->last->next = item;
        else
            lane->first = item;
        lane->last = item;
        lane->items++;
    }
    bool wake = !full && b->tx_sleeps && lane->writable;  // else room wakes it, or its opening
    pthread_mutex_unlock(&b->mutex);
    if (full) free(item);
    if (wake) bulk_wake(b->tx_wake);
    return full ? CORE_ERR_WOULD_BLOCK : CORE_ERR_OK;
}

void bulk_allow(struct bulk_lane *lane, uint64_t bytes)
{
    atomic_fetch_add(&lane->allowance, (int_fast64_t)bytes);
}

void bulk_disallow(struct bulk_lane *lane, uint64_t bytes)
{
    atomic_fetch_sub(&lane->allowance, (int_fast64_t)bytes);
}

bool bulk_allowed(void *context, size_t bytes)
{
    struct bulk_lane *lane = context;
    // As the sender counts: any credit that is left lets one more message go.
    return atomic_fetch_sub(&lane->allowance, (int_fast64_t)bytes) > 0;
}

uint64_t bulk_tag(const struct bulk_lane *lane)
{
    return lane->tag;
}

enum link_way bulk_way(const struct bulk_lane *lane)
{
    return lane->way;
}

uint32_t bulk_waiting(struct bulk_lane *lane, uint64_t *taken_bytes)
{
    *taken_bytes = atomic_load(&lane->taken);
    pthread_mutex_lock(&lane->bulk->mutex);
    uint32_t items = lane->items;
    pthread_mutex_unlock(&lane->bulk->mutex);
    return items;
}

// ---- events ----

enum link_reason bulk_reason(enum core_err err)
{
    switch (err) {
    case CORE_ERR_NOT_FOUND: return LINK_CLOSED;
    case CORE_ERR_LIMIT: return LINK_NO_CREDIT;
    case CORE_ERR_TOO_LARGE: return LINK_TOO_LARGE;
    case CORE_ERR_UNKNOWN_TYPE: return LINK_UNKNOWN_TYPE;
    case CORE_ERR_UNKNOWN_VERSION: return LINK_UNKNOWN_VERSION;
    case CORE_ERR_WRONG_MESH: return LINK_WRONG_MESH;
    case CORE_ERR_MALFORMED: return LINK_MALFORMED;
    default: return LINK_LANE;  // what doesn't open may be anybody's doing
    }
}

static void post(struct bulk *b, struct event_node *node)
{
    bool first = !b->first;
    if (b->last)
        b->last->next = node;
    else
        b->first = node;
    b->last = node;
    if (first) bulk_wake(b->ready);
}

bool bulk_post(struct bulk_lane *lane, enum bulk_event_kind kind, enum link_reason reason, struct slice head,
               struct buffer *buffer)
{
    struct event_node *node = malloc(sizeof *node + head.size);
    if (!node) return false;
    *node = (struct event_node){.event = {.kind = kind, .lane = lane, .reason = reason, .bulk = buffer}};
    if (head.size) memcpy(node->head, head.data, head.size);
    node->event.head = (struct slice){node->head, head.size};
    bulk_hold(lane);
    pthread_mutex_lock(&lane->bulk->mutex);
    post(lane->bulk, node);
    pthread_mutex_unlock(&lane->bulk->mutex);
    return true;
}

void bulk_end(struct bulk_lane *lane, enum link_reason reason)
{
    struct bulk *b = lane->bulk;
    pthread_mutex_lock(&b->mutex);
    bool say = !lane->ended;
    bool was_open = lane->step == STEP_OPEN;
    lane->ended = true;
    lane->step = STEP_OVER;
    if (lane->fd >= 0) shutdown(lane->fd, SHUT_RDWR);
    pthread_mutex_unlock(&b->mutex);
    // Without memory for the event the link would wait for ever: there is nothing left to do then but to stop.
    if (say) check(bulk_post(lane, was_open ? BULK_EVENT_CLOSED : BULK_EVENT_FAILED, reason, (struct slice){0}, NULL));
}

bool bulk_next(struct bulk *b, struct bulk_event *out)
{
    pthread_mutex_lock(&b->mutex);
    struct event_node *node = b->first;
    if (!node) {
        uint64_t count;
        (void)!read(b->ready, &count, sizeof count);
    } else {
        *out = node->event;
    }
    pthread_mutex_unlock(&b->mutex);
    return node != NULL;
}

void bulk_event_done(struct bulk *b, struct bulk_event *event)
{
    pthread_mutex_lock(&b->mutex);
    struct event_node *node = b->first;
    b->first = node->next;
    if (!b->first) b->last = NULL;
    pthread_mutex_unlock(&b->mutex);
    check(node->event.lane == event->lane);
    buffer_drop(node->event.bulk);
    bulk_release(node->event.lane);
    free(node);
}
