#include "node/doctor/dialback.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/bytes.h"
#include "node/daemon.h"

enum { TICK_MS = 25, GREETING_SIZE = 10, TELL_BYTES = 1536, ASKS_A_SECOND = 4 };

const char *dialback_result_text(enum dialback_result r)
{
    switch (r) {
    case DIALBACK_NOT_TRIED: return "not tried";
    case DIALBACK_ANSWERS: return "a peer answers";
    case DIALBACK_REFUSED: return "connection refused or no route";
    case DIALBACK_SILENT: return "no answer in time";
    case DIALBACK_OTHER: return "something else answers there";
    case DIALBACK_RESULTS: break;
    }
    return "unknown";
}

// ---- one try ----

// Names are not looked up: that would block.
static void try_start(struct dialback_try *t)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found = NULL;
    char port[8];
    t->fd = -1;
    t->result = DIALBACK_NOT_TRIED;
    snprintf(port, sizeof port, "%u", t->address.port);
    if (getaddrinfo(t->address.host, port, &hints, &found)) return;
    t->fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    t->result = DIALBACK_SILENT;
    bool failed = t->fd < 0 || (connect(t->fd, found->ai_addr, found->ai_addrlen) && errno != EINPROGRESS);
    freeaddrinfo(found);
    if (!failed) return;
    t->result = DIALBACK_REFUSED;
    if (t->fd >= 0) close(t->fd);
    t->fd = -1;
}

static void try_end(struct dialback_try *t, enum dialback_result result)
{
    if (t->fd >= 0) close(t->fd);
    t->fd = -1;
    t->result = result;
}

// What a ZMTP peer says first, without being asked: ff, eight bytes, 7f (RFC 23).
static void try_read(struct dialback_try *t)
{
    uint8_t greeting[GREETING_SIZE];
    ssize_t got = recv(t->fd, greeting, sizeof greeting, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got > 0 && got < GREETING_SIZE && greeting[0] == 0xff) return;  // the rest comes
    bool peer = got == GREETING_SIZE && greeting[0] == 0xff && greeting[GREETING_SIZE - 1] == 0x7f;
    try_end(t, peer ? DIALBACK_ANSWERS : DIALBACK_OTHER);
}

static void try_step(struct dialback_try *t)
{
    struct pollfd p = {.fd = t->fd, .events = t->connected ? POLLIN : POLLOUT};
    if (t->fd < 0 || poll(&p, 1, 0) <= 0) return;
    if (!t->connected) {
        int failed = 0;
        socklen_t size = sizeof failed;
        if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &failed, &size) || failed) {
            try_end(t, failed == ETIMEDOUT ? DIALBACK_SILENT : DIALBACK_REFUSED);
            return;
        }
        t->connected = true;
    }
    try_read(t);
}

// A connection that says nothing is somebody else's, or a peer whose loop does not turn: it counts as silent.
enum dialback_result dialback_try_now(const struct address *a, int timeout_ms)
{
    struct dialback_try t = {.address = *a};
    uint64_t end_ms = node_clock_ms() + (uint64_t)timeout_ms;
    try_start(&t);
    while (t.fd >= 0 && node_clock_ms() < end_ms) {
        struct pollfd p = {.fd = t.fd, .events = t.connected ? POLLIN : POLLOUT};
        if (poll(&p, 1, TICK_MS) > 0) try_step(&t);
    }
    if (t.fd >= 0) try_end(&t, DIALBACK_SILENT);
    return t.result;
}

// ---- being asked ----

static uint64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void tell(struct node *n, const struct core_id *to, uint64_t nonce, bool last, struct slice reached)
{
    struct message m = {.type = MESSAGE_CHECK_TELL};
    m.check_tell = (struct message_check_tell){.nonce = nonce, .clock_ms = wall_ms(), .last = last, .reached = reached};
    outbound_send(n, to, &m);
}

static void tell_results(struct node *n, struct dialback_ask *ask)
{
    uint8_t bytes[TELL_BYTES];
    struct writer w = writer_over(bytes, sizeof bytes);
    for (uint32_t i = 0; i < ask->count; i++) {
        char text[ADDRESS_TEXT_MAX];
        address_format(&ask->tries[i].address, text);
        write_u8(&w, (uint8_t)ask->tries[i].result);
        write_slice(&w, (struct slice){(const uint8_t *)text, strlen(text)});
    }
    tell(n, &ask->from, ask->nonce, true, (struct slice){bytes, w.overflowed ? 0 : w.size});
    ask->used = false;
    n->dialback.open--;
}

static struct dialback_ask *free_ask(struct node *n)
{
    for (int i = 0; i < DIALBACK_ASKS; i++)
        if (!n->dialback.asks[i].used) return &n->dialback.asks[i];
    return NULL;
}

void dialback_asked(struct node *n, const struct core_id *from, uint64_t nonce)
{
    struct node_link *link = node_link_find(n, from);
    if (!link || !node_answer_due(&link->check, n->now_ms, ASKS_A_SECOND)) return;
    tell(n, from, nonce, false, (struct slice){0});
    struct gossip_member m;
    struct address_list addresses;
    struct dialback_ask *ask = free_ask(n);
    if (!ask || !gossip_member_find(peer_gossip(n->peer), from, &m)) return;
    if (m.addresses.size == 0 || address_list_decode(m.addresses, &addresses)) return;
    *ask = (struct dialback_ask){.from = *from, .nonce = nonce, .began_ms = n->now_ms, .used = true};
    n->dialback.open++;
    bool here = hash_equal(&m.host, &n->host);
    for (uint32_t i = 0; i < addresses.count; i++) {
        struct dialback_try *t = &ask->tries[ask->count++];
        *t = (struct dialback_try){.address = addresses.items[i], .fd = -1};
        if (here || !address_is_loopback(&t->address)) try_start(t);
    }
}

void dialback_tick(struct node *n)
{
    for (int i = 0; n->dialback.open && i < DIALBACK_ASKS; i++) {
        struct dialback_ask *ask = &n->dialback.asks[i];
        if (!ask->used) continue;
        bool late = n->now_ms >= ask->began_ms + DIALBACK_MS, done = true;
        for (uint32_t k = 0; k < ask->count; k++) {
            try_step(&ask->tries[k]);
            if (late && ask->tries[k].fd >= 0) try_end(&ask->tries[k], DIALBACK_SILENT);
            done = done && ask->tries[k].fd < 0;
        }
        if (done) tell_results(n, ask);
    }
}

int dialback_wait_ms(const struct node *n, int otherwise_ms)
{
    return n->dialback.open && otherwise_ms > TICK_MS ? TICK_MS : otherwise_ms;
}

void dialback_close(struct node *n)
{
    for (int i = 0; i < DIALBACK_ASKS; i++)
        for (uint32_t k = 0; n->dialback.asks[i].used && k < n->dialback.asks[i].count; k++)
            try_end(&n->dialback.asks[i].tries[k], DIALBACK_SILENT);
}
