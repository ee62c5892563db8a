// One run of mesh mode from start to end: peers on a plane, events popped until everything is whole, or time is up.
#include "tools/sim/mesh_world.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"

enum {
    SETTLE_STORM_MS = 60000,  // a storm may take so long before the scenario begins
    SETTLE_MS = 8000,         // a formed mesh takes so long to link up
    QUIET_MS = 3000,          // then it is left alone for so long
    HUSHED = 256,             // peers from which on a formed mesh forms hushed,
    HUGE_MESH = 4096,         // peers from which on all that is shorter
    HUSHED_HEAR_MS = 30000,   // until coordinates have settled: all hear of all once more
    HUSHED_MS = 90000,        // so long
    CALM_LIMIT_MS = 240000,   // after faults, all is whole by then
    REST_MS = 20000,          // the idle window at the end
    MANY = 1024,
    MANY_MEMBERS = 256,
    UNDER_WAY_MIN = 400000,   // messages and timers at a time beyond which nothing honest explains them
    UNDER_WAY_EACH = 10000,   // and so many more a peer
    SLOW_US = 20000,          // a slow peer's time for a message
    SLOW_QUEUE_US = 4000000,  // what waits at one at most
    PLANE_MS = 60,            // the plane's side, one way
    SITE_MS = 1,              // a site's
};

// ---- time and chance ----

void mesh_push(struct mesh_world *w, struct mesh_event e, uint64_t in_us)
{
    uint32_t place = w->event_free;
    if (place != UINT32_MAX) {
        w->event_free = w->events[place].next_free;
    } else {
        if (w->event_count == w->event_capacity) {
            w->event_capacity = w->event_capacity ? 2 * w->event_capacity : 4096;
            w->events = realloc(w->events, w->event_capacity * sizeof *w->events);
            check(w->events);
        }
        place = w->event_count++;
    }
    w->events[place] = e;
    queue_push(&w->queue, w->now_us + in_us, place);
}

static bool pop(struct mesh_world *w, struct mesh_event *e)
{
    struct queue_key key;
    if (!queue_pop(&w->queue, &key)) return false;
    w->now_us = key.at_us;
    *e = w->events[key.place];
    w->events[key.place].next_free = w->event_free;
    w->event_free = key.place;
    return true;
}

uint32_t mesh_chance(struct mesh_world *w, uint32_t below)
{
    return (uint32_t)rng_below(&w->rng, below);
}

bool mesh_odds(struct mesh_world *w, uint32_t of_1000)
{
    return of_1000 && mesh_chance(w, 1000) < of_1000;
}

void mesh_fail(struct mesh_world *w, const char *format, ...)
{
    if (w->report->failed) return;  // the first is the cause
    w->report->failed = true;
    const int size = snprintf(w->report->what, sizeof w->report->what, "at %.3f s: ", (double)w->now_us / 1e6);
    va_list args;
    va_start(args, format);
    vsnprintf(w->report->what + size, sizeof w->report->what - (size_t)size, format, args);
    va_end(args);
}

