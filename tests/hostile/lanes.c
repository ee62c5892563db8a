// Attacks on the bulk lanes that are not CURVE's: sealed over TCP, and through shared memory. The lane is agreed over a
// right control link, and then something is wrong with what comes over it.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "hostile.h"
#include "mesh/links.h"
#include "mesh/seal.h"

enum { HEAD_MAX = 300 << 10, PACKET_SIZES = 9, RECORD_SIZES = 8, MIB = 1 << 20 };

struct lane {
    struct hostile_link control;
    struct seal_keys keys;
    struct core_hash ticket;
    enum seal_cipher cipher;
    enum link_way way;
    int fd;
};

// The control link, and the other's word on how the lane may come. For shared memory we say that we are on its host.
static bool agree(struct hostile *h, struct lane *lane, enum link_way way)
{
    lane->fd = -1;
    lane->way = way;
    if (!hostile_enter(h, &lane->control, LANE_CONTROL)) return false;
    if (way == LINK_WAY_SHARED) {
        h->host = lane->control.host;
        hostile_close(&lane->control);
        if (!hostile_enter(h, &lane->control, LANE_CONTROL)) return false;
    }
    struct message m = {.type = MESSAGE_LANE_OPEN};
    hostile_random(h, lane->ticket.bytes, CORE_HASH_SIZE);
    m.lane_open.ticket = lane->ticket;
    m.lane_open.ways = 1u << way;
    m.lane_open.ciphers = 1u << SEAL_CHACHA20_POLY1305;
    if (!hostile_send(h, &lane->control, &m)) return false;
    for (int i = 0; i < 60 && !lane->control.ready.cipher; i++)
        if (!hostile_listen(h, &lane->control, 50)) return false;
    lane->cipher = (enum seal_cipher)lane->control.ready.cipher;
    struct seal_binding binding = {.cipher = lane->cipher,
                                   .mesh = h->charter.id,
                                   .dialler = h->key.id,
                                   .listener = h->target,
                                   .ticket = lane->ticket,
                                   .dialler_bytes = m.lane_open.key,
                                   .listener_bytes = lane->control.ready.key};
    seal_derive(&binding, &lane->keys);
    return lane->control.ready.way == way;
}

static int dial_tcp(const struct hostile *h, uint16_t port)
{
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, h->from, &from.sin_addr);
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) || connect(fd, (struct sockaddr *)&to, sizeof to)) return -1;
    return fd;
}

static int dial_local(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strncpy(at.sun_path + 1, name, sizeof at.sun_path - 2);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    return connect(fd, (struct sockaddr *)&at, size) ? -1 : fd;
}

// Connects and shows ticket and proof, or what passes for them.
static bool connect_lane(struct hostile *h, struct lane *lane, const struct core_hash *ticket,
                         const struct core_hash *proof)
{
    uint8_t preface[2 * CORE_HASH_SIZE], answer[CORE_HASH_SIZE];
    lane->fd =
        lane->way == LINK_WAY_SHARED ? dial_local(lane->control.name) : dial_tcp(h, (uint16_t)lane->control.ready.port);
    if (lane->fd < 0) return false;
    memcpy(preface, ticket->bytes, CORE_HASH_SIZE);
    memcpy(preface + CORE_HASH_SIZE, proof->bytes, CORE_HASH_SIZE);
    if (send(lane->fd, preface, sizeof preface, MSG_NOSIGNAL) != sizeof preface) return false;
    h->sent++;
    struct pollfd p = {.fd = lane->fd, .events = POLLIN};
    poll(&p, 1, 5000);
    return recv(lane->fd, answer, sizeof answer, MSG_DONTWAIT) == sizeof answer;
}

