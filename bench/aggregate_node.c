#include "bench/aggregate_node.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "bench/aggregate_parts.h"
#include "core/check.h"

enum { LINE_SIZE = 4096 };

uint64_t aggregate_clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void aggregate_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("ERR ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
    fflush(stdout);
}

// ---- who it is ----

static struct core_key key_of(const char *seed, uint32_t index)
{
    char text[160];
    int size = snprintf(text, sizeof text, "mycel bench aggregate %s %u", seed, index);
    struct core_hash hash = hash_bytes(text, (size_t)size);
    return sign_key_from_seed(hash.bytes);
}

static enum core_err open_links(struct aggregate_node *n, const char *seed, const char *host)
{
    const struct core_key founder = key_of(seed, UINT32_MAX);
    static struct charter charter;
    static uint8_t certificate[CERTIFICATE_MAX];
    uint8_t nonce[CHARTER_NONCE_SIZE] = {0};
    size_t size = 0;
    n->key = key_of(seed, n->index);
    for (uint32_t i = 0; i < n->count; i++) n->ids[i] = key_of(seed, i).id;
    enum core_err err = charter_create(&founder, "bench", FAULT_TRUSTED, 1, nonce, &charter);
    struct certificate c = {.mesh = charter.id, .key = n->key.id, .roles = ROLE_MEMBER, .issued_s = 1};
    snprintf(c.name, sizeof c.name, "n%03u", n->index);
    if (!err) err = certificate_issue(&charter, &founder, (struct slice){0}, &c, certificate, &size);
    struct links_options options = {.key = &n->key,
                                    .charter = &charter,
                                    .certificate = {certificate, size},
                                    .incarnation = 1,
                                    .bulk_queue_bytes = UINT64_C(1) << 30,
                                    .bulk_window_bytes = UINT64_C(1) << 28};
    const uint32_t machine = n->index % n->machines;
    options.host = hash_bytes(&machine, sizeof machine);
    if (!err) err = address_parse(host, &options.listen);
    if (!err) err = links_open(&n->links, &options);
    if (err) return err;
    options.listen.port = links_port(n->links);
    char text[ADDRESS_TEXT_MAX];
    address_format(&options.listen, text);
    printf("READY %s\n", text);
    fflush(stdout);
    return CORE_ERR_OK;
}

static enum core_err open_all(struct aggregate_node *n, const char *seed, const char *host)
{
    enum core_err err = hip_device_open("cpu", NULL, &n->device);
    if (!err) err = hip_stream_open(n->device, &n->stream);
    if (!err) err = tree_plan_open(&n->plan, AGGREGATE_NODES_MAX);
    n->x = malloc(n->elements * sizeof *n->x);
    n->residual = calloc(n->elements, sizeof *n->residual);
    n->mean = aligned_alloc(64, (n->elements * sizeof *n->mean + 63) / 64 * 64);
    n->pool = buffer_pool_open((size_t)1 << 28);
    n->zeros = calloc(1 << 14, sizeof *n->zeros);
    n->items = calloc(TREE_GROUPS(AGGREGATE_NODES_MAX) * TREE_SHARD_MAX, sizeof *n->items);
    if (!n->x || !n->residual || !n->mean || !n->pool || !n->zeros || !n->items) return CORE_ERR_NO_MEMORY;
    for (uint64_t e = 0; e < n->elements; e++) n->x[e] = aggregate_element(n->index, e);
    memset(n->residual, 0, n->elements * sizeof *n->residual);  // and both are really there
    memset(n->mean, 0, n->elements * sizeof *n->mean);
    return err ? err : open_links(n, seed, host);
}

// ---- events ----

static void link_event(void *context, const struct link_event *e)
{
    struct aggregate_node *n = context;
    uint32_t index = 0;
    while (index < n->count && !id_equal(&n->ids[index], &e->id)) index++;
    switch (e->kind) {
    case LINK_EVENT_UP:
        if (++n->up == n->count - 1) printf("LINKED\n");
        break;
    case LINK_EVENT_DOWN:
        n->up--;
        if (index < n->count) aggregate_lost(n, index);
        break;
    case LINK_EVENT_MESSAGE:
        if (e->message->type == MESSAGE_DATA) aggregate_take(n, &e->id, &e->message->data, e->bulk);
        break;
    case LINK_EVENT_DIAL_FAILED: aggregate_error("dial failed: %s", link_reason_text(e->reason)); break;
    case LINK_EVENT_ADMIT:
    case LINK_EVENT_ADDRESS_FAILED: break;
    case LINK_EVENT_REFUSED: aggregate_error("refused: %s", link_reason_text(e->reason)); break;
    }
}

// Between two shards: what waits on the links goes on.
static void between(struct aggregate_node *n)
{
    links_process(n->links, link_event, n);
}

