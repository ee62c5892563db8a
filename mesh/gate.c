#include "mesh/gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "core/bytes.h"
#include "core/check.h"
#include "core/hash.h"

enum { BANS = 256, BUCKETS = 512, REFUSALS = 64, ZAP_FRAMES = 7, ZAP_FRAME_MAX = 255 };

// Tries are paid in thousandths; a bucket refills with time. One machine may hold a whole lab of peers, so an address
// gets far more than a key.
struct rate {
    uint64_t burst;  // tries
    uint64_t per_s;  // tries a second
};
static const struct rate address_rate = {400, 50};
static const struct rate slow_rate = {20, 5};
static const struct rate stranger_rate = {20, 2};
static const struct rate member_rate = {80, 20};

struct bucket {
    struct core_hash who;  // hash of a key or of an address; zero: free
    uint64_t milli;        // tries left, in thousandths
    uint64_t at_ms;
    uint64_t slow_until_ms;
    bool member;
};

struct ban {
    uint8_t key[GATE_KEY_SIZE];
    uint64_t until_ms;  // UINT64_MAX: for ever; 0: free
};

struct gate {
    void *socket;
    pthread_t thread;
    pthread_mutex_t mutex;  // guards everything below
    struct ban bans[BANS];
    struct bucket keys[BUCKETS];
    struct bucket addresses[BUCKETS];
    struct gate_refusal refusals[REFUSALS];
    uint32_t first, waiting;
    uint64_t lost;
};

static uint64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

// ---- buckets ----

// The bucket of `who`, or the one that was idle for longest, emptied for it. A member's outlives strangers'.
static struct bucket *bucket_of(struct bucket *table, const void *who, size_t size, uint64_t burst, uint64_t now_ms)
{
    struct core_hash h = hash_bytes(who, size);
    struct bucket *oldest = NULL;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        if (hash_equal(&table[i].who, &h)) return &table[i];
        bool better = !oldest || (oldest->member && !table[i].member) ||
                      (oldest->member == table[i].member && table[i].at_ms < oldest->at_ms);
        if (better) oldest = &table[i];
    }
    *oldest = (struct bucket){.who = h, .milli = burst * 1000, .at_ms = now_ms};
    return oldest;
}

static bool bucket_take(struct bucket *b, struct rate rate, uint64_t now_ms)
{
    b->milli += (now_ms - b->at_ms) * rate.per_s;
    if (b->milli > rate.burst * 1000) b->milli = rate.burst * 1000;
    b->at_ms = now_ms;
    if (b->milli < 1000) return false;
    b->milli -= 1000;
    return true;
}

// ---- the decision ----

static bool is_banned(const struct gate *g, const uint8_t *key, uint64_t now_ms)
{
    for (uint32_t i = 0; i < BANS; i++)
        if (g->bans[i].until_ms > now_ms && memcmp(g->bans[i].key, key, GATE_KEY_SIZE) == 0) return true;
    return false;
}

static void remember(struct gate *g, const uint8_t *key, const char *address, bool banned)
{
    if (g->waiting == REFUSALS) {
        g->lost++;
        return;
    }
    struct gate_refusal *r = &g->refusals[(g->first + g->waiting++) % REFUSALS];
    *r = (struct gate_refusal){.banned = banned};
    memcpy(r->key, key, GATE_KEY_SIZE);
    memcpy(r->address, address, strnlen(address, GATE_ADDRESS_MAX - 1));
}

// ZAP's status: "200", "400" (say so), "300" (close without a word).
static const char *decide(struct gate *g, const uint8_t *key, const char *address)
{
    uint64_t now_ms = clock_ms();
    pthread_mutex_lock(&g->mutex);
    bool banned = is_banned(g, key, now_ms), fast = false;
    if (!banned) {
        struct bucket *by_key = bucket_of(g->keys, key, GATE_KEY_SIZE, stranger_rate.burst, now_ms);
        fast = !bucket_take(by_key, by_key->member ? member_rate : stranger_rate, now_ms);
    }
    if (banned || fast) remember(g, key, address, banned);
    pthread_mutex_unlock(&g->mutex);
    return banned || fast ? "400" : "200";
}

// ---- ZAP over libzmq ----

struct zap_frame {
    char data[ZAP_FRAME_MAX + 1];  // with a NUL behind
    size_t size;
};

// Reads one request; the number of its frames, 0 when the context ends. Longer frames and further ones are cut.
static size_t zap_receive(void *socket, struct zap_frame frames[ZAP_FRAMES])
{
    size_t count = 0;
    int more = 1;
    while (more) {
        struct zap_frame spill, *f = count < ZAP_FRAMES ? &frames[count] : &spill;
        int size = zmq_recv(socket, f->data, ZAP_FRAME_MAX, 0);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return 0;
        f->size = size > ZAP_FRAME_MAX ? 0 : (size_t)size;
        f->data[f->size] = '\0';
        size_t option = sizeof more;
        if (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &option) != 0) return 0;
        count++;
    }
    return count;
}

static bool zap_send(void *socket, const char *const *frames, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int rc;
        do rc = zmq_send(socket, frames[i], strlen(frames[i]), i + 1 < count ? ZMQ_SNDMORE : 0);
        while (rc < 0 && errno == EINTR);
        if (rc < 0) return false;
    }
    return true;
}

