// One seed from start to end: the world is set up, events are popped until every peer has the finished run.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "tools/sim/toy.h"
#include "tools/sim/watch.h"

enum {
    RUN_FAULTS_MS = 150000,  // faults end at the latest
    RUN_LIMIT_MS = 900000,   // after them, all rounds are done
    RUN_OUT_EFFECTS = 16384,
    RUN_OUT_BYTES = 48 << 20,
};

static void make_spec(struct world *w)
{
    struct run_spec *s = &w->spec;
    s->seed = w->options.seed;
    s->created_ms = 1;
    s->model = *config_preset("small");
    s->hyper = hyper_defaults();
    s->elements = 64 * (uint64_t)(4 + world_chance(w, 24));
    s->tensors = 5;
    s->rounds = w->options.rounds;
    s->deadline_ms = 20000;
    s->val_every = 4;
    s->fault_model = w->options.byzantine ? LEDGER_BYZANTINE : LEDGER_TRUSTED;
    uint32_t *params = malloc(s->elements * sizeof *params);
    check(params);
    toy_first_params(s->seed, params, s->elements);
    s->params = toy_hash(params, s->elements);
    free(params);
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        if (i == w->joiner || i == w->hostile) continue;
        s->members[s->member_count] = (struct run_member){
            .id = w->nodes[i].key.id,
            .host = w->nodes[i].host,
            .slot = s->member_count,
            .weight = 1,
            .dialable = true,
            .fresh = true,
        };
        s->member_count++;
    }
    struct writer writer = writer_over(w->spec_bytes, sizeof w->spec_bytes);
    run_spec_encode(&writer, s, &w->nodes[0].key, &w->run);
    check(!writer.overflowed);
    w->spec_size = writer.size;
}

// Whether a run of `members` must go on although one of them lies: without the leaver too, the honest ones are a
// quorum. Where they are not, it may wait for the liar's vote for ever (docs/aggregation.md: n - f >= q): of three,
// byzantine, the quorum is all three. A stranger takes a node that could be a member, and is left out where it leaves
// so few.
static bool honest_quorum(const struct world *w, uint32_t members)
{
    const uint32_t staying = members - (w->leaver != UINT32_MAX);
    return staying - 1 >= ledger_quorum(w->options.byzantine ? LEDGER_BYZANTINE : LEDGER_TRUSTED, staying);
}

static struct world *open_world(const struct sim_options *options, struct sim_report *report)
{
    struct world *w = calloc(1, sizeof *w);
    check(w);
    w->options = *options;
    w->report = report;
    w->rng = rng_from(options->seed, 7);
    w->joiner = options->nodes > 3 && options->seed % 3 == 1 ? options->nodes - 1 : UINT32_MAX;
    w->leaver = options->nodes > 4 && options->seed % 5 == 2 ? 1 : UINT32_MAX;
    const bool dies = (options->faults & FAULT_CRASH) && options->nodes > 4 && options->seed % 7 == 6;
    const bool spare = !(options->faults & FAULT_HOSTILE) || !options->byzantine;  // a quorum is left
    w->victim = dies && spare ? 2 : UINT32_MAX;
    w->hostile = options->hostile && options->nodes > 2 ? options->nodes - 1 : UINT32_MAX;
    if (w->hostile != UINT32_MAX) w->joiner = UINT32_MAX;
    const bool lies = options->faults & FAULT_HOSTILE && options->nodes > 3;
    if (lies && options->nodes < 6) w->joiner = UINT32_MAX;  // a quorum of honest ones
    if (lies && !honest_quorum(w, options->nodes - 1)) w->hostile = UINT32_MAX;
    hash_begin(&w->trace);
    enum core_err err = outbox_open(&w->out, RUN_OUT_EFFECTS, RUN_OUT_BYTES);
    check(!err);
    const uint32_t hosts = options->hosts ? options->hosts : options->nodes;
    for (uint32_t i = 0; i < options->nodes; i++) {
        struct node *n = &w->nodes[i];
        const uint64_t host = i % hosts, seed[4] = {options->seed, i, 3, 4};
        n->world = w;
        n->index = i;
        n->hostile = i == w->hostile;
        n->key = sign_key_from_seed((const uint8_t *)seed);
        n->host = hash_bytes(&host, sizeof host);
        n->slowness = world_chance(w, 150);
        world_push(w, (struct world_event){.kind = WORLD_BOOT, .node = i}, (uint64_t)world_chance(w, 200000));
    }
    make_spec(w);
    w->watch = watch_open(w);
    if (lies) traitor_begin(w, 1 + world_chance(w, options->nodes - 2));
    return w;
}