void mesh_say(const struct mesh_world *w, const char *format, ...)
{
    if (!w->options.verbose) return;
    fprintf(stderr, "%9.3f s  ", (double)w->now_us / 1e6);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static uint32_t id_start(const struct mesh_world *w, const struct core_id *id)
{
    uint32_t h;
    memcpy(&h, id->bytes, sizeof h);
    return h & w->index_mask;
}

uint32_t mesh_find(const struct mesh_world *w, const struct core_id *id)
{
    for (uint32_t at = id_start(w, id); w->index[at]; at = (at + 1) & w->index_mask)
        if (id_equal(&w->nodes[w->index[at] - 1].key.id, id)) return w->index[at] - 1;
    return MESH_NOBODY;
}

uint64_t mesh_clock(const struct mesh_world *w, const struct mesh_node *n)
{
    return n->clock_ms + (w->now_us - n->clock_us) * n->clock_rate / 1000000 / 1000;
}

uint32_t mesh_number(const struct mesh_world *w, const struct mesh_node *n)
{
    return (uint32_t)(n - w->nodes);
}

bool mesh_running(const struct mesh_world *w, const struct mesh_node *n)
{
    return n->up && n->paused_us <= w->now_us;
}

// ---- the start ----

static void place_nodes(struct mesh_world *w)
{
    const uint32_t sites = w->options.sites;
    float *x = malloc(sites * sizeof *x), *y = malloc(sites * sizeof *y);
    check(x && y);
    for (uint32_t s = 0; s < sites; s++) {
        x[s] = (float)mesh_chance(w, 1000 * PLANE_MS) / 1e3f;
        y[s] = (float)mesh_chance(w, 1000 * PLANE_MS) / 1e3f;
    }
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        struct mesh_node *n = &w->nodes[i];
        const uint64_t seed[4] = {w->options.seed, i, 5, 6};
        n->key = sign_key_from_seed((const uint8_t *)seed);
        n->world = w;
        n->site = i % sites;
        n->x_ms = x[n->site] + (float)mesh_chance(w, 1000 * SITE_MS) / 2e3f;
        n->y_ms = y[n->site] + (float)mesh_chance(w, 1000 * SITE_MS) / 2e3f;
        n->access_ms = (float)mesh_chance(w, 1000) / 4e3f;
        n->clock_ms = 1000000 + mesh_chance(w, 100000000);  // every clock reads what it likes
        n->clock_rate = 1000000;
        uint32_t at = id_start(w, &n->key.id);
        while (w->index[at]) at = (at + 1) & w->index_mask;
        w->index[at] = i + 1;
    }
    free(x);
    free(y);
}

static struct mesh_world *open_world(const struct mesh_options *options, struct mesh_report *report)
{
    struct mesh_world *w = calloc(1, sizeof *w);
    check(w);
    w->options = *options;
    w->report = report;
    w->rng = rng_from(options->seed, 11);
    w->event_free = UINT32_MAX;
    struct mesh_options *o = &w->options;
    if (!o->sites) o->sites = (o->nodes + 15) / 16 < 64 ? (o->nodes + 15) / 16 : 64;
    if (!o->members_max) o->members_max = o->nodes > MANY ? MANY_MEMBERS : o->nodes + 16;
    if (!o->cast_bytes) o->cast_bytes = 1024;
    w->nodes = calloc(o->nodes, sizeof *w->nodes);
    uint32_t size = 16;
    while (size < 2 * o->nodes) size *= 2;
    w->index_mask = size - 1;
    w->index = calloc(size, sizeof *w->index);
    check(w->nodes && w->index);
    hash_begin(&w->trace);
    const enum core_err err = outbox_open(&w->out, 16384, 32 << 20);
    check(!err);
    mesh_rounds_open(w);
    mesh_verify_open(w);
    place_nodes(w);
    mesh_hostile_begin(w);
    measure_open(w);
    if (o->storm) {
        for (uint32_t i = 0; i < o->nodes; i++)
            mesh_push(w, (struct mesh_event){.kind = MESH_BOOT, .node = i},
                      i < MESH_CONTACTS ? i * 1000 + 1 : MESH_STORM_US + mesh_chance(w, 1000));
    } else {
        for (uint32_t i = 0; i < o->nodes; i++) mesh_node_boot(w, i);
        mesh_tables_load(w);
        w->hushed = o->nodes > HUSHED;
    }
    return w;
}

static void close_world(struct mesh_world *w)
{
    struct mesh_event e;
    while (pop(w, &e)) wire_release(e.wire);
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        struct mesh_node *n = &w->nodes[i];
        if (n->up) gossip_close(n->gossip);
        mesh_links_free(n);
        free(n->saved.bytes);
        for (uint32_t k = 0; n->heard && k < MESH_HEARD; k++) wire_release(n->heard[k]);
        free(n->heard);
    }
    wire_release(w->last_made);
    measure_close(w);
    mesh_verify_close(w);
    outbox_close(&w->out);
    queue_close(&w->queue);
    free(w->events);
    free(w->nodes);
    free(w->index);
    free(w->pairs);
    free(w);
}

// ---- events ----

static void note(struct mesh_world *w, const struct mesh_event *e)
{
    const uint64_t line[3] = {w->now_us, (uint64_t)e->kind << 56 | (uint64_t)e->node << 28 | e->other,
                              e->wire ? (uint64_t)e->wire->message.type << 32 | e->wire->size : e->number};
    hash_add(&w->trace, line, sizeof line);
    w->report->events++;
}