// Frames of a request: version, request id, domain, address, identity, mechanism, credentials.
static void *gate_main(void *argument)
{
    struct gate *g = argument;
    struct zap_frame f[ZAP_FRAMES];
    size_t count;
    while ((count = zap_receive(g->socket, f)) > 0) {
        const char *status = "500";
        char user[GATE_USER_ID_MAX] = "";
        if (count >= ZAP_FRAMES && strcmp(f[0].data, "1.0") == 0 && strcmp(f[5].data, "CURVE") == 0 &&
            f[6].size == GATE_KEY_SIZE) {
            const uint8_t *key = (const uint8_t *)f[6].data;
            status = decide(g, key, f[3].data);
            hex_encode(user, key, GATE_KEY_SIZE);
        }
        const char *reply[] = {"1.0", f[1].data, status, "", user, ""};
        if (!zap_send(g->socket, reply, sizeof reply / sizeof reply[0])) break;
    }
    zmq_close(g->socket);
    return NULL;
}

enum core_err gate_open(void *context, struct gate **out)
{
    struct gate *g = calloc(1, sizeof *g);
    if (!g) return CORE_ERR_NO_MEMORY;
    int zero = 0;
    g->socket = zmq_socket(context, ZMQ_REP);
    if (!g->socket || zmq_setsockopt(g->socket, ZMQ_LINGER, &zero, sizeof zero) != 0 ||
        zmq_bind(g->socket, GATE_ENDPOINT) != 0) {
        if (g->socket) zmq_close(g->socket);
        free(g);
        return CORE_ERR_IO;
    }
    check(pthread_mutex_init(&g->mutex, NULL) == 0);
    if (pthread_create(&g->thread, NULL, gate_main, g) != 0) {
        zmq_close(g->socket);
        pthread_mutex_destroy(&g->mutex);
        free(g);
        return CORE_ERR_NO_MEMORY;
    }
    *out = g;
    return CORE_ERR_OK;
}

void gate_close(struct gate *gate)
{
    pthread_join(gate->thread, NULL);
    pthread_mutex_destroy(&gate->mutex);
    free(gate);
}

// ---- what others tell it ----

void gate_ban(struct gate *gate, const uint8_t key[GATE_KEY_SIZE], uint64_t ms)
{
    uint64_t now_ms = clock_ms();
    pthread_mutex_lock(&gate->mutex);
    struct ban *place = &gate->bans[0];
    for (uint32_t i = 0; i < BANS; i++) {
        struct ban *b = &gate->bans[i];
        if (b->until_ms && memcmp(b->key, key, GATE_KEY_SIZE) == 0) {
            place = b;
            break;
        }
        if (b->until_ms < place->until_ms) place = b;  // the one that ends first makes room
    }
    memcpy(place->key, key, GATE_KEY_SIZE);
    place->until_ms = ms ? now_ms + ms : UINT64_MAX;
    pthread_mutex_unlock(&gate->mutex);
}

// An IPv4 address as it is, of an IPv6 address the first 64 bits.
static struct bucket *by_address(struct gate *g, const char *address, uint64_t now_ms)
{
    uint8_t v6[16];
    if (inet_pton(AF_INET6, address, v6) == 1) return bucket_of(g->addresses, v6, 8, address_rate.burst, now_ms);
    return bucket_of(g->addresses, address, strlen(address), address_rate.burst, now_ms);
}

bool gate_accept(struct gate *gate, const char *address)
{
    uint64_t now_ms = clock_ms();
    pthread_mutex_lock(&gate->mutex);
    struct bucket *b = by_address(gate, address, now_ms);
    bool ok = bucket_take(b, b->slow_until_ms > now_ms ? slow_rate : address_rate, now_ms);
    pthread_mutex_unlock(&gate->mutex);
    return ok;
}

void gate_know(struct gate *gate, const uint8_t key[GATE_KEY_SIZE], const char *address)
{
    uint64_t now_ms = clock_ms();
    pthread_mutex_lock(&gate->mutex);
    struct bucket *b = bucket_of(gate->keys, key, GATE_KEY_SIZE, stranger_rate.burst, now_ms);
    if (!b->member) b->milli = member_rate.burst * 1000;
    b->member = true;
    if (address) by_address(gate, address, now_ms)->milli += 1000;
    pthread_mutex_unlock(&gate->mutex);
}

void gate_slow(struct gate *gate, const char *address, uint64_t ms)
{
    uint64_t now_ms = clock_ms();
    pthread_mutex_lock(&gate->mutex);
    by_address(gate, address, now_ms)->slow_until_ms = now_ms + ms;
    pthread_mutex_unlock(&gate->mutex);
}

bool gate_take(struct gate *gate, struct gate_refusal *out, uint64_t *lost)
{
    pthread_mutex_lock(&gate->mutex);
    bool any = gate->waiting > 0;
    if (any) {
        *out = gate->refusals[gate->first];
        gate->first = (gate->first + 1) % REFUSALS;
        gate->waiting--;
    }
    *lost = gate->lost;
    gate->lost = 0;
    pthread_mutex_unlock(&gate->mutex);
    return any;
}
