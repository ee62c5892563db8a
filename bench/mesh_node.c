#include "bench/mesh_node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "bench/mesh_node_parts.h"
#include "core/check.h"

// As in node/: how long a message waits for a dial, how often an unanswered sponsor is tried, how long a link that
// gossip no longer needs stays.
enum { WAIT_MS = 5000, JOIN_AGAIN_MS = 2000, LINK_IDLE_MS = 10000, OUTBOX_EFFECTS = 8192, OUTBOX_BYTES = 32 << 20 };

uint64_t mesh_node_clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t mesh_node_wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t clock_ms(void)
{
    return mesh_node_clock_us() / 1000;
}

// ---- effects ----

static struct mesh_link *link_find(struct mesh_node *n, const struct core_id *id)
{
    for (int i = 0; i < MESH_LINKS_MAX; i++)
        if (n->link[i].used && id_equal(&n->link[i].id, id)) return &n->link[i];
    return NULL;
}

static bool dial(struct mesh_node *n, const struct core_id *peer, struct slice addresses)
{
    struct gossip_member member;
    if (addresses.size == 0 && gossip_member_find(n->gossip, peer, &member)) addresses = member.addresses;
    if (addresses.size == 0) return false;
    enum core_err err = links_dial(n->links, peer, addresses);
    if (err == CORE_ERR_OK) n->dials++;
    return err == CORE_ERR_OK || err == CORE_ERR_EXISTS;
}

static size_t views_size(const struct message *m)
{
    const struct message_info *info = message_info(m->type);
    size_t size = m->bulk.size + 64;
    for (uint32_t i = 0; i < info->count; i++) {
        if (info->fields[i].kind != MESSAGE_BYTES) continue;
        size += ((const struct slice *)(const void *)((const uint8_t *)m + info->fields[i].offset))->size + 16;
    }
    return size;
}

static void waiting_free(struct mesh_waiting *w)
{
    arena_close(&w->arena);
    w->used = false;
}

static void keep(struct mesh_node *n, const struct core_id *to, const struct message *m)
{
    struct mesh_waiting *w = NULL;
    for (int i = 0; i < MESH_WAITING_MAX && !w; i++)
        if (!n->waiting[i].used) w = &n->waiting[i];
    if (!w || arena_open(&w->arena, views_size(m))) return;
    w->used = message_copy(&w->arena, &w->message, m);
    w->to = *to;
    w->since_ms = n->now_ms;
    if (!w->used) arena_close(&w->arena);
}

static void send_now(struct mesh_node *n, const struct core_id *to, const struct message *m)
{
    n->sent[m->type % MESH_TYPES]++;
    enum core_err err = links_send(n->links, to, m);
    if (err && err != CORE_ERR_UNREACHABLE)
        printf("ERR %s not sent: %s\n", message_info(m->type)->name, core_error_name(err));
}

static void send_message(struct mesh_node *n, const struct core_id *to, const struct message *m)
{
    struct mesh_link *link = link_find(n, to);
    if (link && m->type == MESSAGE_PING) {
        link->ping_nonce = m->ping.nonce;
        link->ping_us = mesh_node_clock_us();
    }
    if (links_is_up(n->links, to))
        send_now(n, to, m);
    else if (dial(n, to, (struct slice){0}))
        keep(n, to, m);
}

static void perform_one(struct mesh_node *n, const struct effect *e)
{
    struct mesh_link *link = link_find(n, &e->to);
    switch (e->kind) {
    case EFFECT_SEND: send_message(n, &e->to, &e->message); break;
    case EFFECT_DELIVER: (void)casts_seen_take(&n->casts, e->payload, mesh_node_wall_us()); break;
    case EFFECT_DIAL:
        if (link) link->unwanted = false;
        if (links_is_up(n->links, &e->to))
            gossip_link_up(n->gossip, &e->to, n->now_ms, &n->out);
        else if (!dial(n, &e->to, e->payload))
            gossip_dial_failed(n->gossip, &e->to, n->now_ms, &n->out);
        break;
    case EFFECT_HANGUP:
        if (link) link->unwanted = true;
        break;
    case EFFECT_MEMBER: mesh_node_member(n, &e->to); break;
    case EFFECT_CAST:
    case EFFECT_PERSIST:
    case EFFECT_WORK: break;
    }
}