static void close_world(struct world *w)
{
    struct world_event e;
    while (world_pop(w, &e)) free(e.data);
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        struct node *n = &w->nodes[i];
        if (n->up) peer_close(n->peer);
        disk_close(&n->disk);
        for (uint32_t k = 0; k < w->options.nodes; k++)
            for (uint32_t m = 0; m < w->sides[i][k].pending_count; m++) free(w->sides[i][k].pending[m]);
    }
    hostile_end(w);
    traitor_end(w);
    watch_close(w->watch);
    outbox_close(&w->out);
    free(w->heap);
    free(w);
}

// A peer looks for company: what the node does with the addresses it was told.
static void look(struct world *w, struct node *n)
{
    uint32_t links = 0;
    for (uint32_t i = 0; i < w->options.nodes; i++) links += w->sides[n->index][i].up;
    if (links < 2 && w->options.nodes > 1) world_dial(w, n->index, world_chance(w, w->options.nodes));
    world_push(w, (struct world_event){.kind = WORLD_LOOK, .node = n->index, .life = n->life},
               links < 2 ? 300000 : 2000000);
    // Whoever paused the run may have crashed before it resumed it.
    if (w->calm && watch_state(w->watch) == RUN_PAUSED && n->index == 0 && !peer_persist_halted(n->peer)) {
        (void)!peer_run_command(n->peer, &w->run, RUN_RESUME, node_ms(n), &w->out);
        node_finish(n);
    }
}

static void start(struct world *w)
{
    struct node *n = &w->nodes[0];
    struct run_status status;
    if (n->up && peer_run_find(n->peer, &w->run, &status)) w->running = true;
    if (n->up && !w->running && !peer_persist_halted(n->peer)) {
        enum core_err err = peer_run_start(n->peer, (struct slice){w->spec_bytes, w->spec_size}, node_ms(n), &w->out);
        check(!err);
        w->running = true;
        node_finish(n);
    }
    struct run_status now;
    if (!n->up || !peer_run_find(n->peer, &w->run, &now)) w->running = false;  // it crashed on that
    if (!w->running) world_push(w, (struct world_event){.kind = WORLD_START}, 500000);
}

static void note(struct world *w, const struct world_event *e)
{
    const uint8_t type =
        e->kind == WORLD_MESSAGE ? (uint8_t)((const struct message *)e->data)->type : (uint8_t)e->number;
    const uint64_t line[3] = {e->at_us, (uint64_t)e->kind << 40 | (uint64_t)e->node << 20 | e->other, type};
    hash_add(&w->trace, line, sizeof line);
    w->report->events++;
}

// A stopped peer gets to its events later, in their order.
static bool put_off(struct world *w, const struct world_event *e)
{
    const struct node *n = &w->nodes[e->node];
    const bool own = e->kind == WORLD_MESSAGE || e->kind == WORLD_TICK || e->kind == WORLD_WORK ||
                     e->kind == WORLD_LINK_DOWN || e->kind == WORLD_DIALED || e->kind == WORLD_LOOK;
    if (!own || !n->up || n->paused_us <= w->now_us) return false;
    world_push(w, *e, n->paused_us - w->now_us);
    return true;
}

static void handle(struct world *w, struct world_event *e)
{
    struct node *n = &w->nodes[e->node];
    if (put_off(w, e)) return;
    const bool lives = n->up && n->life == e->life;
    switch (e->kind) {
    case WORLD_MESSAGE: {
        const struct side *side = &w->sides[e->node][e->other];
        if (n->up && side->up && side->connection == e->connection) node_message(n, e->other, e->data);
        break;
    }
    case WORLD_TICK:
        if (lives && n->tick_us && n->tick_us <= e->at_us) node_tick(n);
        break;
    case WORLD_WORK:
        if (lives) node_work_due(n, e->number, e->data);
        break;
    case WORLD_LINK_DOWN: world_link_down(w, e); break;
    case WORLD_DIALED: world_dialed(w, e); break;
    case WORLD_BOOT: node_boot(n); break;
    case WORLD_LOOK:
        if (lives) look(w, n);
        break;
    case WORLD_FAULT: faults_next(w); break;
    case WORLD_HEAL:
        if (!w->calm) faults_heal(w);
        break;
    case WORLD_SPACE:
        if (n->disk.full) node_space(n);
        break;
    case WORLD_START: start(w); break;
    case WORLD_COMMAND: faults_command(w, e->number); break;
    case WORLD_MISCHIEF:
        if (e->node == w->hostile)
            hostile_act(w);
        else
            traitor_act(w);
        break;
    }
    free(e->data);
}

// Everybody honest has seen that the run was split.
static bool all_saw(const struct world *w)
{
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        struct run_status status;
        if (w->nodes[i].hostile || (!w->nodes[i].up && w->nodes[i].down_ms == WORLD_FOR_EVER)) continue;
        if (!w->nodes[i].up || !peer_run_find(w->nodes[i].peer, &w->run, &status) || !status.broken) return false;
    }
    return true;
}