// A peer that is stopped gets to it later, a slow one takes messages one after the other; true if it was put off, or
// lost since too many wait at a slow one: its links' queues are bounded.
static bool put_off(struct mesh_world *w, struct mesh_event *e)
{
    struct mesh_node *n = &w->nodes[e->node];
    uint64_t until = n->paused_us;
    if (n->up && e->kind == MESH_MESSAGE && n->slow && e->number == 0) {
        if (n->busy_us < w->now_us) n->busy_us = w->now_us;
        if (n->busy_us > w->now_us + SLOW_QUEUE_US) return true;
        n->busy_us += SLOW_US;
        e->number = 1;  // it has its turn
        if (n->busy_us > until) until = n->busy_us;
    }
    if (!n->up || until <= w->now_us) return false;
    mesh_push(w, *e, until - w->now_us);
    e->wire = NULL;  // goes with the event that was pushed
    return true;
}

static void handle(struct mesh_world *w, struct mesh_event *e)
{
    switch ((enum mesh_event_kind)e->kind) {
    case MESH_FAULT: mesh_faults_next(w); return;
    case MESH_RESTORE: mesh_faults_restore(w, e); return;
    case MESH_BOOT: mesh_node_boot(w, e->node); return;
    case MESH_CAST: {
        if (w->calm) return;
        if (w->rounds.on) {
            mesh_rounds_next(w);
            return;
        }
        const uint32_t index = mesh_chance(w, w->options.nodes);
        struct mesh_node *n = &w->nodes[index];
        if (mesh_running(w, n) && !n->hostile && !n->left) mesh_node_cast(w, index);
        mesh_push(w, (struct mesh_event){.kind = MESH_CAST}, 1000000 / w->options.casts);
        return;
    }
    default: break;
    }
    if (put_off(w, e)) return;
    struct mesh_node *n = &w->nodes[e->node];
    const bool lives = n->up && n->life == e->life;
    switch ((enum mesh_event_kind)e->kind) {
    case MESH_MESSAGE: {
        const struct mesh_side *side = n->up ? mesh_side_find(n, e->other) : NULL;
        if (side && side->up && side->connection == e->connection)
            mesh_node_message(w, e->node, e->other, e->wire);
        else if (!n->silent)
            mesh_reset(w, e);
        break;
    }
    case MESH_TICK:
        if (lives) mesh_node_tick(w, e->node, w->now_us);
        break;
    case MESH_LINK_DOWN: mesh_link_down(w, e); break;
    case MESH_DIALED: mesh_dialed(w, e); break;
    case MESH_CLOSE: mesh_close_due(w, e); break;
    case MESH_LOOK:
        if (lives) mesh_node_look(w, e->node);
        break;
    case MESH_MISCHIEF:
        if (lives && !w->calm) mesh_hostile_act(w, e->node);
        break;
    default: break;
    }
}

static uint64_t scaled(const struct mesh_world *w, uint64_t ms)
{
    return w->options.nodes > HUGE_MESH ? ms / 3 : ms;
}

// A large mesh that has stood for long: its links are made and its coordinates settle while nobody's words about itself
// are passed on (every peer enters at once, which no mesh does); then all have heard all.
static void end_hush(struct mesh_world *w)
{
    w->hushed = false;
    mesh_tables_load(w);
}

static uint32_t acting_seconds(const struct mesh_options *o)
{
    static const uint8_t by_scenario[SCENARIO_VARIED] = {30, 20, 12, 15, 25, 60, 30, 5};
    return o->seconds ? o->seconds : by_scenario[o->scenario];
}

static void begin_acting(struct mesh_world *w)
{
    w->acting = true;
    w->act_us = w->now_us;
    mesh_faults_begin(w);
    if (w->options.casts || w->rounds.on) mesh_push(w, (struct mesh_event){.kind = MESH_CAST}, 1);
}

