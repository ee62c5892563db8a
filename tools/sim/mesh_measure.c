// What mesh mode measures while it runs, and its report.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "gossip/record.h"
#include "tools/sim/mesh_world.h"

enum {
    // Beside a message's body on the wire, when it travels alone: its own header and zmq's and CURVE's around it (8 + 2
    // +
    // 33), TCP, IP and Ethernet (66), and an acknowledgement that travels alone every other time (33).
    ALONE_BYTES = 144,
    CASTS_MAX = 4096,
    WARM_CASTS = 5,  // that shape the tree: not in the redundancy
    DEATHS_MAX = 16,
    STEPS = 40000,  // of the histogram of delivery times
    STEP_US = 250,
    FULL_LOOK_MS = 1000,  // between looks at all views in a large mesh
};

struct cast_seen {
    uint64_t at_us;
    uint32_t origin, life;
    uint32_t delivered, payloads, last_hop;
    uint8_t *bits;  // who was handed it
};

struct death {
    uint32_t index, life;
    uint64_t at_us;
    uint32_t look;  // the first peer that had not seen it
    bool done;
    double ms;
};

struct mesh_measure {
    struct cast_seen *casts;
    uint32_t cast_count;
    struct death deaths[DEATHS_MAX];
    uint32_t death_count;
    uint64_t steps[STEPS + 1];
    uint64_t step_count;
    struct {
        uint32_t target;
        uint64_t incarnation;
    } * accused;    // by each peer last
    uint32_t look;  // the first peer whose view was not right
    uint64_t looked_us;
    bool resting;
    uint64_t rest_us, rest_messages, rest_bytes;
    uint64_t max_us;
};

void measure_open(struct mesh_world *w)
{
    struct mesh_measure *m = calloc(1, sizeof *m);
    check(m);
    m->casts = calloc(CASTS_MAX, sizeof *m->casts);
    m->accused = calloc(w->options.nodes, sizeof *m->accused);
    check(m->casts && m->accused);
    w->measure = m;
}

void measure_close(struct mesh_world *w)
{
    struct mesh_measure *m = w->measure;
    for (uint32_t i = 0; i < m->cast_count; i++) free(m->casts[i].bits);
    free(m->casts);
    free(m->accused);
    free(m);
}

// ---- messages ----

void measure_sent(struct mesh_world *w, uint32_t from, const struct wire *wire)
{
    (void)from;
    w->report->messages++;
    w->report->bytes += wire->size + ALONE_BYTES;
    if (wire->message.type < MESH_TYPES) w->report->by_type[wire->message.type]++;
}

// What peers keep and remember of broadcasts is bounded by number: a member that floods makes them forget others' too.
static bool is_flooded(const struct mesh_world *w)
{
    return w->options.hostile && w->options.attacks & ATTACK_FLOOD;
}

static struct cast_seen *cast_find(struct mesh_world *w, struct slice payload)
{
    if (payload.size < 8) return NULL;
    struct reader r = reader_over(payload.data, payload.size);
    const uint64_t number = read_u64(&r);
    return number < w->measure->cast_count ? &w->measure->casts[number] : NULL;
}

void measure_received(struct mesh_world *w, uint32_t index, const struct wire *wire)
{
    const struct message *m = &wire->message;
    struct slice payload = {0};
    if (m->type == MESSAGE_CAST && m->cast.topic == TOPIC_RUN_COMMAND) payload = m->cast.payload;
    if (m->type == MESSAGE_CAST_BULK && m->cast_bulk.topic == TOPIC_RUN_COMMAND) payload = m->bulk;
    struct cast_seen *cast = cast_find(w, payload);
    if (cast && !w->nodes[index].hostile) cast->payloads++;
}

// ---- broadcasts ----

bool measure_is_everywhere(const struct mesh_world *w, uint64_t number)
{
    return w->measure->casts[number].delivered + 1 >= w->options.nodes;
}

