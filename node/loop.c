// The event loop: waits for links, clients, finished work, signals and timers, hands each to its part, and performs
// what the protocol answers. One thread; nothing in it blocks but the fsync of a vote. It has no tick of its own: an
// idle peer wakes for messages, for the protocol's own timers, and once a second.
#include "node/loop.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "node/control/verbs.h"
#include "node/members_file.h"

enum {
    BUSY_MS = 100,
    SECOND_MS = 1000,
    LEAVE_LIMIT_MS = 15000,
    TRIM_MS = 60000,
    BEHIND_JOBS = 256,  // sums and writes that wait: no more bulk until they are fewer
    PAGE = 4096,
    OUTBOX_SMALL = 256 << 10,
};

uint64_t node_clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t node_clock_ms(void)
{
    return node_clock_us() / 1000;
}

uint64_t node_wall_s(void)
{
    return (uint64_t)time(NULL);
}

// ---- once a second ----

// This peer's part of the machine, among the living peers of its host.
static void share_machine(struct node *n)
{
    const struct gossip *g = peer_gossip(n->peer);
    uint32_t peers = 0, index = 0;
    for (uint32_t i = 0; i < gossip_member_count(g); i++) {
        struct gossip_member m;
        gossip_member_at(g, i, &m);
        if (!hash_equal(&m.host, &n->host) || (!m.self && m.state != GOSSIP_ALIVE && m.state != GOSSIP_SUSPECT))
            continue;
        if (m.self) index = peers;
        peers++;
    }
    if (peers > 0) lanes_share(n, index, peers);
}

static uint32_t jobs_waiting(struct node *n)
{
    return lanes_load(n) + worker_load(&n->sums_worker) + worker_load(&n->io_worker);
}

// Gives back what the heap holds free, and the pages of an outbox that once was full: a peer that has joined, or has
// trained, idles small.
static void trim_memory(struct node *n)
{
    if (n->now_ms < n->trim_ms || jobs_waiting(n) > 0) return;
    n->trim_ms = n->now_ms + TRIM_MS;
    malloc_trim(0);
    uintptr_t from = ((uintptr_t)n->out.arena.base + PAGE) & ~(uintptr_t)(PAGE - 1);
    size_t used = n->out.arena.peak & ~(size_t)(PAGE - 1);
    if (n->out.arena.used == 0 && used > OUTBOX_SMALL && !madvise((void *)from, used - PAGE, MADV_DONTNEED))
        n->out.arena.peak = 0;
}

static void each_second(struct node *n)
{
    if (n->now_ms < n->second_ms) return;
    n->second_ms = n->now_ms + SECOND_MS;
    trim_memory(n);
    lanes_tick(n);
    if (n->members_changed) share_machine(n);
    members_file_tick(n);
    record_tick(n);
    node_links_tick(n);
    discovery_tick(n);
}

// ---- leaving ----

static void begin_stop(struct node *n)
{
    if (n->state == NODE_STOPPING) return;
    n->state = NODE_STOPPING;
    event_emit(&n->events, "node.stopping", EV_TEXT("home", n->home.path));
}

void verb_leave_tick(struct node *n)
{
    if (n->state != NODE_LEAVING) return;
    bool late = n->now_ms >= n->leave_since_ms + LEAVE_LIMIT_MS;
    if (!peer_left(n->peer) && !late) return;
    peer_goodbye(n->peer, n->now_ms, &n->out);
    node_perform(n);
    n->left_for_good = true;
    struct session *s = control_session_find(&n->control, n->leave_session);
    if (s) session_end(s, late ? 7 : 0, json_pack("{s:b}", "left", 1));
    begin_stop(n);
}

// ---- waiting ----

static int until(uint64_t now_ms, uint64_t then_ms, int most_ms)
{
    if (then_ms <= now_ms) return 0;
    uint64_t left = then_ms - now_ms;
    return left < (uint64_t)most_ms ? (int)left : most_ms;
}

static int wait_ms(struct node *n)
{
    int wait = SECOND_MS;
    wait = until(n->now_ms, peer_next_ms(n->peer), wait);
    wait = until(n->now_ms, transfers_next_ms(&n->transfers), wait);
    wait = until(n->now_ms, n->second_ms, wait);
    wait = dialback_wait_ms(n, wait);
    wait = until(n->now_ms, discovery_next_ms(n), wait);
    wait = until(n->now_ms, n->now_ms + http_wait_ms(n->http), wait);
    int links = links_timeout_ms(n->links);
    if (links >= 0 && links < wait) wait = links;
    if (wait > BUSY_MS && (control_server_busy(&n->control) || n->state == NODE_LEAVING)) wait = BUSY_MS;
    return wait;
}

