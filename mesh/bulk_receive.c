// The receiving thread: listeners, connections that prove a lane, and what comes over open lanes.
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/check.h"
#include "mesh/bulk_internal.h"

enum {
    EVENTS = 32,
    BACKLOG = 64,
    NAME_RANDOM = 12,
    LOCAL_BUFFER = 1 << 20,
    POOL_IDLE_MS = 2000,
    RECEIVE_LEAST = 262144
};

// ---- listeners ----

static void add(struct bulk *b, int fd, struct source *source, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = source};
    check(epoll_ctl(b->rx_epoll, EPOLL_CTL_ADD, fd, &e) == 0);
}

static int listen_tcp(const struct address *at, uint16_t *port)
{
    char service[8];
    snprintf(service, sizeof service, "%u", at->port);
    bool any = address_is_any(at);
    struct addrinfo hints = {
        .ai_flags = AI_PASSIVE | AI_NUMERICHOST, .ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    struct addrinfo *found;
    if (getaddrinfo(any ? "::" : at->host, service, &hints, &found) != 0) return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), zero = 0;
    if (fd < 0 && any) {  // no IPv6 here
        freeaddrinfo(found);
        if (getaddrinfo("0.0.0.0", service, &hints, &found) != 0) return -1;
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (fd >= 0 && found->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    bool ok = fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0 &&
              getsockname(fd, (struct sockaddr *)&bound, &size) == 0;
    freeaddrinfo(found);
    if (!ok) {
        if (fd >= 0) close(fd);
        return -1;
    }
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    memcpy(&v4, &bound, sizeof v4);
    memcpy(&v6, &bound, sizeof v6);
    *port = ntohs(bound.ss_family == AF_INET ? v4.sin_port : v6.sin6_port);
    return fd;
}

// The abstract namespace: the name begins with a zero byte and needs no file.
static socklen_t local_address(const char *name, struct sockaddr_un *out)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t size = strnlen(name, sizeof out->sun_path - 1);
    memcpy(out->sun_path + 1, name, size);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + size);
}

static void listen_local(struct bulk *b)
{
    uint8_t random[NAME_RANDOM];
    randombytes_buf(random, sizeof random);
    memcpy(b->name, "mycel-", 6);
    hex_encode(b->name + 6, random, sizeof random);
    struct sockaddr_un at;
    socklen_t size = local_address(b->name, &at);
    b->local = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (b->local >= 0 && bind(b->local, (struct sockaddr *)&at, size) == 0 && listen(b->local, BACKLOG) == 0) {
        add(b, b->local, &b->unix_source, EPOLLIN);
        return;
    }
    if (b->local >= 0) close(b->local);
    b->local = -1;
    b->name[0] = '\0';
}

void bulk_listen(struct bulk *b)
{
    if (b->options.ways & 1u << LINK_WAY_SHARED) listen_local(b);
    if (!(b->options.ways & 1u << LINK_WAY_SEALED)) return;
    b->tcp = listen_tcp(&b->options.listen, &b->port);
    if (b->tcp >= 0) add(b, b->tcp, &b->tcp_source, EPOLLIN);
}

// ---- a lane opens ----

static bool same_user(int fd)
{
    struct ucred who;
    socklen_t size = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 && who.uid == geteuid();
}