uint64_t measure_cast(struct mesh_world *w, uint32_t origin)
{
    struct mesh_measure *m = w->measure;
    if (m->cast_count == CASTS_MAX) return UINT64_MAX;
    struct cast_seen *cast = &m->casts[m->cast_count];
    *cast = (struct cast_seen){.at_us = w->now_us, .origin = origin, .life = w->nodes[origin].life};
    cast->bits = calloc((w->options.nodes + 7) / 8, 1);
    check(cast->bits);
    w->report->casts++;
    return m->cast_count++;
}

static bool has(const struct cast_seen *cast, uint32_t index)
{
    return cast->bits[index / 8] >> index % 8 & 1;
}

void measure_delivered(struct mesh_world *w, uint32_t index, struct slice payload)
{
    struct mesh_measure *m = w->measure;
    struct cast_seen *cast = cast_find(w, payload);
    if (!cast || w->nodes[index].hostile) return;
    if (has(cast, index)) {
        // A large mesh's many records make peers forget what they have seen: that is allowed.
        if (w->options.nodes <= 256 && !is_flooded(w))
            mesh_fail(w, "twice: peer %u was handed a broadcast again", index);
        return;
    }
    cast->bits[index / 8] |= (uint8_t)(1 << index % 8);
    cast->delivered++;
    if (w->hops > cast->last_hop && w->hops < 1000) cast->last_hop = w->hops;
    const uint64_t took = w->now_us - cast->at_us;
    m->steps[took / STEP_US < STEPS ? took / STEP_US : STEPS]++;
    m->step_count++;
    if (took > m->max_us) m->max_us = took;
}

// Who must have it: it was there when it was cast and is there now.
static bool owed(const struct mesh_world *w, const struct cast_seen *cast, uint32_t index)
{
    const struct mesh_node *n = &w->nodes[index];
    return n->up && !n->hostile && !n->left && index != cast->origin && n->booted_us < cast->at_us;
}

// A broadcast that died with its origin before anyone else had it is nobody's; likewise one that is too old by the
// clocks, set ahead by minutes, of all who had it.
static bool is_lost(const struct mesh_world *w, const struct cast_seen *cast)
{
    const struct mesh_node *origin = &w->nodes[cast->origin];
    if (origin->up && origin->life == cast->life && origin->turned_us < cast->at_us) return false;
    for (uint32_t i = 0; i < w->options.nodes; i++)
        if (has(cast, i) && owed(w, cast, i) && w->nodes[i].turned_us < cast->at_us) return false;
    return true;
}

static uint64_t missed(const struct mesh_world *w, const struct cast_seen *cast)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < w->options.nodes; i++) count += owed(w, cast, i) && !has(cast, i);
    return count && is_lost(w, cast) ? 0 : count;
}

// ---- accusations and deaths ----

static bool is_healthy(const struct mesh_world *w, const struct mesh_node *n)
{
    return mesh_running(w, n) && !n->left && !n->hostile && n->upset_us < w->now_us;
}

void measure_accused(struct mesh_world *w, uint32_t accuser, const struct message *m)
{
    const struct mesh_node *n = &w->nodes[accuser];
    if (m->type != MESSAGE_CAST || m->cast.topic != TOPIC_SUSPICION || n->hostile) return;
    if (!id_equal(&m->cast.origin, &n->key.id) || m->cast.hops != 0) return;
    struct accusation a;
    // Its own comes first; others' may stand behind it.
    const struct slice payload = m->cast.payload;
    if (accusation_read(&a, (struct slice){payload.data, payload.size < ACCUSATION_SIZE ? 0 : ACCUSATION_SIZE})) return;
    const uint32_t target = mesh_find(w, &a.target);
    if (target == MESH_NOBODY || !id_equal(&a.accuser, &n->key.id)) return;
    if (w->measure->accused[accuser].target == target && w->measure->accused[accuser].incarnation == a.incarnation)
        return;  // the same one to the next neighbour
    w->measure->accused[accuser].target = target;
    w->measure->accused[accuser].incarnation = a.incarnation;
    w->report->suspicions++;
    w->report->suspicions_false += is_healthy(w, &w->nodes[target]);
}

void measure_believed(struct mesh_world *w, uint32_t index, uint32_t of, enum gossip_state state)
{
    if (state != GOSSIP_DEAD || w->nodes[index].hostile) return;
    w->report->deaths++;
    w->report->deaths_false += is_healthy(w, &w->nodes[of]);
}

