// The table of runs that a peer knows, which of them goes first, and what can be read of them.
#include <stdlib.h>

#include "core/check.h"
#include "learn/peer_parts.h"

struct round *peer_round_find(const struct peer *p, const struct core_hash *run)
{
    for (uint32_t i = 0; i < p->run_count; i++)
        if (hash_equal(round_run(p->runs[i]), run)) return p->runs[i];
    return NULL;
}

// OK when the run described by `bytes` is sound, new and has a place here; its id in `run`.
enum core_err peer_run_may_add(const struct peer *p, struct slice bytes, struct core_hash *run)
{
    struct run_spec *spec = malloc(sizeof *spec);
    if (!spec) return CORE_ERR_NO_MEMORY;
    enum core_err err = run_spec_decode(bytes, spec, run);
    if (!err && !peer_spec_valid(p, spec)) err = CORE_ERR_REFUSED;
    free(spec);
    if (err) return err;
    if (peer_round_find(p, run)) return CORE_ERR_EXISTS;
    if (p->run_count == p->runs_max) return CORE_ERR_LIMIT;
    return CORE_ERR_OK;
}

// A site's label as a number; 0 for none.
static uint64_t site_number(struct slice site)
{
    if (site.size == 0) return 0;
    const struct core_hash hash = hash_bytes(site.data, site.size);
    struct reader in = reader_over(hash.bytes, sizeof hash.bytes);
    return read_u64(&in);
}

void peer_place_of(void *context, uint64_t *site, int32_t at[TREE_AXES])
{
    const struct peer *p = context;
    struct coordinates_point point = {0};
    struct gossip_member self;
    *site = gossip_member_find(p->gossip, &p->key.id, &self) ? site_number(self.site) : 0;
    (void)gossip_coordinates(p->gossip, &point);
    for (uint32_t i = 0; i < TREE_AXES; i++) at[i] = point.at_us[i] / PEER_PLACE_US * PEER_PLACE_US;
}

enum core_err peer_round_add(struct peer *p, struct slice bytes, uint64_t now_ms, struct round **out)
{
    struct core_hash run;
    enum core_err err = peer_run_may_add(p, bytes, &run);
    if (err) return err;
    const struct round_options options = {
        .key = &p->key,
        .host = p->options.gossip.host,
        .weight = p->options.weight,
        .dialable = p->options.gossip.addresses.size > 0,
        .observe = p->options.observe,
        .resend_ms = p->options.resend_ms,
        .head_ms = p->options.head_ms,
        .bytes_per_ms = p->options.bytes_per_ms,
        .state_of = peer_state_of,
        .place_of = peer_place_of,
        .context = p,
        .events = p->options.gossip.events,
        .counts = &p->counts,
    };
    err = round_open(out, &options, bytes, now_ms);
    if (!err) p->runs[p->run_count++] = *out;
    return err;
}

// ---- the queue ----

// The run that goes first of two unfinished ones: what has begun before what has not, then the older.
static bool goes_first(const struct round *a, const struct round *b)
{
    struct run_status x, y;
    round_status(a, &x);
    round_status(b, &y);
    const bool paused_x = x.head->state == RUN_PAUSED, paused_y = y.head->state == RUN_PAUSED;
    if (paused_x != paused_y) return paused_y;
    const bool begun_x = x.height > 1, begun_y = y.height > 1;
    if (begun_x != begun_y) return begun_x;
    if (x.spec->created_ms != y.spec->created_ms) return x.spec->created_ms < y.spec->created_ms;
    return hash_compare(&x.run, &y.run) < 0;
}

void peer_runs_queue(struct peer *p, uint64_t now_ms)
{
    struct round *first = NULL;
    for (uint32_t i = 0; i < p->run_count; i++)
        if (!round_ended(p->runs[i]) && (!first || goes_first(p->runs[i], first))) first = p->runs[i];
    for (uint32_t i = 0; i < p->run_count; i++)
        round_hold(p->runs[i], p->runs[i] != first && !round_ended(p->runs[i]), now_ms, &p->box);
}

// ---- what it knows ----

const struct gossip *peer_gossip(const struct peer *p)
{
    return p->gossip;
}

uint32_t peer_electorate(const struct peer *p, struct run_member *members)
{
    uint32_t count = 0;
    members[count++] = (struct run_member){
        .id = p->key.id,
        .host = p->options.gossip.host,
        .weight = p->options.weight,
        .dialable = p->options.gossip.addresses.size > 0,
        .fresh = true,
    };
    peer_place_of((void *)(uintptr_t)p, &members[0].site, members[0].at);
    for (uint32_t i = 0; i < gossip_member_count(p->gossip) && count < RUN_MEMBERS_MAX; i++) {
        struct gossip_member m;
        gossip_member_at(p->gossip, i, &m);
        if (m.self || m.state != GOSSIP_ALIVE) continue;
        members[count] =
            (struct run_member){.id = m.id, .host = m.host, .slot = count, .dialable = m.dialable, .fresh = true};
        members[count].site = site_number(m.site);
        for (uint32_t axis = 0; m.located && axis < TREE_AXES; axis++)
            members[count].at[axis] = m.coordinates.at_us[axis];
        count++;
    }
    return count;
}

uint32_t peer_run_count(const struct peer *p)
{
    return p->run_count;
}

void peer_run_at(const struct peer *p, uint32_t index, struct run_status *status)
{
    check(index < p->run_count);
    round_status(p->runs[index], status);
}

bool peer_run_find(const struct peer *p, const struct core_hash *run, struct run_status *status)
{
    const struct round *r = peer_round_find(p, run);
    if (r) round_status(r, status);
    return r != NULL;
}

uint32_t peer_run_waiting(const struct peer *p, const struct core_hash *run, struct wait_entry *entries, uint32_t max)
{
    const struct round *r = peer_round_find(p, run);
    return r ? round_waiting(r, entries, max) : 0;
}

bool peer_run_liar(const struct peer *p, const struct core_hash *run, uint32_t index, struct run_liar *liar)
{
    const struct round *r = peer_round_find(p, run);
    return r && round_liar_at(r, index, liar);
}

bool peer_run_decision(const struct peer *p, const struct core_hash *run, uint64_t height, struct slice *value,
                       struct slice *certificate)
{
    const struct round *r = peer_round_find(p, run);
    return r && round_decision(r, height, value, certificate);
}

bool peer_run_manifest(const struct peer *p, const struct core_hash *run, uint64_t round, struct manifest *manifest,
                       uint64_t *cut_height)
{
    const struct round *r = peer_round_find(p, run);
    return r && round_manifest(r, round, manifest, cut_height);
}

void peer_counts_get(const struct peer *p, struct peer_counts *out)
{
    *out = p->counts;
}
