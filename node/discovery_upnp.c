#include "node/discovery_upnp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SEARCH_MS = 3000, STEP_MS = 4000, RELEASE_MS = 500, READS_A_CALL = 16 };

static struct sockaddr_in place(const uint8_t address[4], uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&at.sin_addr, address, 4);
    return at;
}

static void hang_up(struct upnp_ask *a)
{
    if (a->fd >= 0) close(a->fd);
    a->fd = -1;
}

void upnp_ask_close(struct upnp_ask *a)
{
    hang_up(a);
    free(a->answer);
    a->answer = NULL;
    a->busy = false;
}

// ---- steps ----

static bool search(struct upnp_ask *a)
{
    struct sockaddr_in own = place(a->upnp.own, 0),
                       group = place((const uint8_t[4]){239, 255, 255, 250}, UPNP_SEARCH_PORT);
    char text[UPNP_REQUEST_MAX];
    size_t size = upnp_search(text);
    int hops = 2;  // as UDA 1.0 1.1.2 says
    a->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return a->fd >= 0 && bind(a->fd, (const struct sockaddr *)&own, sizeof own) == 0 &&
           setsockopt(a->fd, IPPROTO_IP, IP_MULTICAST_IF, &own.sin_addr, sizeof own.sin_addr) == 0 &&
           setsockopt(a->fd, IPPROTO_IP, IP_MULTICAST_TTL, &hops, sizeof hops) == 0 &&
           sendto(a->fd, text, size, MSG_NOSIGNAL, (const struct sockaddr *)&group, sizeof group) == (ssize_t)size;
}

static bool call_gateway(struct upnp_ask *a)
{
    struct sockaddr_in own = place(a->upnp.own, 0), to = place(a->upnp.gateway, a->upnp.http_port);
    a->request_size = upnp_request(&a->upnp, a->request);
    a->sent = a->got = 0;
    a->connected = false;
    a->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return a->fd >= 0 && bind(a->fd, (const struct sockaddr *)&own, sizeof own) == 0 &&
           (connect(a->fd, (const struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS);
}

static void step_begin(struct upnp_ask *a, uint64_t now_ms)
{
    bool searching = a->upnp.step == UPNP_SEARCH;
    hang_up(a);
    a->deadline_ms = now_ms + (searching ? SEARCH_MS : STEP_MS);
    if (searching ? !search(a) : !call_gateway(a)) upnp_failed(&a->upnp, "the gateway can't be asked by UPnP");
}

void upnp_ask_begin(struct upnp_ask *a, uint16_t port, const uint8_t own[4], const uint8_t gateway[4], uint64_t now_ms)
{
    bool held = a->upnp.step == UPNP_DONE && memcmp(a->upnp.gateway, gateway, 4) == 0 &&
                memcmp(a->upnp.own, own, 4) == 0 && a->upnp.port == port;
    upnp_ask_close(a);
    if (held)
        a->upnp.step = UPNP_ADDRESS;
    else
        upnp_start(&a->upnp, port, own, gateway);
    a->upnp.tries = 0;
    a->busy = true;
    a->answer = malloc(UPNP_ANSWER_MAX);
    if (a->answer)
        step_begin(a, now_ms);
    else
        upnp_failed(&a->upnp, "no memory to ask by UPnP");
}

bool upnp_ask_pollitem(const struct upnp_ask *a, zmq_pollitem_t *item)
{
    if (!a->busy || a->fd < 0) return false;
    bool writing = a->upnp.step != UPNP_SEARCH && a->sent < a->request_size;
    *item = (zmq_pollitem_t){.fd = a->fd, .events = writing ? ZMQ_POLLOUT : ZMQ_POLLIN};
    return true;
}

// ---- what comes ----

static void search_hear(struct upnp_ask *a)
{
    for (int i = 0; i < READS_A_CALL && a->upnp.step == UPNP_SEARCH; i++) {
        struct sockaddr_in from = {0};
        socklen_t size = sizeof from;
        ssize_t got = recvfrom(a->fd, a->answer, UPNP_ANSWER_MAX, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
        if (got < 0) return;
        bool gateway = from.sin_family == AF_INET && memcmp(&from.sin_addr, a->upnp.gateway, 4) == 0;
        // Another answer than the gateway's is none; the wait goes on.
        if (gateway && upnp_found(&a->upnp, (struct slice){a->answer, (size_t)got})) continue;
    }
}

// True once the answer is whole: the gateway closed, or it is as long as we take.
static bool http_go_on(struct upnp_ask *a)
{
    while (a->sent < a->request_size) {
        ssize_t put = send(a->fd, a->request + a->sent, a->request_size - a->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put < 0 && (errno == EAGAIN || errno == ENOTCONN || errno == EINPROGRESS)) return false;
        if (put < 0) return true;
        a->sent += (size_t)put;
    }
    for (int i = 0; i < READS_A_CALL; i++) {
        if (a->got == UPNP_ANSWER_MAX) return true;
        ssize_t got = recv(a->fd, a->answer + a->got, UPNP_ANSWER_MAX - a->got, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN) return false;
        if (got <= 0) return true;
        a->got += (size_t)got;
    }
    return false;
}

bool upnp_ask_process(struct upnp_ask *a, uint64_t now_ms)
{
    struct upnp *u = &a->upnp;
    enum upnp_step before = u->step;
    bool late = now_ms >= a->deadline_ms, again = false;
    if (!a->busy) return false;
    if (before == UPNP_SEARCH && a->fd >= 0) {
        search_hear(a);
        if (u->step == UPNP_SEARCH && late) upnp_failed(u, "");  // nobody here speaks UPnP
    } else if (before < UPNP_DONE && a->fd >= 0 && (http_go_on(a) || late)) {
        if (a->got == 0)
            upnp_failed(u, "the gateway doesn't answer by UPnP");
        else
            upnp_answer(u, (struct slice){a->answer, a->got});
        again = u->step == UPNP_MAP;  // perhaps once more the same
    }
    if (u->step < UPNP_DONE && (u->step != before || again)) step_begin(a, now_ms);
    if (u->step < UPNP_DONE) return false;
    upnp_ask_close(a);
    return true;
}

void upnp_ask_release(struct upnp_ask *a)
{
    upnp_ask_close(a);
    if (a->upnp.step != UPNP_DONE && a->upnp.step != UPNP_ADDRESS && a->upnp.step != UPNP_MAP) return;
    struct sockaddr_in to = place(a->upnp.gateway, a->upnp.http_port);
    size_t size = upnp_release(&a->upnp, a->request);
    a->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (a->fd >= 0 && (connect(a->fd, (const struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS)) {
        struct pollfd p = {.fd = a->fd, .events = POLLOUT};
        if (poll(&p, 1, RELEASE_MS) > 0 && send(a->fd, a->request, size, MSG_NOSIGNAL) == (ssize_t)size) {
            p.events = POLLIN;  // a connection closed at once may be a request unread
            (void)!poll(&p, 1, RELEASE_MS);
        }
    }
    hang_up(a);
}