void measure_died(struct mesh_world *w, uint32_t index)
{
    struct mesh_measure *m = w->measure;
    if (m->death_count == DEATHS_MAX) return;
    m->deaths[m->death_count++] = (struct death){.index = index, .life = w->nodes[index].life, .at_us = w->now_us};
}

void measure_back(struct mesh_world *w, uint32_t index)
{
    struct mesh_measure *m = w->measure;
    for (uint32_t i = 0; i < m->cast_count; i++) {
        struct cast_seen *cast = &m->casts[i];  // its memory is gone: it may be handed them once more
        if (has(cast, index)) cast->delivered--;
        cast->bits[index / 8] &= (uint8_t) ~(1 << index % 8);
    }
    for (uint32_t i = 0; i < m->death_count; i++)
        if (m->deaths[i].index == index && !m->deaths[i].done) m->deaths[i--] = m->deaths[--m->death_count];
}

static void look_at_death(struct mesh_world *w, struct death *d)
{
    const struct core_id *id = &w->nodes[d->index].key.id;
    for (; d->look < w->options.nodes; d->look++) {
        const struct mesh_node *n = &w->nodes[d->look];
        if (mesh_running(w, n) && !n->hostile && gossip_state_of(n->gossip, id) < GOSSIP_DEAD) return;
    }
    d->done = true;
    d->ms = (double)(w->now_us - d->at_us) / 1e3;
}

// ---- views ----

static void look_for_eclipse(struct mesh_world *w)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        const struct mesh_node *n = &w->nodes[i];
        if (!n->up || n->hostile) continue;
        struct core_id ids[64];
        const uint32_t neighbors = gossip_neighbors(n->gossip, ids, 64);
        uint32_t hostile = 0;
        for (uint32_t k = 0; k < neighbors && k < 64; k++) {
            const uint32_t other = mesh_find(w, &ids[k]);
            hostile += other != MESH_NOBODY && w->nodes[other].hostile;
        }
        count += neighbors > 0 && hostile == neighbors;
    }
    if (count > w->report->eclipsed) w->report->eclipsed = count;
}

void measure_poll(struct mesh_world *w)
{
    struct mesh_measure *m = w->measure;
    for (uint32_t i = 0; i < m->death_count; i++)
        if (!m->deaths[i].done) look_at_death(w, &m->deaths[i]);
    if (w->options.hostile && w->now_us >= m->looked_us + FULL_LOOK_MS * 1000ull) {
        m->looked_us = w->now_us;
        look_for_eclipse(w);
    }
}

// Whether peer i sees the living as alive and the dead as dead; if not, whom it doesn't.
static bool sees(const struct mesh_world *w, uint32_t i, uint32_t living, uint32_t *whom, const char **as)
{
    const struct gossip *g = w->nodes[i].gossip;
    const uint32_t count = gossip_member_count(g);
    uint32_t seen = 0;
    for (uint32_t k = 0; k < count; k++) {
        struct gossip_member member;
        gossip_member_at(g, k, &member);
        *whom = mesh_find(w, &member.id);
        *as = gossip_state_name(member.state);
        if (*whom == MESH_NOBODY) return false;
        const struct mesh_node *n = &w->nodes[*whom];
        if (n->hostile) continue;
        if (n->up && !n->left) {
            if (member.state != GOSSIP_ALIVE) return false;
            seen++;
        } else if (member.state < GOSSIP_DEAD) {
            return false;
        }
    }
    if (w->options.members_max < w->options.nodes || seen == living) return true;
    *as = "nothing";
    for (*whom = 0; *whom < w->options.nodes; (*whom)++) {
        const struct mesh_node *n = &w->nodes[*whom];
        struct gossip_member member;
        if (n->up && !n->hostile && !n->left && !gossip_member_find(g, &n->key.id, &member)) break;
    }
    return false;
}