// Moves the run on to its next part when it is time; false when it is over.
static bool advance(struct mesh_world *w, uint64_t *formed_us, uint64_t *whole_us)
{
    struct mesh_report *r = w->report;
    char why[160];
    if (!w->acting) {
        if (w->hushed && !w->heard_all && w->now_us > scaled(w, HUSHED_HEAR_MS) * 1000) {
            w->heard_all = true;
            mesh_tables_load(w);
        }
        if (w->hushed && w->now_us > scaled(w, HUSHED_MS) * 1000) end_hush(w);
        if (w->hushed) return true;
        if (!*formed_us && (!w->options.storm || w->now_us > MESH_STORM_US + 10000) &&
            measure_whole(w, why, sizeof why)) {
            *formed_us = w->now_us;
            r->formed_ms = (w->now_us - (w->options.storm ? MESH_STORM_US : 0)) / 1000;
        }
        const uint64_t settle_ms =
            w->options.storm ? SETTLE_STORM_MS : SETTLE_MS + (w->options.nodes > HUSHED ? scaled(w, HUSHED_MS) : 0);
        if (*formed_us ? w->now_us > *formed_us + QUIET_MS * 1000ull : w->now_us > settle_ms * 1000) begin_acting(w);
        return true;
    }
    if (!w->calm) {
        if (w->rounds.on ? !mesh_rounds_over(w) : w->now_us < w->act_us + acting_seconds(&w->options) * 1000000ull)
            return true;
        if (w->options.safety) return false;
        mesh_faults_end(w);
        w->calm = true;
        w->calm_us = w->now_us;
        return true;
    }
    if (!*whole_us) {
        if (measure_whole(w, why, sizeof why)) {
            *whole_us = w->now_us;
            r->heal_ms = (double)(w->now_us - w->calm_us) / 1e3;
            measure_rest(w);
        } else if (w->now_us > w->calm_us + CALM_LIMIT_MS * 1000ull) {
            mesh_fail(w, "liveness: %s", why);
        }
        return true;
    }
    return w->now_us < *whole_us + scaled(w, REST_MS) * 1000;
}

static const char *most_sent(const struct mesh_report *r)
{
    uint32_t most = MESSAGE_PING;
    for (uint32_t i = 0; i < MESH_TYPES; i++)
        if (r->by_type[i] > r->by_type[most]) most = i;
    return message_info(most)->name;
}

bool mesh_run(const struct mesh_options *options, struct mesh_report *report)
{
    check(options->nodes >= 2 && options->scenario < SCENARIO_COUNT);
    *report = (struct mesh_report){0};
    struct mesh_world *w = open_world(options, report);
    const uint64_t poll_us = w->options.nodes <= 256 ? 50000 : 250000;
    const size_t under_way_max = UNDER_WAY_MIN + (size_t)UNDER_WAY_EACH * w->options.nodes;
    uint64_t next_us = poll_us, formed_us = 0, whole_us = 0;
    struct mesh_event e;
    while (!report->failed && pop(w, &e)) {
        note(w, &e);
        handle(w, &e);
        wire_release(e.wire);
        if (w->now_us < next_us && w->queue.count <= under_way_max) continue;
        next_us = w->now_us + poll_us;
        measure_poll(w);
        if (w->queue.count > under_way_max)
            mesh_fail(w, "storm: %zu messages are under way, most %s", w->queue.count, most_sent(report));
        if (!advance(w, &formed_us, &whole_us)) break;
    }
    measure_end(w);
    report->trace = hash_end(&w->trace);
    report->virtual_ms = w->now_us / 1000;
    close_world(w);
    return !report->failed;
}

void mesh_vary(struct mesh_options *o, uint64_t seed)
{
    struct rng rng = rng_from(seed, 13);
    *o = (struct mesh_options){.seed = seed, .casts = 2, .cast_bytes = 64};
    // Small ones are many: they cost little and hold most of what can go wrong.
    o->nodes = 8 + (uint32_t)rng_below(&rng, rng_below(&rng, 4) == 0 ? 57 : 17);
    o->sites = 1 + (uint32_t)rng_below(&rng, 4);
    o->storm = rng_below(&rng, 3) == 0;
    o->seconds = 10 + (uint32_t)rng_below(&rng, 20);
    o->safety = rng_below(&rng, 5) == 0;
    const uint64_t kind = rng_below(&rng, 8);
    if (kind == 0)
        o->scenario = (enum mesh_scenario)rng_below(&rng, SCENARIO_VARIED);
    else
        for (uint32_t i = 0; i < 4; i++) o->faults |= 1u << rng_below(&rng, MESH_FAULT_COUNT - 1);
    if (kind >= 5) {
        o->hostile = 1 + (uint32_t)rng_below(&rng, 1 + o->nodes / 6);
        for (uint32_t i = 0; i < 2; i++) o->attacks |= 1u << rng_below(&rng, ATTACK_COUNT);
    }
}
