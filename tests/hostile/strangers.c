// Attacks by somebody who holds no certificate of the mesh: he knows an address, and perhaps an id.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "hostile.h"

enum { CONNECTIONS_MAX = 512, FRAME = 1 << 20 };

// ---- plain TCP ----

static int tcp_connect(const struct hostile *h)
{
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(h->port)};
    inet_pton(AF_INET, h->from, &from.sin_addr);
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (bind(fd, (struct sockaddr *)&from, sizeof from) || connect(fd, (struct sockaddr *)&to, sizeof to)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void tcp_send(struct hostile *h, int fd, const void *data, size_t size)
{
    if (send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) h->sent++;
}

// Holds the connections until the other side has closed all of them, or time is up.
static void tcp_hold(struct hostile *h, struct pollfd *fds, uint32_t count)
{
    uint64_t end = hostile_clock_ms() + 1000ull * h->seconds;
    uint32_t open = count;
    char bytes[4096];
    while (open > 0 && hostile_clock_ms() < end) {
        poll(fds, count, 100);
        for (uint32_t i = 0; i < count; i++) {
            if (fds[i].fd < 0 || !fds[i].revents) continue;
            ssize_t n = recv(fds[i].fd, bytes, sizeof bytes, MSG_DONTWAIT);
            if (n > 0) h->answers++;
            if (n > 0 || (n < 0 && errno == EAGAIN)) continue;
            close(fds[i].fd);
            fds[i].fd = -1;
            open--;
            h->closed++;
        }
    }
}

static void tcp_attack(struct hostile *h, const void *data, size_t size)
{
    static struct pollfd fds[CONNECTIONS_MAX];
    uint32_t count = 0;
    while (count < h->count && count < CONNECTIONS_MAX) {
        int fd = tcp_connect(h);
        if (fd < 0) break;
        if (size) tcp_send(h, fd, data, size);
        fds[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    tcp_hold(h, fds, count);
}

static void garbage(struct hostile *h)
{
    static uint8_t bytes[65536];
    hostile_random(h, bytes, sizeof bytes);
    tcp_attack(h, bytes, sizeof bytes);
}

static void http(struct hostile *h)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";
    tcp_attack(h, request, sizeof request - 1);
}

// A greeting of which half comes, and then nothing.
static void half_open(struct hostile *h)
{
    static const uint8_t greeting[10] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f};
    tcp_attack(h, greeting, sizeof greeting);
}

// Connections that say nothing at all.
static void mute(struct hostile *h)
{
    tcp_attack(h, NULL, 0);
}

// A greeting that asks for no security, then a frame whose length lies.
static void no_security(struct hostile *h)
{
    uint8_t bytes[64 + 9 + 100] = {0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    bytes[64] = 6;
    memset(bytes + 65, 0xff, 8);
    tcp_attack(h, bytes, sizeof bytes);
}

// ---- past CURVE ----

// Handshakes with ever new keys, as fast as they go.
static void handshakes(struct hostile *h)
{
    for (uint32_t i = 0; i < h->count; i++) {
        struct core_key key = sign_key_random();
        struct hostile_link link = {0};
        if (hostile_connect(h, &link, &key)) h->answers++;
        h->sent++;
        hostile_close(&link);
    }
}

// Each fills in what is sent as the first words on a connection with `key`; then it waits to be cut off.
static void first_words(struct hostile *h, const struct core_key *key, const struct slice *frames, uint32_t count)
{
    struct hostile_link link = {0};
    if (hostile_connect(h, &link, key)) hostile_send_frames(h, &link, frames, count);
    uint64_t end = hostile_clock_ms() + 1000ull * h->seconds;
    while (!link.closed && link.secured && hostile_clock_ms() < end) hostile_listen(h, &link, 100);
    hostile_close(&link);
}

static void garbage_hello(struct hostile *h)
{
    for (uint32_t i = 0; i < h->count; i++) {
        uint8_t head[512];
        size_t size = 1 + (size_t)rng_below(&h->rng, sizeof head);
        hostile_random(h, head, size);
        if (i % 2 && size > 10) {  // the magic and the type of a HELLO, and then garbage
            memcpy(head, (uint8_t[]){'M', 'Y', MESSAGE_VERSION, 0, 1, 0}, 6);
            memcpy(head + 6, h->charter.id.bytes, 4);
        }
        struct core_key key = sign_key_random();
        first_words(h, &key, &(struct slice){head, size}, 1);
    }
}

static void mute_stranger(struct hostile *h)
{
    struct core_key key = sign_key_random();
    first_words(h, &key, NULL, 0);
}

static void many_frames(struct hostile *h)
{
    struct slice frames[100];
    struct core_key key = sign_key_random();
    for (int i = 0; i < 100; i++) frames[i] = (struct slice){(const uint8_t *)"frame", 5};
    first_words(h, &key, frames, 100);
}

// Large frames in place of a HELLO, more and more of them.
static void overfeed(struct hostile *h)
{
    static uint8_t frame[FRAME];
    struct core_key key = sign_key_random();
    struct hostile_link link = {0};
    uint64_t end = hostile_clock_ms() + 1000ull * h->seconds;
    if (hostile_connect(h, &link, &key))
        while (!link.closed && h->sent < h->count && hostile_clock_ms() < end)
            hostile_send_frames(h, &link, &(struct slice){frame, sizeof frame}, 1);
    hostile_listen(h, &link, 2000);
    hostile_close(&link);
}

static void one_huge_frame(struct hostile *h)
{
    static uint8_t frame[96 << 20];
    struct core_key key = sign_key_random();
    first_words(h, &key, &(struct slice){frame, sizeof frame}, 1);
}

// A right HELLO of another mesh; with --home, a member's HELLO over a connection with another key.
static void hello(struct hostile *h)
{
    static uint8_t head[300 << 10];
    struct message m;
    struct core_key key = h->member ? sign_key_random() : h->key;
    hostile_hello(h, &h->key, &h->target, LANE_CONTROL, &m);
    first_words(h, &key, &(struct slice){head, hostile_encode(h, &m, head)}, 1);
}

// A member's HELLO that was meant for another peer (--about), over the member's own connection.
static void hello_for_another(struct hostile *h)
{
    static uint8_t head[300 << 10];
    struct message m;
    hostile_hello(h, &h->key, &h->about, LANE_CONTROL, &m);
    first_words(h, &h->key, &(struct slice){head, hostile_encode(h, &m, head)}, 1);
}

// A member's HELLO with one byte of what it says changed.
static void hello_forged(struct hostile *h)
{
    static uint8_t head[300 << 10];
    struct message m;
    hostile_hello(h, &h->key, &h->target, LANE_CONTROL, &m);
    m.hello.incarnation++;
    first_words(h, &h->key, &(struct slice){head, hostile_encode(h, &m, head)}, 1);
}

const struct attack stranger_attacks[] = {
    {"garbage", false, garbage},
    {"http", false, http},
    {"half-open", false, half_open},
    {"mute", false, mute},
    {"no-security", false, no_security},
    {"handshakes", false, handshakes},
    {"garbage-hello", false, garbage_hello},
    {"mute-stranger", false, mute_stranger},
    {"many-frames", false, many_frames},
    {"overfeed", false, overfeed},
    {"huge-frame", false, one_huge_frame},
    {"hello-of-another-mesh", false, hello},
    {"hello-stolen", true, hello},
    {"hello-for-another", true, hello_for_another},
    {"hello-forged", true, hello_forged},
    {NULL, false, NULL},
};