bool measure_whole(struct mesh_world *w, char *why, size_t size)
{
    struct mesh_measure *m = w->measure;
    uint32_t living = 0;
    for (uint32_t i = 0; i < w->options.nodes; i++) {
        const struct mesh_node *n = &w->nodes[i];
        if (!n->up && !n->gone) {
            snprintf(why, size, "peer %u is not up yet", i);
            return false;
        }
        living += n->up && !n->hostile && !n->left;
    }
    for (uint32_t looked = 0; looked < w->options.nodes; looked++) {
        const uint32_t i = (m->look + looked) % w->options.nodes;
        const struct mesh_node *n = &w->nodes[i];
        uint32_t whom = 0;
        const char *as = "";
        if (!n->up || n->hostile || n->left || sees(w, i, living, &whom, &as)) continue;
        m->look = i;
        snprintf(why, size, "peer %u sees peer %u as %s, which is %s", i, whom, as,
                 whom == MESH_NOBODY ? "none"
                 : w->nodes[whom].up ? "up"
                                     : "down");
        return false;
    }
    for (uint32_t i = 0; i < m->cast_count && !is_flooded(w); i++) {
        const uint64_t count = missed(w, &m->casts[i]);
        if (!count) continue;
        snprintf(why, size, "broadcast %u of peer %u at %.3f s misses %llu", i, m->casts[i].origin,
                 (double)m->casts[i].at_us / 1e6, (unsigned long long)count);
        return false;
    }
    const uint32_t pieces = measure_pieces(w);
    if (pieces <= 1) return true;
    snprintf(why, size, "the overlay is in %u pieces", pieces);
    return false;
}

void measure_rest(struct mesh_world *w)
{
    struct mesh_measure *m = w->measure;
    m->resting = true;
    m->rest_us = w->now_us;
    m->rest_messages = w->report->messages;
    m->rest_bytes = w->report->bytes;
}

// ---- the report ----

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double delivery_ms(const struct mesh_measure *m, double part)
{
    uint64_t below = 0;
    for (uint32_t i = 0; i <= STEPS; i++) {
        below += m->steps[i];
        if ((double)below >= part * (double)m->step_count) return (double)i * STEP_US / 1e3;
    }
    return 0;
}

static void sum_up_casts(struct mesh_world *w)
{
    const struct mesh_measure *m = w->measure;
    struct mesh_report *r = w->report;
    uint64_t payloads = 0, delivered = 0, hops = 0, count = 0;
    for (uint32_t i = 0; i < m->cast_count; i++) {
        const struct cast_seen *cast = &m->casts[i];
        r->missed += missed(w, cast);
        if (cast->last_hop > r->last_hop) r->last_hop = cast->last_hop;
        if (i < WARM_CASTS && !w->rounds.on) continue;
        payloads += cast->payloads;
        delivered += cast->delivered;
        hops += cast->last_hop;
        count++;
    }
    if (delivered) r->redundancy = (double)payloads / (double)delivered - 1;
    if (count) r->last_hop_mean = (double)hops / (double)count;
    if (!m->step_count) return;
    r->delivery_ms_p50 = delivery_ms(m, 0.5);
    r->delivery_ms_p99 = delivery_ms(m, 0.99);
    r->delivery_ms_max = (double)m->max_us / 1e3;
}

void measure_end(struct mesh_world *w)
{
    struct mesh_measure *m = w->measure;
    struct mesh_report *r = w->report;
    sum_up_casts(w);
    double ms[DEATHS_MAX];
    for (uint32_t i = 0; i < m->death_count; i++)
        if (m->deaths[i].done) ms[r->detected++] = m->deaths[i].ms;
    qsort(ms, r->detected, sizeof *ms, by_value);
    if (r->detected) {
        r->detect_ms_median = ms[r->detected / 2];
        r->detect_ms_max = ms[r->detected - 1];
    }
    uint32_t up = 0;
    for (uint32_t i = 0; i < w->options.nodes; i++) up += w->nodes[i].up;
    if (m->resting && up && w->now_us > m->rest_us) {
        const double peer_seconds = (double)up * (double)(w->now_us - m->rest_us) / 1e6;
        r->idle_messages = (double)(r->messages - m->rest_messages) / peer_seconds;
        r->idle_bytes = (double)(r->bytes - m->rest_bytes) / peer_seconds;
    }
    measure_overlay(w);
}