static bool lane_prepare(struct bulk_lane *lane)
{
    struct bulk *b = lane->bulk;
    if (lane->way == LINK_WAY_SHARED) {
        int size = LOCAL_BUFFER;
        (void)!setsockopt(lane->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        lane->packet = malloc(PACKET_MAX);
        if (bulk_may_borrow(lane->fd)) lane->returns = bulk_returns_new(b->tx_wake);
        return lane->packet != NULL;
    }
    int one = 1;
    (void)!setsockopt(lane->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    // What waits in the system beyond what the other side can take gets cold there: twice the processor time a byte.
    const int unsent = RECORD_BULK_MAX;
    (void)!setsockopt(lane->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    const struct core_hash *in = lane->dialled ? &lane->keys.to_dialler : &lane->keys.to_listener;
    const struct core_hash *out = lane->dialled ? &lane->keys.to_listener : &lane->keys.to_dialler;
    bool ok = record_reader_open(&lane->reader, lane->cipher, in, b->options.records_a_key, b->pool, &b->mesh,
                                 bulk_allowed, lane) &&
              record_writer_open(&lane->writer, lane->cipher, out, b->options.records_a_key);
    sodium_memzero(&lane->keys, sizeof lane->keys);
    return ok;
}

static void lane_opened(struct bulk_lane *lane)
{
    struct bulk *b = lane->bulk;
    if (!lane_prepare(lane) || !bulk_post(lane, BULK_EVENT_OPENED, LINK_NONE, (struct slice){0}, NULL)) {
        bulk_end(lane, LINK_LIMIT);
        return;
    }
    pthread_mutex_lock(&b->mutex);
    if (lane->step != STEP_OVER) {
        lane->step = STEP_OPEN;
        lane->tx_wants = true;
    }
    pthread_mutex_unlock(&b->mutex);
    bulk_wake(b->tx_wake);
}

// ---- connections that we accepted ----

static void stranger_close(struct stranger *s)
{
    close(s->fd);
    s->fd = -1;
}

static void accept_all(struct bulk *b, int listener, enum link_way way)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct stranger *s = &b->strangers[0];
        for (int i = 0; i < STRANGERS_MAX && s->fd >= 0; i++)
            if (b->strangers[i].fd < 0 || b->strangers[i].deadline_ms < s->deadline_ms) s = &b->strangers[i];
        if (s->fd >= 0) {  // the one that has said nothing for longest: who has a lane to prove does so at once
            atomic_fetch_add(&b->refused, 1);
            stranger_close(s);
        }
        s->fd = fd;
        s->way = way;
        s->have = 0;
        s->deadline_ms = bulk_clock_ms() + (uint64_t)b->options.connect_ms;
        add(b, fd, &s->source, EPOLLIN);
    }
}

// The expected lane that the preface names and proves, held by this thread from now on; NULL: none.
static struct bulk_lane *claim(struct bulk *b, const struct stranger *s)
{
    struct bulk_lane *found = NULL;
    pthread_mutex_lock(&b->mutex);
    for (struct bulk_lane *lane = b->lanes; lane && !found; lane = lane->next) {
        bool fits = lane->step == STEP_EXPECTED && !lane->dropped && lane->way == s->way &&
                    sodium_memcmp(lane->ticket.bytes, s->preface, CORE_HASH_SIZE) == 0 &&
                    sodium_memcmp(lane->keys.dialler_proof.bytes, s->preface + CORE_HASH_SIZE, CORE_HASH_SIZE) == 0;
        if (fits) found = lane;
    }
    if (found) {
        found->fd = s->fd;
        found->rx_has = true;
        found->step = STEP_PROVING;
    }
    pthread_mutex_unlock(&b->mutex);
    return found;
}

static void stranger_ready(struct bulk *b, struct stranger *s)
{
    ssize_t got = recv(s->fd, s->preface + s->have, PREFACE_SIZE - s->have, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got > 0) s->have += (size_t)got;
    if (got > 0 && s->have < PREFACE_SIZE && s->way == LINK_WAY_SEALED) return;
    struct bulk_lane *lane = NULL;
    if (got > 0 && s->have == PREFACE_SIZE && (s->way == LINK_WAY_SEALED || same_user(s->fd))) lane = claim(b, s);
    if (!lane) {
        atomic_fetch_add(&b->refused, 1);
        stranger_close(s);
        return;
    }
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = lane};
    check(epoll_ctl(b->rx_epoll, EPOLL_CTL_MOD, s->fd, &e) == 0);
    s->fd = -1;
    if (send(lane->fd, lane->keys.listener_proof.bytes, CORE_HASH_SIZE, MSG_NOSIGNAL) == CORE_HASH_SIZE)
        lane_opened(lane);
    else
        bulk_end(lane, LINK_CLOSED);
}

// ---- connections that we make ----

static int connect_local(const struct bulk_lane *lane)
{
    struct sockaddr_un at;
    socklen_t size = local_address(lane->name, &at);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, size) == 0 && same_user(fd)) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static int connect_tcp(const struct bulk_lane *lane)
{
    char service[8];
    snprintf(service, sizeof service, "%u", lane->port);
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(lane->host, service, &hints, &found) != 0) return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static void lane_start(struct bulk *b, struct bulk_lane *lane)
{
    int fd = lane->way == LINK_WAY_SHARED ? connect_local(lane) : connect_tcp(lane);
    lane->deadline_ms = bulk_clock_ms() + (uint64_t)b->options.connect_ms;
    if (fd < 0) {
        bulk_end(lane, LINK_REFUSED_CONNECTION);
        return;
    }
    pthread_mutex_lock(&b->mutex);
    lane->fd = fd;
    pthread_mutex_unlock(&b->mutex);
    add(b, fd, &lane->source, EPOLLOUT);
}

