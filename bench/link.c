// One stream of 1 MiB messages over loopback, sender and receiver in a process each. The peer is libzmq's PUSH and PULL
// without encryption, zero-copy, as its own throughput test sends. Every sample takes each way in turn, so that all see
// the same machine; a row is the median and its spread. A received message's first and last bytes are looked at.
//
// Two rows a way: bytes by the clock, which other programs on the machine disturb, and bytes a second of processor time
// of the end that needs more of it: what the way does where each end has one core to itself.
#include "bench/link.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "bench/bench.h"
#include "core/check.h"
#include "mesh/buffer.h"
#include "mesh/links.h"
#include "mesh/record.h"

enum {
    BODY_BYTES = 1 << 20,
    SAMPLES = 7,
    FULL_SAMPLES = 21,
    SAMPLE_MS_SHARE = 3,  // a sample takes a third of --seconds, after a fifth of that to warm up
    ITEMS_MAX = 64,
    HIGH_WATER = 64,
    PORT_WAIT_S = 30,
    CIPHER_RECORDS = 4000,
};

enum way { WAY_PLAIN, WAY_CURVE, WAY_SEALED, WAY_SHARED, WAYS };
static const char *const parts[WAYS] = {NULL, "curve", "sealed", "shared"};
static const char *const names[WAYS] = {"plain libzmq", "over CURVE", "sealed", "shared memory"};

// Counts what arrives from a fifth of the time on until the time is over; says on `out` when it begins.
struct meter {
    double seconds, began, ended;
    uint64_t bytes;
    bool done, wrong;
    int out;
};

// What one sample gives: bytes a second, and the processor time of the two ends for a byte.
struct pace {
    double rate, sender_s, receiver_s;
};

static void meter_add(struct meter *m, const uint8_t *data, size_t size)
{
    double now = bench_now();
    if (m->began == 0) m->began = now;
    m->wrong |= size != BODY_BYTES || data[0] != 7 || data[size - 1] != 7;
    double warm = m->began + m->seconds / 5;
    if (now < warm) return;
    if (m->ended == 0) {
        m->ended = now;
        (void)!write(m->out, "", 1);
        return;  // counting begins with the next
    }
    m->bytes += size;
    if (now - m->ended >= m->seconds) {
        m->seconds = now - m->ended;
        m->done = true;
    }
}

// ---- plain libzmq ----

static void keep(void *data, void *hint)
{
    (void)data;
    (void)hint;
}

static void plain_send(int port_in)
{
    char endpoint[64];
    int high = HIGH_WATER;
    if (read(port_in, endpoint, sizeof endpoint) != sizeof endpoint) return;
    void *context = zmq_ctx_new(), *s = zmq_socket(context, ZMQ_PUSH);
    uint8_t *bytes = malloc(BODY_BYTES);
    check(bytes && zmq_setsockopt(s, ZMQ_SNDHWM, &high, sizeof high) == 0 && zmq_connect(s, endpoint) == 0);
    memset(bytes, 7, BODY_BYTES);
    for (;;) {  // until it is ended
        zmq_msg_t m;
        zmq_msg_init_data(&m, bytes, BODY_BYTES, keep, NULL);
        if (zmq_msg_send(&m, s, 0) < 0) return;
    }
}

