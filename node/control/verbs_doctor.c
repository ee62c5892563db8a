// doctor: what this peer sees by itself, and what its neighbours say when they are asked for their clocks and to dial
// it back: ASKED_MAX of them, those of other hosts first, for ANSWER_MS.
//
//   verb_doctor --> CHECK_ASK to each --both tells of all, or ANSWER_MS--> judged, the session ends
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node/control/verbs.h"
#include "node/discovery.h"
#include "node/doctor/checks_daemon.h"
#include "node/doctor/checks_text.h"

enum { ASKED_MAX = 8, ANSWER_MS = 1000 };

struct asked {
    struct core_id id;
    bool told_clock, told_last;
    int64_t ahead_ms;
    enum dialback_result results[ADDRESS_LIST_MAX];  // of n->addresses
};

struct doctor_state {
    struct doctor_state *next;  // of all that are under way
    struct node *node;
    struct session *session;
    uint64_t nonce, began_ms;
    int64_t began_wall_ms;
    struct asked asked[ASKED_MAX];
    uint32_t count;
    bool done;
};

static int64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// ---- judging ----

static void judge_clocks(struct doctor_state *d, struct checks *c)
{
    struct checks_clock clocks[ASKED_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < d->count; i++) {
        if (!d->asked[i].told_clock) continue;
        clocks[count] = (struct checks_clock){.ahead_ms = d->asked[i].ahead_ms};
        member_name(d->node, &d->asked[i].id, clocks[count++].name);
    }
    checks_clocks(c, clocks, count);
}

static void judge_reach(struct doctor_state *d, struct checks *c)
{
    struct node *n = d->node;
    struct checks_reach *reach = calloc(ASKED_MAX * ADDRESS_LIST_MAX, sizeof *reach);
    uint32_t count = 0;
    if (!reach) return;
    for (uint32_t i = 0; i < d->count; i++) {
        for (uint32_t k = 0; d->asked[i].told_last && k < n->addresses.count; k++) {
            struct checks_reach *one = &reach[count++];
            one->result = d->asked[i].results[k];
            member_name(n, &d->asked[i].id, one->name);
            address_format(&n->addresses.items[k], one->address);
        }
    }
    checks_reach(c, reach, count, n->port);
    free(reach);
}

// What the owner asked of the gateway, and did not get.
static void judge_gateway(struct node *n, struct checks *c)
{
    json_t *map = discovery_portmap_json(n);
    const char *state = json_string_value(json_object_get(map, "state"));
    const char *why = json_string_value(json_object_get(map, "why"));
    char port[CHECKS_SHORT];
    if (state && strcmp(state, "failed") == 0)
        checks_add(c, TROUBLE_GATEWAY_REFUSES, NULL, "why", why ? why : "it does not say why", "port",
                   checks_number(port, n->port), NULL);
    json_decref(map);
}

static const char *listen_text(const struct node *n)
{
    return n->options->listen ? n->options->listen : n->settings.listen;
}

static void finish(struct doctor_state *d)
{
    struct node *n = d->node;
    struct checks *c = calloc(1, sizeof *c);
    if (!c) {
        session_fail(d->session, CORE_ERR_NO_MEMORY, "give the daemon more memory", "no memory for the checks");
        return;
    }
    judge_reach(d, c);
    judge_gateway(n, c);
    judge_clocks(d, c);
    checks_of_node(n, c);
    json_t *lines = json_array();
    for (uint32_t i = 0; i < c->count; i++) json_array_append_new(lines, checks_line_json(&c->lines[i]));
    json_t *o = json_pack("{s:o, s:s, s:i}", "checks", lines, "listen", listen_text(n), "port", n->port);
    int status = checks_worst(c) == CHECKS_FAIL;
    free(c);
    session_end(d->session, status, o);
}

// ---- asking ----

static void go_on(struct doctor_state *d)
{
    bool waiting = false;
    if (d->done) return;  // an answer that came too late
    for (uint32_t i = 0; i < d->count; i++) waiting = waiting || !d->asked[i].told_last;
    if (waiting && d->node->now_ms < d->began_ms + ANSWER_MS) return;
    d->done = true;
    finish(d);
}

static enum core_err take_results(const struct node *n, struct asked *a, struct slice reached)
{
    struct reader r = reader_over(reached.data, reached.size);
    while (r.at < r.size) {
        uint8_t result = read_u8(&r);
        struct slice text = read_slice(&r, ADDRESS_TEXT_MAX - 1);
        if (r.failed || result >= DIALBACK_RESULTS) return CORE_ERR_MALFORMED;
        for (uint32_t k = 0; k < n->addresses.count; k++) {
            char own[ADDRESS_TEXT_MAX];
            address_format(&n->addresses.items[k], own);
            bool same = strlen(own) == text.size && memcmp(own, text.data, text.size) == 0;
            if (same) a->results[k] = (enum dialback_result)result;
        }
    }
    return CORE_ERR_OK;
}

enum core_err doctor_told(struct node *n, const struct core_id *from, const struct message *m)
{
    const struct message_check_tell *tell = &m->check_tell;
    if (tell->clock_ms >> 50) return CORE_ERR_MALFORMED;
    for (struct doctor_state *d = n->doctors; d; d = d->next) {
        if (d->nonce != tell->nonce) continue;
        for (uint32_t i = 0; i < d->count; i++) {
            struct asked *a = &d->asked[i];
            if (!id_equal(&a->id, from) || a->told_last) continue;
            // Its clock was read about half way between the question and now.
            if (!a->told_clock) a->ahead_ms = (d->began_wall_ms + wall_ms()) / 2 - (int64_t)tell->clock_ms;
            a->told_clock = true;
            a->told_last = tell->last != 0;
            enum core_err err = take_results(n, a, tell->reached);
            go_on(d);
            return err;
        }
    }
    return CORE_ERR_OK;
}

static void choose(struct doctor_state *d, bool same_host)
{
    struct node *n = d->node;
    for (int i = 0; i < NODE_LINKS_MAX && d->count < ASKED_MAX; i++) {
        const struct node_link *link = &n->link[i];
        if (!link->used || hash_equal(&link->host, &n->host) != same_host) continue;
        d->asked[d->count++] = (struct asked){.id = link->id};
    }
}

static void closed(struct session *s)
{
    struct doctor_state *d = s->state;
    for (struct doctor_state **at = &d->node->doctors; *at; at = &(*at)->next) {
        if (*at != d) continue;
        *at = d->next;
        break;
    }
    free(d);
}

static void tick(struct session *s, uint64_t now_ms)
{
    (void)now_ms;
    go_on(s->state);
}

void verb_doctor(struct node *n, struct session *s)
{
    struct doctor_state *d = calloc(1, sizeof *d);
    if (!d) {
        session_fail(s, CORE_ERR_NO_MEMORY, "give the daemon more memory", "no memory for the checks");
        return;
    }
    *d = (struct doctor_state){
        .node = n, .session = s, .began_ms = n->now_ms, .began_wall_ms = wall_ms(), .next = n->doctors};
    random_bytes(&d->nonce, sizeof d->nonce);
    n->doctors = d;
    s->state = d;
    s->hooks = (struct session_hooks){.tick = tick, .closed = closed};
    choose(d, false);
    choose(d, true);
    for (uint32_t i = 0; i < d->count; i++) {
        struct message ask = {.type = MESSAGE_CHECK_ASK};
        ask.check_ask.nonce = d->nonce;
        outbound_send(n, &d->asked[i].id, &ask);
    }
    go_on(d);
}