void mesh_node_perform(struct mesh_node *n)
{
    if (n->performing) return;
    n->performing = true;
    for (size_t i = 0; i < n->out.count; i++) {
        struct effect e = n->out.effects[i];
        perform_one(n, &e);
    }
    if (n->out.dropped) {
        printf("ERR outbox full: %llu effects dropped\n", (unsigned long long)n->out.dropped);
        n->out.dropped = 0;
    }
    outbox_reset(&n->out);
    n->performing = false;
}

// ---- links ----

static void link_up(struct mesh_node *n, const struct core_id *id)
{
    n->links_up++;
    struct mesh_link *link = link_find(n, id);
    for (int i = 0; i < MESH_LINKS_MAX && !link; i++)
        if (!n->link[i].used) link = &n->link[i];
    if (link) *link = (struct mesh_link){.id = *id, .used = true, .used_ms = n->now_ms};
    gossip_link_up(n->gossip, id, n->now_ms, &n->out);
    for (int i = 0; i < MESH_WAITING_MAX; i++) {
        struct mesh_waiting *w = &n->waiting[i];
        if (!w->used || !id_equal(&w->to, id)) continue;
        send_now(n, id, &w->message);
        waiting_free(w);
    }
}

static void dial_failed(struct mesh_node *n, const struct core_id *id)
{
    n->dials_failed++;
    for (int i = 0; i < MESH_WAITING_MAX; i++)
        if (n->waiting[i].used && id_equal(&n->waiting[i].to, id)) waiting_free(&n->waiting[i]);
    gossip_dial_failed(n->gossip, id, n->now_ms, &n->out);
}

static void take_message(struct mesh_node *n, const struct core_id *from, const struct message *m)
{
    n->received[m->type % MESH_TYPES]++;
    if (m->type == MESSAGE_CAST && m->cast.topic == TOPIC_RUN) n->casts.received++;
    enum core_err err;
    if (!gossip_message(n->gossip, from, m, n->now_ms, &n->out, &err)) gossip_heard(n->gossip, from, n->now_ms);
    struct mesh_link *link = link_find(n, from);
    if (m->type == MESSAGE_PONG && link && link->ping_us && link->ping_nonce == m->pong.nonce) {
        gossip_measured(n->gossip, from, mesh_node_clock_us() - link->ping_us, n->now_ms);
        link->ping_us = 0;
    }
    if (err) printf("ERR %s refused: %s\n", message_info(m->type)->name, core_error_name(err));
}

static void link_event(void *context, const struct link_event *e)
{
    struct mesh_node *n = context;
    n->now_ms = clock_ms();
    switch (e->kind) {
    case LINK_EVENT_UP: link_up(n, &e->id); break;
    case LINK_EVENT_DOWN: {
        struct mesh_link *link = link_find(n, &e->id);
        if (link) link->used = false;
        gossip_link_down(n->gossip, &e->id, n->now_ms, &n->out);
        break;
    }
    case LINK_EVENT_MESSAGE: take_message(n, &e->id, e->message); break;
    case LINK_EVENT_DIAL_FAILED: dial_failed(n, &e->id); break;
    case LINK_EVENT_ADMIT:
    case LINK_EVENT_ADDRESS_FAILED: break;
    case LINK_EVENT_REFUSED: printf("ERR link refused from %s: %s\n", e->address, link_reason_text(e->reason)); break;
    }
    mesh_node_perform(n);
}

void mesh_node_join(struct mesh_node *n)
{
    struct links_stats stats;
    links_stats(n->links, &stats);
    if (stats.up > 0) n->sponsor_count = 0;
    for (uint32_t i = 0; i < n->sponsor_count; i++)
        (void)dial(n, &n->sponsors[i].id, (struct slice){n->sponsors[i].addresses, n->sponsors[i].size});
    n->join_ms = n->now_ms + JOIN_AGAIN_MS;
}