// zmq_poll asks every socket twice, and each asking is a system call. Once is enough, right before waiting: libzmq's
// descriptors tell changes only, so what is there already shows in ZMQ_EVENTS alone; what comes later wakes the poll,
// and links_process reads it without being told where it is.
static int wait_for(const zmq_pollitem_t *items, size_t count, struct pollfd *fds, int timeout_ms)
{
    for (size_t i = 0; i < count; i++) {
        fds[i] = (struct pollfd){.fd = items[i].fd, .events = POLLIN};
        if (!items[i].socket) {
            fds[i].events =
                (short)((items[i].events & ZMQ_POLLIN ? POLLIN : 0) | (items[i].events & ZMQ_POLLOUT ? POLLOUT : 0));
            continue;
        }
        int events = 0;
        size_t size = sizeof events, fd_size = sizeof fds[i].fd;
        if (zmq_getsockopt(items[i].socket, ZMQ_FD, &fds[i].fd, &fd_size) ||
            zmq_getsockopt(items[i].socket, ZMQ_EVENTS, &events, &size))
            return -1;
        if (events & items[i].events) timeout_ms = 0;
    }
    return poll(fds, count, timeout_ms);
}

static bool any_ready(const struct pollfd *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fds[i].revents) return true;
    return false;
}

static void take_signal(struct node *n, int fd)
{
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof info) == (ssize_t)sizeof info) begin_stop(n);
}

enum core_err node_loop(struct node *n, int signals)
{
    size_t links_max = links_pollitems_max(n->links);
    size_t capacity = links_max + CONTROL_SESSIONS_MAX + 1 + 3 + DISCOVERY_POLLITEMS;
    zmq_pollitem_t *items = calloc(capacity, sizeof *items);
    struct pollfd *fds = calloc(capacity, sizeof *fds);
    enum core_err err = items && fds ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
    uint64_t busy_ms = 0;
    while (!err && n->state != NODE_STOPPING) {
        size_t count = 0;
        items[count++] = (zmq_pollitem_t){.fd = n->inbox.fd, .events = ZMQ_POLLIN};
        items[count++] = (zmq_pollitem_t){.fd = signals, .events = ZMQ_POLLIN};
        links_bulk_hold(n->links, worker_load(&n->sums_worker) + worker_load(&n->io_worker) > BEHIND_JOBS);
        count += links_pollitems(n->links, items + count, links_max);
        size_t found = count;
        count += discovery_pollitems(n, items + count);
        size_t page = count;
        count += http_pollitems(n->http, items + count);
        size_t control = count;
        count += control_server_pollitems(&n->control, items + count, capacity - count);
        if (wait_for(items, count, fds, wait_ms(n)) < 0 && errno != EINTR) err = CORE_ERR_IO;
        n->now_ms = node_clock_ms();
        if (fds[0].revents) inbox_take(&n->inbox);
        if (fds[1].revents) take_signal(n, signals);
        links_process(n->links, node_link_event, n);
        n->now_ms = node_clock_ms();
        if (any_ready(fds + found, page - found) || discovery_next_ms(n) <= n->now_ms) discovery_process(n);
        if (peer_next_ms(n->peer) <= n->now_ms) peer_tick(n->peer, n->now_ms, &n->out);
        node_perform(n);
        transfers_tick(n);
        dialback_tick(n);
        node_perform(n);
        if (any_ready(fds + control, count - control) || control_server_serving(&n->control))
            control_server_process(&n->control, n->now_ms);
        http_process(n->http, any_ready(fds + page, control - page));
        node_perform(n);
        bool busy = control_server_busy(&n->control) || n->state == NODE_LEAVING;
        if (busy && n->now_ms >= busy_ms) {
            busy_ms = n->now_ms + BUSY_MS;
            control_server_tick(&n->control, n->now_ms);
            verb_leave_tick(n);
        }
        node_disk_retry(n);
        each_second(n);
        node_perform(n);
    }
    free(items);
    free(fds);
    return err;
}