// Until the other side closes the lane's connection, or time is up. That it does so is the answer wanted.
static void await_end(struct hostile *h, struct lane *lane)
{
    uint64_t end = hostile_clock_ms() + 1000ull * h->seconds;
    uint8_t bytes[4096];
    bool closed = lane->fd < 0;
    uint64_t before = h->closed;
    while (!closed && hostile_clock_ms() < end) {
        ssize_t n = recv(lane->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        closed = n == 0 || (n < 0 && errno != EAGAIN);
        if (n < 0) hostile_listen(h, &lane->control, 20);
    }
    hostile_listen(h, &lane->control, 200);
    h->closed = before + closed;
    if (lane->fd >= 0) close(lane->fd);
    hostile_close(&lane->control);
}

static bool open_lane(struct hostile *h, struct lane *lane, enum link_way way)
{
    return agree(h, lane, way) && connect_lane(h, lane, &lane->ticket, &lane->keys.dialler_proof);
}

// ---- who cannot prove the lane ----

static void wrong_proof(struct hostile *h)
{
    static const enum link_way ways[] = {LINK_WAY_SEALED, LINK_WAY_SHARED};
    uint64_t closed = 0;
    for (int i = 0; i < 2; i++) {
        struct lane lane = {0};
        if (!agree(h, &lane, ways[i])) return;
        struct core_hash wrong = lane.keys.dialler_proof;
        wrong.bytes[31] ^= 1;
        if (connect_lane(h, &lane, &lane.ticket, &wrong)) return;  // taken for the lane's dialler
        await_end(h, &lane);
        closed += h->closed;
        h->closed = 0;
    }
    h->closed = closed;
}

// A ticket that nobody has given out, again and again, and connections that say nothing.
static void no_ticket(struct hostile *h)
{
    struct lane lane = {0};
    if (!agree(h, &lane, LINK_WAY_SEALED)) return;
    uint64_t closed = 0;
    for (uint32_t i = 0; i < h->count; i++) {
        struct core_hash ticket, proof;
        hostile_random(h, ticket.bytes, CORE_HASH_SIZE);
        hostile_random(h, proof.bytes, CORE_HASH_SIZE);
        int mute = dial_tcp(h, (uint16_t)lane.control.ready.port);
        closed += !connect_lane(h, &lane, &ticket, &proof);
        if (lane.fd >= 0) close(lane.fd);
        if (i + 1 == h->count && mute >= 0) close(mute);  // the others stay: they must not be in anybody's way
    }
    bool right = connect_lane(h, &lane, &lane.ticket, &lane.keys.dialler_proof);
    h->closed = right ? closed : 0;
    hostile_close(&lane.control);
}

// ---- sealed, but wrong ----

static size_t chunk_head(struct hostile *h, uint8_t *head)
{
    struct message m = {.type = MESSAGE_CHUNK, .bulk = {(const uint8_t *)"x", 1}};
    m.chunk.found = 1;
    return hostile_encode(h, &m, head);
}

// The first record of a message whose bulk is said to be `bulk` bytes.
static size_t first_record(struct hostile *h, struct lane *lane, struct seal *seal, uint32_t bulk, uint8_t *out)
{
    static uint8_t head[HEAD_MAX];
    uint8_t sizes[RECORD_SIZES];
    size_t size = chunk_head(h, head);
    struct writer w = writer_over(sizes, sizeof sizes);
    write_u32(&w, (uint32_t)size);
    write_u32(&w, bulk);
    struct slice parts[2] = {{sizes, sizeof sizes}, {head, size}};
    seal_record(seal, parts, 2, out);
    (void)lane;
    return sizeof sizes + size + SEAL_OVERHEAD;
}

static void sealed(struct hostile *h, uint32_t bulk, bool tamper)
{
    static uint8_t record[HEAD_MAX];
    struct lane lane = {0};
    if (!open_lane(h, &lane, LINK_WAY_SEALED)) return;
    struct seal *seal = seal_new(lane.cipher, &lane.keys.to_listener, SEAL_RECORDS_MAX, false);
    size_t size = first_record(h, &lane, seal, bulk, record);
    if (tamper) record[size - 1] ^= 1;
    hostile_listen(h, &lane.control, 200);
    if (send(lane.fd, record, size, MSG_NOSIGNAL) == (ssize_t)size) h->sent++;
    seal_free(seal);
    await_end(h, &lane);
}

static void tampered(struct hostile *h)
{
    sealed(h, 1000, true);
}

static void sealed_too_large(struct hostile *h)
{
    sealed(h, 64 * MIB, false);
}

// Bytes in place of records, with a length that lies.
static void unsealed(struct hostile *h)
{
    uint8_t bytes[4096];
    struct lane lane = {0};
    if (!open_lane(h, &lane, LINK_WAY_SEALED)) return;
    memset(bytes, 0xff, sizeof bytes);
    if (send(lane.fd, bytes, sizeof bytes, MSG_NOSIGNAL) == sizeof bytes) h->sent++;
    await_end(h, &lane);
}

// ---- shared memory, but not to be trusted ----

enum { KIND_SEALED = 1, KIND_SLAB = 2, KIND_BACK = 4 };  // of packets: docs/wire-format.md

static void send_packet(struct hostile *h, struct lane *lane, uint8_t kind, uint32_t bulk, int fd)
{
    static uint8_t packet[PACKET_SIZES + HEAD_MAX], head[HEAD_MAX];
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int))] = {0};
    size_t size = chunk_head(h, head);
    struct writer w = writer_over(packet, sizeof packet);
    if (kind == KIND_BACK) size = 0;
    write_u8(&w, kind);
    write_u32(&w, (uint32_t)size);
    write_u32(&w, bulk);
    write_bytes(&w, head, size);
    if (kind == KIND_BACK) write_u64(&w, 3);
    struct iovec part = {packet, w.size};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        m.msg_control = control;
        m.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    if (sendmsg(lane->fd, &m, MSG_NOSIGNAL) > 0) h->sent++;
}