// ---- who it is ----

static struct core_key key_of(const char *seed, const char *who, uint32_t index)
{
    char text[160];
    int size = snprintf(text, sizeof text, "mycel bench %s %s %u", seed, who, index);
    struct core_hash hash = hash_bytes(text, (size_t)size);
    return sign_key_from_seed(hash.bytes);
}

static bool certificate_valid(void *context, const struct core_id *id, struct slice name, struct slice certificate)
{
    struct mesh_node *n = context;
    struct certificate c;
    if (certificate_verify(certificate, &n->charter, NULL, mesh_node_wall_us() / 1000000, &c)) return false;
    return id_equal(&c.key, id) && strlen(c.name) == name.size && memcmp(c.name, name.data, name.size) == 0;
}

static bool payload_valid(void *context, const struct core_id *origin, enum cast_topic topic, struct slice payload)
{
    (void)context;
    return topic == TOPIC_RUN && cast_payload_valid(origin, payload);
}

static enum core_err open_identity(struct mesh_node *n, const char *seed, const char *host)
{
    struct core_key founder = key_of(seed, "founder", 0);
    n->key = key_of(seed, "peer", n->index);
    uint8_t nonce[CHARTER_NONCE_SIZE] = {0};
    enum core_err err = charter_create(&founder, "bench", FAULT_TRUSTED, 1, nonce, &n->charter);
    struct certificate c = {.mesh = n->charter.id, .key = n->key.id, .roles = ROLE_MEMBER, .issued_s = 1};
    snprintf(c.name, sizeof c.name, "n%03u", n->index);
    if (!err)
        err = certificate_issue(&n->charter, &founder, (struct slice){0}, &c, n->certificate, &n->certificate_size);
    if (!err) err = address_parse(host, &n->listen);
    struct address_list list = {0};
    if (!err) err = address_list_add(&list, &n->listen);
    if (!err) n->address_size = address_list_encode(&list, n->address);
    return err;
}

static enum core_err open_all(struct mesh_node *n, const char *seed, const char *host)
{
    enum core_err err = open_identity(n, seed, host);
    if (err) return err;
    // Each its own machine: what peers of one host have between them shall not be measured as a network.
    struct core_hash machine = hash_bytes(&n->key.id, sizeof n->key.id);
    struct slice certificate = {n->certificate, n->certificate_size}, address = {n->address, n->address_size};
    struct links_options links = {.key = &n->key,
                                  .charter = &n->charter,
                                  .certificate = certificate,
                                  .listen = n->listen,
                                  .addresses = address,
                                  .host = machine,
                                  .incarnation = 1,
                                  .max_links = MESH_LINKS_MAX};
    err = links_open(&n->links, &links);
    if (err) return err;
    char name[16];
    int name_size = snprintf(name, sizeof name, "n%03u", n->index);
    uint64_t random;
    random_bytes(&random, sizeof random);
    struct gossip_options gossip = {
        .key = n->key,
        .seed = random,
        .name = {(const uint8_t *)name, (size_t)name_size},
        .certificate = certificate,
        .addresses = address,
        .host = machine,
        .incarnation = 1,
        .callbacks = {.certificate_valid = certificate_valid, .payload_valid = payload_valid, .context = n}};
    n->now_ms = clock_ms();
    err = gossip_open(&n->gossip, &gossip, n->now_ms);
    if (!err) err = outbox_open(&n->out, OUTBOX_EFFECTS, OUTBOX_BYTES);
    return err;
}

// ---- the loop ----