// Connected, or not: shows the ticket and the proof.
static void lane_connected(struct bulk *b, struct bulk_lane *lane)
{
    int number = 0;
    socklen_t size = sizeof number;
    uint8_t preface[PREFACE_SIZE];
    memcpy(preface, lane->ticket.bytes, CORE_HASH_SIZE);
    memcpy(preface + CORE_HASH_SIZE, lane->keys.dialler_proof.bytes, CORE_HASH_SIZE);
    bool ok = getsockopt(lane->fd, SOL_SOCKET, SO_ERROR, &number, &size) == 0 && number == 0 &&
              send(lane->fd, preface, sizeof preface, MSG_NOSIGNAL) == PREFACE_SIZE;
    if (!ok) {
        bulk_end(lane, LINK_REFUSED_CONNECTION);
        return;
    }
    pthread_mutex_lock(&b->mutex);
    if (lane->step == STEP_CONNECTING) lane->step = STEP_PROVING;
    pthread_mutex_unlock(&b->mutex);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = lane};
    check(epoll_ctl(b->rx_epoll, EPOLL_CTL_MOD, lane->fd, &e) == 0);
}

static void lane_proved(struct bulk_lane *lane)
{
    uint8_t proof[CORE_HASH_SIZE];
    ssize_t got = recv(lane->fd, proof, sizeof proof, MSG_DONTWAIT | MSG_PEEK);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got > 0 && got < CORE_HASH_SIZE && lane->way == LINK_WAY_SEALED) return;  // its deadline ends it
    bool ok = got == CORE_HASH_SIZE && recv(lane->fd, proof, sizeof proof, MSG_DONTWAIT) == CORE_HASH_SIZE &&
              sodium_memcmp(proof, lane->keys.listener_proof.bytes, sizeof proof) == 0;
    if (ok)
        lane_opened(lane);
    else
        bulk_end(lane, got > 0 ? LINK_WRONG_KEY : LINK_CLOSED);
}

// ---- open lanes ----

// A wake-up costs about as much as copying 64 KiB: sleep until a good part of what must come is there.
static void wait_for_more(struct bulk_lane *lane)
{
    size_t wants = record_reader_wants(&lane->reader);
    int least = (int)(wants < RECEIVE_LEAST ? wants : RECEIVE_LEAST);
    if (least == lane->least) return;
    lane->least = least;
    (void)!setsockopt(lane->fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least);
}

static enum core_err receive_records(struct bulk_lane *lane)
{
    for (int i = 0; i < TURN; i++) {
        struct iovec parts[RECORD_PARTS_MAX];
        struct msghdr m = {.msg_iov = parts, .msg_iovlen = (size_t)record_reader_room(&lane->reader, parts)};
        ssize_t got = recvmsg(lane->fd, &m, MSG_DONTWAIT);
        if (got == 0) return CORE_ERR_NOT_FOUND;
        if (got < 0 && errno != EAGAIN && errno != EINTR) return CORE_ERR_NOT_FOUND;
        if (got < 0) {
            wait_for_more(lane);
            return CORE_ERR_WOULD_BLOCK;
        }
        enum core_err err = record_reader_put(&lane->reader, (size_t)got);
        struct slice head;
        struct buffer *bulk;
        if (err) return err;
        if (!record_reader_take(&lane->reader, &head, &bulk)) continue;
        if (bulk_post(lane, BULK_EVENT_MESSAGE, LINK_NONE, head, bulk)) continue;
        buffer_drop(bulk);
        return CORE_ERR_NO_MEMORY;
    }
    wait_for_more(lane);  // what was set before may be more than is left
    return CORE_ERR_OK;
}

static void lane_ready(struct bulk *b, struct bulk_lane *lane)
{
    pthread_mutex_lock(&b->mutex);
    enum lane_step step = lane->step;
    bool over = lane->dropped || step == STEP_OVER;
    pthread_mutex_unlock(&b->mutex);
    if (over) return;  // let go with the rest of them
    if (step == STEP_CONNECTING) {
        lane_connected(b, lane);
    } else if (step == STEP_PROVING) {
        lane_proved(lane);
    } else {
        b->used_ms = bulk_clock_ms();
        b->pool_used = true;
        enum core_err err = CORE_ERR_OK;
        if (lane->way == LINK_WAY_SEALED)
            err = receive_records(lane);
        else
            for (int i = 0; i < TURN && !err; i++) err = packet_receive(lane);
        if (err && err != CORE_ERR_WOULD_BLOCK) bulk_end(lane, bulk_reason(err));
    }
}

// ---- the thread ----