static void plain_receive(int port_out, struct meter *meter)
{
    char endpoint[64] = "";
    size_t size = sizeof endpoint;
    int high = HIGH_WATER;
    void *context = zmq_ctx_new(), *s = zmq_socket(context, ZMQ_PULL);
    check(zmq_setsockopt(s, ZMQ_RCVHWM, &high, sizeof high) == 0 && zmq_bind(s, "tcp://127.0.0.1:*") == 0 &&
          zmq_getsockopt(s, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0);
    if (write(port_out, endpoint, sizeof endpoint) != sizeof endpoint) return;
    zmq_msg_t m;
    zmq_msg_init(&m);
    while (!meter->done && zmq_msg_recv(&m, s, 0) >= 0) meter_add(meter, zmq_msg_data(&m), zmq_msg_size(&m));
}

// ---- a link ----

struct end {
    struct core_key key;
    struct charter charter;
    uint8_t certificate[CERTIFICATE_MAX];
    size_t size;
    struct links *links;
    struct meter *meter;
    bool up;
};

static struct core_key key_of(uint8_t n)
{
    uint8_t seed[CORE_SEED_SIZE];
    memset(seed, n, sizeof seed);
    return sign_key_from_seed(seed);
}

static void end_open(struct end *e, uint8_t number, enum way way)
{
    static const uint8_t nonce[16] = "link benchmark.";
    struct core_key founder = key_of(100);
    e->key = key_of(number);
    check(charter_create(&founder, "bench", FAULT_TRUSTED, 1, nonce, &e->charter) == CORE_ERR_OK);
    struct certificate c = {.mesh = e->charter.id, .key = e->key.id, .name = "p", .roles = ROLE_MEMBER, .issued_s = 1};
    check(certificate_issue(&e->charter, &founder, (struct slice){0}, &c, e->certificate, &e->size) == CORE_ERR_OK);
    static const enum link_way ways[WAYS] = {LINK_WAY_NONE, LINK_WAY_CURVE, LINK_WAY_SEALED, LINK_WAY_SHARED};
    struct links_options o = {.key = &e->key,
                              .charter = &e->charter,
                              .certificate = {e->certificate, e->size},
                              .bulk_ways = 1u << ways[way],
                              .host = {{1}}};
    check(address_parse("127.0.0.1:0", &o.listen) == CORE_ERR_OK && links_open(&e->links, &o) == CORE_ERR_OK);
}

static void end_event(void *context, const struct link_event *event)
{
    struct end *e = context;
    if (event->kind == LINK_EVENT_UP) e->up = true;
    if (event->kind == LINK_EVENT_MESSAGE && e->meter && event->message->bulk.size)
        meter_add(e->meter, event->message->bulk.data, event->message->bulk.size);
}

static void end_turn(struct end *e)
{
    zmq_pollitem_t items[ITEMS_MAX * 8];
    check(links_pollitems_max(e->links) <= sizeof items / sizeof *items);
    size_t count = links_pollitems(e->links, items, sizeof items / sizeof *items);
    zmq_poll(items, (int)count, links_timeout_ms(e->links));
    links_process(e->links, end_event, e);
}

static void link_send(int port_in, enum way way)
{
    struct end e = {0};
    uint16_t port;
    uint8_t raw[ADDRESS_LIST_BYTES];
    struct core_key to = key_of(2);
    end_open(&e, 1, way);
    if (read(port_in, &port, sizeof port) != sizeof port) return;
    struct address_list list = {.items = {{.host = "127.0.0.1", .port = port}}, .count = 1};
    size_t size = address_list_encode(&list, raw);
    check(links_dial(e.links, &to.id, (struct slice){raw, size}) == CORE_ERR_OK);
    while (!e.up) end_turn(&e);
    struct buffer *bytes = buffer_new(BODY_BYTES);
    check(bytes);
    memset(buffer_data(bytes), 7, BODY_BYTES);
    struct message m = {.type = MESSAGE_DATA, .bulk = buffer_slice(bytes)};
    for (;;) {  // until it is ended
        while (links_send_buffer(e.links, &to.id, &m, bytes) == CORE_ERR_OK) continue;
        end_turn(&e);
    }
}

static void link_receive(int port_out, enum way way, struct meter *meter)
{
    struct end e = {.meter = meter};
    end_open(&e, 2, way);
    uint16_t port = links_port(e.links);
    if (write(port_out, &port, sizeof port) != sizeof port) return;
    while (!meter->done) end_turn(&e);
}

// ---- both ends ----

static pid_t begin(enum way way, bool sends, int port_in, int port_out, int rate_out, double seconds)
{
    pid_t child = fork();
    if (child != 0) return child;
    alarm(PORT_WAIT_S);
    struct meter meter = {.seconds = seconds, .out = rate_out};
    if (sends && way == WAY_PLAIN)
        plain_send(port_in);
    else if (sends)
        link_send(port_in, way);
    else if (way == WAY_PLAIN)
        plain_receive(port_out, &meter);
    else
        link_receive(port_out, way, &meter);
    if (!sends) (void)!write(rate_out, &meter, sizeof meter);
    (void)pause();  // its processor time is read
    _exit(0);
}

// So far, in seconds.
static double processor_time(pid_t pid)
{
    clockid_t clock;
    struct timespec t = {0};
    if (clock_getcpuclockid(pid, &clock) == 0) clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool hear(int told, pid_t sender, pid_t receiver, struct pace *out)
{
    char byte;
    struct meter m;
    if (read(told, &byte, 1) != 1) return false;
    double before[2] = {processor_time(sender), processor_time(receiver)};
    if (read(told, &m, sizeof m) != sizeof m || !m.done || m.wrong) return false;
    *out = (struct pace){.rate = (double)m.bytes / m.seconds,
                         .sender_s = (processor_time(sender) - before[0]) / (double)m.bytes,
                         .receiver_s = (processor_time(receiver) - before[1]) / (double)m.bytes};
    return true;
}

static bool sample(enum way way, double seconds, struct pace *out)
{
    int port[2], told[2];
    *out = (struct pace){0};
    if (pipe(port) || pipe(told)) return false;
    pid_t receiver = begin(way, false, port[0], port[1], told[1], seconds);
    pid_t sender = begin(way, true, port[0], port[1], told[1], seconds);
    close(told[1]);
    bool ok = hear(told[0], sender, receiver, out);
    kill(sender, SIGKILL);
    kill(receiver, SIGKILL);
    waitpid(sender, NULL, 0);
    waitpid(receiver, NULL, 0);
    close(port[0]);
    close(port[1]);
    close(told[0]);
    return ok;
}

// ---- the cipher alone ----

// Bytes that one core seals in a second of processor time, as records of the lane's size.
static double cipher_rate(bool libcrypto)
{
    static uint8_t text[RECORD_BULK_MAX], record[RECORD_BULK_MAX + SEAL_OVERHEAD];
    const struct core_hash key = {{1}};
    const struct slice part = {text, sizeof text};
    struct seal *s = libcrypto ? seal_new_libcrypto(SEAL_AES_256_GCM, &key, SEAL_RECORDS_MAX, false)
                               : seal_new(SEAL_AES_256_GCM, &key, SEAL_RECORDS_MAX, false);
    check(s);
    for (int i = 0; i < CIPHER_RECORDS / 8; i++) seal_record(s, &part, 1, record);
    const double before = processor_time(getpid());
    for (int i = 0; i < CIPHER_RECORDS; i++) seal_record(s, &part, 1, record);
    const double took = processor_time(getpid()) - before;
    seal_free(s);
    return CIPHER_RECORDS * (double)sizeof text / took;
}

static int ascending(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

// Of one way, by what is counted.
enum count { COUNT_CLOCK, COUNT_PROCESSOR, COUNTS };

static double counted(const struct pace *p, enum count count)
{
    if (count == COUNT_CLOCK) return p->rate;
    return 1 / (p->sender_s > p->receiver_s ? p->sender_s : p->receiver_s);
}

// The median and the distance between the quartiles over it.
static double median_of(const struct pace *paces, int samples, enum count count, double *spread)
{
    double values[FULL_SAMPLES];
    for (int i = 0; i < samples; i++) values[i] = counted(&paces[i], count);
    qsort(values, (size_t)samples, sizeof *values, ascending);
    *spread = (values[samples * 3 / 4] - values[samples / 4]) / values[samples / 2];
    return values[samples / 2];
}

// Nanoseconds of processor time a byte, the median.
static double end_of(const struct pace *paces, int samples, bool sender)
{
    double values[FULL_SAMPLES];
    for (int i = 0; i < samples; i++) values[i] = 1e9 * (sender ? paces[i].sender_s : paces[i].receiver_s);
    qsort(values, (size_t)samples, sizeof *values, ascending);
    return values[samples / 2];
}

static void report(struct bench *b, const struct pace paces[WAYS][FULL_SAMPLES], int samples)
{
    const double cipher = cipher_rate(false), libcrypto = cipher_rate(true);
    for (int way = WAY_CURVE; way < WAYS; way++) {
        if (!bench_wants(b, parts[way])) continue;
        for (int count = 0; count < COUNTS; count++) {
            double plain_spread, spread, plain = median_of(paces[WAY_PLAIN], samples, (enum count)count, &plain_spread);
            const double median = median_of(paces[way], samples, (enum count)count, &spread);
            struct bench_row row = {.value = median / 1e9,
                                    .unit = "GB/s",
                                    .spread = spread,
                                    .beside = names[WAY_PLAIN],
                                    .beside_value = plain / 1e9};
            char note[128];
            snprintf(row.name, sizeof row.name, "link bulk of 1 MiB %s%s", names[way],
                     count == COUNT_PROCESSOR ? ", a core an end" : "");
            snprintf(note, sizeof note, "AES-256-GCM alone %.2f GB/s (libcrypto %.2f): after it plain would reach %.2f",
                     cipher / 1e9, libcrypto / 1e9, cipher / (cipher + plain));
            if (way == WAY_SEALED && count == COUNT_CLOCK) row.note = note;
            char ends[128];
            snprintf(ends, sizeof ends, "ns a byte: sender %.3f, receiver %.3f; plain %.3f, %.3f",
                     end_of(paces[way], samples, true), end_of(paces[way], samples, false),
                     end_of(paces[WAY_PLAIN], samples, true), end_of(paces[WAY_PLAIN], samples, false));
            if (count == COUNT_PROCESSOR) row.note = ends;
            bench_report(b, &row);
        }
    }
}

int bench_link(struct bench *b)
{
    static struct pace paces[WAYS][FULL_SAMPLES];
    int samples = bench_full(b) ? FULL_SAMPLES : SAMPLES;
    if (sign_start()) return 1;
    for (int i = 0; i < samples; i++) {
        for (int way = 0; way < WAYS; way++) {
            if (way != WAY_PLAIN && !bench_wants(b, parts[way])) continue;
            if (sample((enum way)way, bench_seconds(b) / SAMPLE_MS_SHARE, &paces[way][i])) continue;
            bench_say(b, "link: %s did not run to its end", names[way]);
            return 1;
        }
    }
    report(b, paces, samples);
    return 0;
}