// Links that gossip no longer needs go after a while, messages that nobody could be dialled for, too.
static void drop_old(struct mesh_node *n)
{
    for (int i = 0; i < MESH_WAITING_MAX; i++)
        if (n->waiting[i].used && n->now_ms >= n->waiting[i].since_ms + WAIT_MS) waiting_free(&n->waiting[i]);
    for (int i = 0; i < MESH_LINKS_MAX; i++) {
        struct mesh_link *link = &n->link[i];
        if (!link->used || !link->unwanted || n->now_ms < link->used_ms + LINK_IDLE_MS) continue;
        struct gossip_member member;
        if (gossip_member_find(n->gossip, &link->id, &member) && member.neighbor)
            link->unwanted = false;
        else
            links_hangup(n->links, &link->id);
    }
}

static int sooner(uint64_t now_ms, uint64_t then_ms, int wait)
{
    if (then_ms <= now_ms) return 0;
    return then_ms - now_ms < (uint64_t)wait ? (int)(then_ms - now_ms) : wait;
}

static int wait_ms(const struct mesh_node *n)
{
    int wait = 10000;
    for (int i = 0; i < MESH_LINKS_MAX; i++)
        if (n->link[i].used && n->link[i].unwanted) wait = sooner(n->now_ms, n->link[i].used_ms + LINK_IDLE_MS, wait);
    for (int i = 0; i < MESH_WAITING_MAX; i++)
        if (n->waiting[i].used) wait = sooner(n->now_ms, n->waiting[i].since_ms + WAIT_MS, wait);
    wait = sooner(n->now_ms, gossip_next_ms(n->gossip), wait);
    if (n->sponsor_count) wait = sooner(n->now_ms, n->join_ms, wait);
    wait = mesh_node_publish_wait(n, wait);
    int links = links_timeout_ms(n->links);
    return links >= 0 && links < wait ? links : wait;
}

static void loop(struct mesh_node *n)
{
    size_t links_max = links_pollitems_max(n->links);
    zmq_pollitem_t *items = calloc(links_max + 1, sizeof *items);
    check(items);
    while (!n->ended) {
        items[0] = (zmq_pollitem_t){.fd = STDIN_FILENO, .events = ZMQ_POLLIN};
        size_t count = 1 + links_pollitems(n->links, items + 1, links_max);
        n->now_ms = clock_ms();
        if (zmq_poll(items, (int)count, wait_ms(n)) < 0 && errno != EINTR) break;
        n->now_ms = clock_ms();
        if (items[0].revents) mesh_node_read(n);
        links_process(n->links, link_event, n);
        n->now_ms = clock_ms();
        if (gossip_next_ms(n->gossip) <= n->now_ms) gossip_tick(n->gossip, n->now_ms, &n->out);
        mesh_node_perform(n);
        mesh_node_publish(n);
        if (n->sponsor_count && n->join_ms <= n->now_ms) mesh_node_join(n);
        drop_old(n);
        mesh_node_perform(n);
        fflush(stdout);
    }
    free(items);
}

int mesh_node_main(int argc, char **argv)
{
    struct mesh_node *n = calloc(1, sizeof *n);
    if (!n || argc != 4) return core_error_exit(n ? CORE_ERR_USAGE : CORE_ERR_NO_MEMORY);
    n->index = (uint32_t)strtoul(argv[0], NULL, 10);
    n->count = (uint32_t)strtoul(argv[1], NULL, 10);
    if (n->count == 0 || n->count > MESH_NODES_MAX || n->index >= n->count) return core_error_exit(CORE_ERR_USAGE);
    enum core_err err = open_all(n, argv[2], argv[3]);
    if (err) {
        printf("ERR cannot start: %s\n", core_error_text(err));
        fflush(stdout);
    } else {
        mesh_node_ready(n);
        loop(n);
    }
    if (n->links) links_close(n->links);
    if (n->gossip) gossip_close(n->gossip);
    for (int i = 0; i < MESH_WAITING_MAX; i++)
        if (n->waiting[i].used) waiting_free(&n->waiting[i]);
    if (n->out.effects) outbox_close(&n->out);
    casts_seen_close(&n->casts);
    free(n->payload);
    free(n);
    return err ? core_error_exit(err) : 0;
}