// Lanes that are to be connected or let go; one at a time, for each is worked on outside of the mutex.
static struct bulk_lane *next_due(struct bulk *b, bool *start)
{
    struct bulk_lane *found = NULL;
    uint64_t now_ms = bulk_clock_ms();
    pthread_mutex_lock(&b->mutex);
    for (struct bulk_lane *lane = b->lanes; lane && !found; lane = lane->next) {
        *start = !lane->rx_has && !lane->dropped && !b->stopping && lane->step == STEP_CONNECTING;
        bool late = lane->rx_has && lane->deadline_ms && now_ms >= lane->deadline_ms &&
                    (lane->step == STEP_CONNECTING || lane->step == STEP_PROVING);
        if (*start || late || (lane->rx_has && (lane->dropped || lane->step == STEP_OVER || b->stopping))) found = lane;
        if (*start) lane->rx_has = true;
    }
    pthread_mutex_unlock(&b->mutex);
    return found;
}

static void look_at_lanes(struct bulk *b)
{
    bool start;
    struct bulk_lane *lane;
    while ((lane = next_due(b, &start))) {
        if (start) {
            lane_start(b, lane);
            continue;
        }
        bulk_end(lane, LINK_TIMED_OUT);  // says so only where nothing ended it before
        if (lane->fd >= 0) epoll_ctl(b->rx_epoll, EPOLL_CTL_DEL, lane->fd, NULL);
        bulk_let_go(lane, &lane->rx_has);
    }
}

static void shut_late_strangers(struct bulk *b, uint64_t now_ms)
{
    for (int i = 0; i < STRANGERS_MAX; i++) {
        struct stranger *s = &b->strangers[i];
        if (s->fd < 0 || now_ms < s->deadline_ms) continue;
        atomic_fetch_add(&b->refused, 1);
        stranger_close(s);
    }
}

static int timeout_ms(struct bulk *b, uint64_t now_ms)
{
    uint64_t at = UINT64_MAX;
    for (int i = 0; i < STRANGERS_MAX; i++)
        if (b->strangers[i].fd >= 0 && b->strangers[i].deadline_ms < at) at = b->strangers[i].deadline_ms;
    if (b->pool_used && b->used_ms + POOL_IDLE_MS < at) at = b->used_ms + POOL_IDLE_MS;
    pthread_mutex_lock(&b->mutex);
    for (struct bulk_lane *lane = b->lanes; lane; lane = lane->next)
        if (lane->rx_has && (lane->step == STEP_CONNECTING || lane->step == STEP_PROVING) && lane->deadline_ms &&
            lane->deadline_ms < at)
            at = lane->deadline_ms;
    pthread_mutex_unlock(&b->mutex);
    if (at == UINT64_MAX) return -1;
    return at <= now_ms ? 0 : (int)(at - now_ms);
}

static bool stopping(struct bulk *b)
{
    pthread_mutex_lock(&b->mutex);
    bool stop = b->stopping;
    pthread_mutex_unlock(&b->mutex);
    return stop;
}

void *bulk_receive_main(void *argument)
{
    struct bulk *b = argument;
    prctl(PR_SET_NAME, "bulk-receive");
    struct epoll_event events[EVENTS];
    while (!stopping(b)) {
        int count = epoll_wait(b->rx_epoll, events, EVENTS, timeout_ms(b, bulk_clock_ms()));
        for (int i = 0; i < count; i++) {
            struct source *source = events[i].data.ptr;
            uint64_t times;
            switch (source->kind) {
            case SOURCE_WAKE: (void)!read(b->rx_wake, &times, sizeof times); break;
            case SOURCE_TCP: accept_all(b, b->tcp, LINK_WAY_SEALED); break;
            case SOURCE_UNIX: accept_all(b, b->local, LINK_WAY_SHARED); break;
            case SOURCE_STRANGER: {
                struct stranger *s = (struct stranger *)(void *)source;
                if (s->fd >= 0) stranger_ready(b, s);
                break;
            }
            case SOURCE_LANE: lane_ready(b, (struct bulk_lane *)(void *)source); break;
            }
        }
        look_at_lanes(b);
        uint64_t now_ms = bulk_clock_ms();
        shut_late_strangers(b, now_ms);
        if (b->pool_used && now_ms >= b->used_ms + POOL_IDLE_MS) {
            buffer_pool_trim(b->pool);
            b->pool_used = bulk_maps_trim(b, false);  // what is held now is looked at again
            b->used_ms = now_ms;
        }
    }
    look_at_lanes(b);
    return NULL;
}