// A memfd of `size` bytes with `seals`, said to hold `bulk`; without a descriptor where `size` is 0.
static void memory_of(struct hostile *h, uint8_t kind, size_t size, int seals, uint32_t bulk)
{
    struct lane lane = {0};
    if (!open_lane(h, &lane, LINK_WAY_SHARED)) return;
    hostile_listen(h, &lane.control, 200);
    int fd = size ? memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
    if (fd >= 0 && (ftruncate(fd, (off_t)size) || fcntl(fd, F_ADD_SEALS, seals))) return;
    send_packet(h, &lane, kind, bulk, fd);
    if (fd >= 0) close(fd);
    await_end(h, &lane);
}

static void memory(struct hostile *h, size_t size, int seals, uint32_t bulk)
{
    memory_of(h, KIND_SEALED, size, seals, bulk);
}

static void memory_unsealed(struct hostile *h)
{
    memory(h, MIB, F_SEAL_SHRINK, MIB);  // could be rewritten behind the reader's back
}

static void memory_truncated(struct hostile *h)
{
    memory(h, 4096, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW, MIB);
}

static void memory_missing(struct hostile *h)
{
    memory(h, 0, 0, MIB);
}

static void slab_resizable(struct hostile *h)
{
    memory_of(h, KIND_SLAB, MIB, F_SEAL_GROW, MIB);  // could be cut off under the reader
}

static void slab_short(struct hostile *h)
{
    memory_of(h, KIND_SLAB, 4096, F_SEAL_SHRINK | F_SEAL_GROW, MIB);
}

static void slab_missing(struct hostile *h)
{
    memory_of(h, KIND_SLAB, 0, 0, MIB);
}

// Gives back what nobody lent.
static void slab_not_lent(struct hostile *h)
{
    memory_of(h, KIND_BACK, 0, 0, 8);
}

const struct attack lane_attacks[] = {
    {"lane-wrong-proof", true, wrong_proof},
    {"lane-no-ticket", true, no_ticket},
    {"lane-tampered", true, tampered},
    {"lane-too-large", true, sealed_too_large},
    {"lane-unsealed", true, unsealed},
    {"memory-unsealed", true, memory_unsealed},
    {"memory-truncated", true, memory_truncated},
    {"memory-missing", true, memory_missing},
    {"slab-resizable", true, slab_resizable},
    {"slab-short", true, slab_short},
    {"slab-missing", true, slab_missing},
    {"slab-not-lent", true, slab_not_lent},
    {NULL, false, NULL},
};