static bool finished(const struct world *w)
{
    if (w->forked) return all_saw(w);
    if (watch_state(w->watch) != RUN_DONE) return false;
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        struct run_status status;
        if (w->nodes[i].hostile || (!w->nodes[i].up && w->nodes[i].down_ms == WORLD_FOR_EVER)) continue;
        if (!w->nodes[i].up || !peer_run_find(w->nodes[i].peer, &w->run, &status)) return false;
        if (status.head->state != RUN_DONE) return false;
    }
    return true;
}

static void describe_stall(struct world *w)
{
    char text[160] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < w->options.nodes && at < sizeof text - 24; i++) {
        struct run_status s;
        const char *stage = "down";
        if (w->nodes[i].up) stage = peer_run_find(w->nodes[i].peer, &w->run, &s) ? round_stage_name(s.stage) : "no run";
        const char *parts[] = {i ? ", " : "", stage};
        for (uint32_t p = 0; p < 2; p++)
            for (const char *c = parts[p]; *c && at < sizeof text - 1; c++) text[at++] = *c;
    }
    world_fail(w, "progress: round %llu of %u (%s)", (unsigned long long)watch_round(w->watch), w->options.rounds,
               text);
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void sum_up(struct world *w, uint64_t *round_ms, uint32_t rounds)
{
    struct sim_report *r = w->report;
    r->trace = hash_end(&w->trace);
    r->virtual_ms = world_ms(w);
    r->rounds = watch_round(w->watch);
    if (w->joiner != UINT32_MAX) r->joins++;
    if (rounds < 2) return;
    for (uint32_t i = rounds - 1; i > 0; i--) round_ms[i] -= round_ms[i - 1];
    qsort(round_ms + 1, rounds - 1, sizeof *round_ms, by_value);
    r->round_ms_median = round_ms[1 + (rounds - 1) / 2];
}

bool sim_run(const struct sim_options *options, struct sim_report *report)
{
    check(options->nodes >= 1 && options->nodes <= WORLD_NODES && options->rounds >= 1);
    *report = (struct sim_report){0};
    struct world *w = open_world(options, report);
    uint64_t *round_ms = calloc(options->rounds + 1, sizeof *round_ms);
    check(round_ms);
    uint32_t seen = 0;
    world_push(w, (struct world_event){.kind = WORLD_START}, 1000000);
    if (options->seed % 4 == 3) world_push(w, (struct world_event){.kind = WORLD_COMMAND, .number = 0}, 4000000);
    if (w->leaver != UINT32_MAX) world_push(w, (struct world_event){.kind = WORLD_COMMAND, .number = 2}, 6000000);
    if (w->victim != UINT32_MAX)
        world_push(w, (struct world_event){.kind = WORLD_COMMAND, .number = 3}, 3000000 + world_chance(w, 4000000));
    faults_begin(w);
    hostile_begin(w);
    struct world_event e;
    while (!report->failed && world_pop(w, &e)) {
        note(w, &e);
        handle(w, &e);
        while (seen < options->rounds && watch_round(w->watch) > seen) round_ms[seen++] = world_ms(w);
        if (!w->calm && (watch_round(w->watch) * 10 >= options->rounds * UINT64_C(7) || world_ms(w) > RUN_FAULTS_MS))
            faults_end(w);
        if (w->calm && finished(w)) break;
        if (w->calm && w->now_us > w->calm_us + RUN_LIMIT_MS * UINT64_C(1000)) describe_stall(w);
    }
    if (!report->failed && !w->forked) watch_end(w->watch);
    sum_up(w, round_ms, seen);
    close_world(w);
    free(round_ms);
    return !report->failed;
}

void sim_vary(struct sim_options *o, uint64_t seed)
{
    struct rng rng = rng_from(seed, 17);
    const bool verbose = o->verbose;
    *o = (struct sim_options){.seed = seed, .verbose = verbose};
    o->nodes = 3 + (uint32_t)rng_below(&rng, 6);
    o->hosts = rng_below(&rng, 3) == 0 ? 1 + (uint32_t)rng_below(&rng, o->nodes) : 0;
    o->rounds = 2 + (uint32_t)rng_below(&rng, 4);
    o->hostile = rng_below(&rng, 4) == 0;
    for (uint32_t i = 0; i < 5; i++) o->faults |= 1u << rng_below(&rng, FAULT_DRAWN);
    if (rng_below(&rng, 4) == 0) o->faults |= FAULT_EMPTY;
    if (rng_below(&rng, 3) == 0) o->faults |= FAULT_HOSTILE;
    o->byzantine = rng_below(&rng, 2) == 0 && o->faults & FAULT_HOSTILE;
}