// Those with a higher index are dialled.
static void dial_all(struct aggregate_node *n, char *addresses)
{
    uint32_t index = 0;
    char *rest = NULL;
    for (char *word = strtok_r(addresses, " ", &rest); word && index < n->count;
         word = strtok_r(NULL, " ", &rest), index++) {
        if (index <= n->index) continue;
        struct address address;
        struct address_list list = {0};
        uint8_t bytes[ADDRESS_LIST_BYTES];
        enum core_err err = address_parse(word, &address);
        if (!err) err = address_list_add(&list, &address);
        if (!err) err = links_dial(n->links, &n->ids[index], (struct slice){bytes, address_list_encode(&list, bytes)});
        if (err) aggregate_error("no dial to %s: %s", word, core_error_name(err));
    }
    if (n->count == 1) printf("LINKED\n");
}

static uint64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void say_done(struct aggregate_node *n)
{
    if (!n->done || !n->begun) return;
    n->begun = false;
    printf("DONE %llu %llu %llu %llu %llu\n", (unsigned long long)n->round, (unsigned long long)n->start_us,
           (unsigned long long)n->end_us, (unsigned long long)n->sent, (unsigned long long)(cpu_us() - n->cpu_us));
}

static void say_what(const struct aggregate_node *n)
{
    const struct core_hash hash = hash_bytes((const uint8_t *)n->mean, n->elements * sizeof *n->mean);
    char text[17];
    for (int i = 0; i < 8; i++) snprintf(text + 2 * i, 3, "%02x", hash.bytes[i]);
    printf("IS %s %u\n", text, n->round ? 0 : aggregate_wrong(n));
}

static void take_line(struct aggregate_node *n, char *line)
{
    unsigned long long round = 0;
    unsigned hold = 0;
    if (strncmp(line, "PEERS ", 6) == 0) {
        dial_all(n, line + 6);
    } else if (sscanf(line, "ROUND %llu %u", &round, &hold) == 2) {
        n->start_us = aggregate_clock_us();
        n->cpu_us = cpu_us();
        aggregate_open(n, round);
        n->hold = hold;
        aggregate_begin(n, between);
    } else if (strcmp(line, "WHAT") == 0) {
        say_what(n);
    } else if (strcmp(line, "GO") == 0) {
        n->start_us = aggregate_clock_us();
        aggregate_go(n);
    }
}

// False at the end of input.
static bool read_lines(struct aggregate_node *n, char *line, size_t *size)
{
    const ssize_t got = read(STDIN_FILENO, line + *size, LINE_SIZE - 1 - *size);
    if (got <= 0) return got < 0 && errno == EINTR;
    *size += (size_t)got;
    line[*size] = 0;
    for (char *end; (end = strchr(line, '\n'));) {
        *end = 0;
        take_line(n, line);
        *size -= (size_t)(end + 1 - line);
        memmove(line, end + 1, *size + 1);
    }
    return *size < LINE_SIZE - 1;
}

static void loop(struct aggregate_node *n)
{
    char line[LINE_SIZE];
    size_t size = 0;
    const size_t most = links_pollitems_max(n->links);
    zmq_pollitem_t *items = calloc(most + 1, sizeof *items);
    check(items);
    for (bool open = true; open;) {
        items[0] = (zmq_pollitem_t){.fd = STDIN_FILENO, .events = ZMQ_POLLIN};
        const size_t count = 1 + links_pollitems(n->links, items + 1, most);
        const int wait = links_timeout_ms(n->links);
        if (zmq_poll(items, (int)count, wait < 0 || wait > 1000 ? 1000 : wait) < 0 && errno != EINTR) break;
        links_process(n->links, link_event, n);
        if (items[0].revents) open = read_lines(n, line, &size);
        say_done(n);
        fflush(stdout);
    }
    free(items);
}

int aggregate_node_main(int argc, char **argv)
{
    static struct aggregate_node n;
    unsigned machines, bits, copies;
    unsigned long long elements;
    if (argc != 5 || sscanf(argv[4], "%u:%llu:%u:%u", &machines, &elements, &bits, &copies) != 4)
        return core_error_exit(CORE_ERR_USAGE);
    n.index = (uint32_t)strtoul(argv[0], NULL, 10);
    n.count = (uint32_t)strtoul(argv[1], NULL, 10);
    n.machines = machines;
    n.elements = elements;
    n.bits = bits;
    n.copies = copies;
    if (n.count == 0 || n.count > AGGREGATE_NODES_MAX || n.index >= n.count || n.machines == 0 || n.elements == 0 ||
        (n.bits != 8 && n.bits != 32))
        return core_error_exit(CORE_ERR_USAGE);
    enum core_err err = open_all(&n, argv[2], argv[3]);
    if (err)
        aggregate_error("cannot start: %s", core_error_text(err));
    else
        loop(&n);
    aggregate_clear(&n);
    if (n.links) links_close(n.links);
    buffer_pool_close(n.pool);
    tree_plan_close(&n.plan);
    free(n.items);
    free(n.x);
    free(n.residual);
    free(n.mean);
    free(n.zeros);
    if (n.stream) hip_stream_close(n.stream);
    if (n.device) hip_device_close(n.device);
    return err ? core_error_exit(err) : 0;
}
