// One round of the aggregation benchmark: what learn/round_sum.c does, less the agreement on what counts.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "bench/aggregate_parts.h"
#include "core/check.h"
#include "gossip/sum.h"

enum { CHUNK = 1 << 14, EXPONENT = -7, GRID = 27, SAMPLES = 4096, KIND_CONTRIBUTION = 1, KIND_PARTIAL = 2 };

float aggregate_element(uint32_t index, uint64_t e)
{
    uint64_t z = ((uint64_t)index << 40 | e) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (float)((int32_t)(z >> 32) >> 8) * 0x1p-23f * 0.99f;
}

// ---- fp32 to integers and back ----

// The grid of 2^-27: |x| < 1, so that the sums of 16 peers fit 32 bits.
static int32_t on_grid(float x)
{
    return (int32_t)lrintf(x * (float)(1 << GRID));
}

static void to_grid(uint8_t *out, const float *restrict x, uint64_t count)
{
    int32_t *restrict to = (int32_t *)(void *)out;  // page-aligned, or from malloc
    uint64_t i = 0;
#ifdef __SSE2__
    for (; i + 4 <= count; i += 4)
        _mm_storeu_si128((__m128i *)(void *)(to + i),
                         _mm_cvtps_epi32(_mm_mul_ps(_mm_loadu_ps(x + i), _mm_set1_ps((float)(1 << GRID)))));
#endif
    for (; i < count; i++) to[i] = on_grid(x[i]);
}

#ifdef __SSE2__
// Past the caches: nobody reads the mean soon. `mean` is aligned to 16 bytes and more.
static uint64_t stream_16(float *mean, const uint8_t *data, uint64_t count, float factor)
{
    uint64_t i = 0;
    const __m128 f = _mm_set1_ps(factor);
    for (; i + 8 <= count; i += 8) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(data + 2 * i));
        const __m128i low = _mm_srai_epi32(_mm_unpacklo_epi16(v, v), 16),
                      high = _mm_srai_epi32(_mm_unpackhi_epi16(v, v), 16);
        _mm_stream_ps(mean + i, _mm_mul_ps(_mm_cvtepi32_ps(low), f));
        _mm_stream_ps(mean + i + 4, _mm_mul_ps(_mm_cvtepi32_ps(high), f));
    }
    _mm_sfence();
    return i;
}

static uint64_t stream_32(float *mean, const uint8_t *data, uint64_t count, float factor)
{
    uint64_t i = 0;
    const __m128 f = _mm_set1_ps(factor);
    for (; i + 4 <= count; i += 4) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(data + 4 * i));
        _mm_stream_ps(mean + i, _mm_mul_ps(_mm_cvtepi32_ps(v), f));
    }
    _mm_sfence();
    return i;
}
#else
static uint64_t stream_16(float *mean, const uint8_t *data, uint64_t count, float factor)
{
    (void)mean, (void)data, (void)count, (void)factor;
    return 0;
}
#define stream_32 stream_16
#endif

static void from_sum(float *mean, const uint8_t *data, uint32_t bits, uint64_t count, float factor)
{
    const int16_t *narrow = (const int16_t *)(const void *)data;
    const int32_t *wide = (const int32_t *)(const void *)data;
    if (bits == 8)
        for (uint64_t i = 0; i < count; i++) mean[i] = (float)(int8_t)data[i] * factor;
    else if (bits == 16)
        for (uint64_t i = stream_16(mean, data, count, factor); i < count; i++) mean[i] = (float)narrow[i] * factor;
    else
        for (uint64_t i = stream_32(mean, data, count, factor); i < count; i++) mean[i] = (float)wide[i] * factor;
}

static float factor_of(const struct aggregate_node *n)
{
    return (n->bits == 8 ? ldexpf(1, EXPONENT) : ldexpf(1, -GRID)) / (float)n->count;
}

static uint32_t width_of(const struct aggregate_node *n, uint32_t contributions)
{
    return n->bits == 8 ? sum_bits(contributions) : 32;
}

static uint64_t range_of(const struct aggregate_node *n, uint32_t shard, uint64_t *first)
{
    return tree_shard_range(n->elements, n->plan.shards, shard, first);
}

static void quantise(struct aggregate_node *n, uint8_t *out, uint64_t first, uint64_t count)
{
    if (n->bits == 32) {
        to_grid(out, n->x + first, count);
        return;
    }
    for (uint64_t at = 0; at < count; at += CHUNK) {
        const uint64_t size = count - at < CHUNK ? count - at : CHUNK;
        hip_quantise(n->stream, &(struct hip_quantise){.before = n->x + first + at,
                                                       .after = n->zeros,
                                                       .residual = n->residual + first + at,
                                                       .q = (int8_t *)out + at,
                                                       .count = size,
                                                       .exponent = EXPONENT,
                                                       .limit = 127,
                                                       .decay = 1});
    }
}

uint32_t aggregate_wrong(const struct aggregate_node *n)
{
    uint32_t wrong = 0;
    for (uint32_t k = 0; k < SAMPLES; k++) {
        const uint64_t e = n->elements / SAMPLES * k;
        int64_t sum = 0;
        for (uint32_t i = 0; i < n->count; i++) {
            const float x = aggregate_element(i, e);
            const long q = lrintf(x * 128.0f);
            sum += n->bits == 32 ? on_grid(x) : q > 127 ? 127 : q < -127 ? -127 : q;
        }
        wrong += n->mean[e] != (float)sum * factor_of(n);
    }
    return wrong;
}

// ---- who ----

static struct aggregate_item *item_at(const struct aggregate_node *n, uint32_t level, uint32_t group, uint32_t shard)
{
    return &n->items[(size_t)(n->plan.group_first[level] + group) * TREE_SHARD_MAX + shard];
}

static uint32_t acting(const struct aggregate_node *n, uint32_t level, uint32_t group, uint32_t shard, uint32_t nth)
{
    uint32_t slots[TREE_CANDIDATE_MAX];
    const uint32_t count = tree_plan_candidates(&n->plan, level, group, shard, slots);
    for (uint32_t i = 0; i < count; i++)
        if (!n->dead[slots[i]] && nth-- == 0) return slots[i];
    return UINT32_MAX;
}

static void send(struct aggregate_node *n, uint32_t to, uint32_t kind, uint32_t level, uint32_t group, uint32_t shard,
                 uint32_t slot, struct buffer *bulk)
{
    uint8_t set[8] = {0};
    struct message m = {.type = MESSAGE_DATA, .bulk = buffer_slice(bulk)};
    m.data = (struct message_data){.run = n->run,
                                   .round = n->round,
                                   .kind = kind,
                                   .level = level,
                                   .group = group,
                                   .shard = shard,
                                   .slot = slot,
                                   .bits = n->bits,
                                   .set = {set, sizeof set}};
    enum core_err err = links_send_buffer(n->links, &n->ids[to], &m, bulk);
    if (err && !n->dead[to]) aggregate_error("not sent to %u: %s", to, core_error_name(err));
    n->sent += m.bulk.size;
}

// Memory that goes to others of this machine without a copy, where there are any and it is sent.
static struct buffer *new_buffer(const struct aggregate_node *n, uint64_t size, bool sent)
{
    struct buffer *b =
        sent && n->count > n->machines ? buffer_pool_new_slab(n->pool, size) : buffer_pool_new(n->pool, size);
    check(b);
    return b;
}

// ---- the result ----

static void result_here(struct aggregate_node *n, uint32_t shard, struct buffer *sum)
{
    uint64_t first;
    if (n->here[shard]) return;
    n->here[shard] = true;
    const uint32_t top = n->plan.levels - 1;
    // Down: below every group that this peer sums for.
    bool told[AGGREGATE_NODES_MAX] = {false};
    told[n->index] = true;
    for (uint32_t level = top + 1; level-- > 0;) {
        for (uint32_t group = 0; group < n->plan.group_count[level]; group++) {
            const uint32_t owner = acting(n, level, group, shard, 0);
            told[owner] |= level == top;
            if (owner != n->index) continue;
            uint32_t child = 0;
            const uint32_t kids =
                level ? tree_plan_children(&n->plan, level, group, &child) : tree_plan_slot_count(&n->plan, 0, group);
            for (uint32_t i = 0; i < kids; i++) {
                const uint32_t to =
                    level ? acting(n, level - 1, child + i, shard, 0) : tree_plan_slot_at(&n->plan, 0, group, i);
                if (to == UINT32_MAX || n->dead[to] || told[to]) continue;
                told[to] = true;
                send(n, to, KIND_PARTIAL, top, 0, shard, 0, sum);
            }
        }
    }
    const uint64_t count = range_of(n, shard, &first);
    from_sum(n->mean + first, buffer_data(sum), width_of(n, n->count), count, factor_of(n));
    n->end_us = aggregate_clock_us();
    n->done = ++n->results == n->plan.shards;
}

static void sum_here(struct aggregate_node *n, uint32_t level, uint32_t group, uint32_t shard, struct buffer *sum);

// Everything that a sum of this peer's takes has come: adds it up.
static void try_sum(struct aggregate_node *n, uint32_t level, uint32_t group, uint32_t shard)
{
    struct aggregate_item *item = item_at(n, level, group, shard);
    uint32_t child = 0;
    const uint32_t kids =
        level ? tree_plan_children(&n->plan, level, group, &child) : tree_plan_slot_count(&n->plan, 0, group);
    if (n->hold || item->sum || item->have < kids || acting(n, level, group, shard, 0) != n->index) return;
    struct sum_input inputs[AGGREGATE_NODES_MAX];
    for (uint32_t i = 0; i < kids; i++) {
        const uint32_t below = level ? tree_plan_slot_count(&n->plan, level - 1, child + i) : 1;
        const uint32_t at = level ? i : tree_plan_slot_at(&n->plan, 0, group, i);
        inputs[i] = (struct sum_input){.data = buffer_data(item->inputs[at]),
                                       .bits = level || n->bits == 32 ? width_of(n, below) : 8,
                                       .weight = 1};
    }
    uint64_t first;
    const uint64_t count = range_of(n, shard, &first);
    const uint32_t bits = width_of(n, tree_plan_slot_count(&n->plan, level, group));
    item->sum = new_buffer(n, sum_bytes(bits, count), true);
    enum core_err err = sum_reduce(buffer_data(item->sum), bits, inputs, kids, count);
    if (err) aggregate_error("no sum: %s", core_error_name(err));
    (void)!buffer_seal(item->sum);
    sum_here(n, level, group, shard, item->sum);
}

static void input_here(struct aggregate_node *n, uint32_t level, uint32_t group, uint32_t shard, uint32_t at,
                       struct buffer *bulk)
{
    struct aggregate_item *item = item_at(n, level, group, shard);
    if (item->inputs[at]) return;  // counted already
    item->inputs[at] = buffer_keep(bulk);
    item->have++;
    try_sum(n, level, group, shard);
}

static void sum_here(struct aggregate_node *n, uint32_t level, uint32_t group, uint32_t shard, struct buffer *sum)
{
    if (level == n->plan.levels - 1) {
        result_here(n, shard, sum);
        return;
    }
    const uint32_t parent = tree_plan_parent(&n->plan, level, group), to = acting(n, level + 1, parent, shard, 0);
    uint32_t child;
    (void)tree_plan_children(&n->plan, level + 1, parent, &child);
    if (to == n->index)
        input_here(n, level + 1, parent, shard, group - child, sum);
    else
        send(n, to, KIND_PARTIAL, level, group, shard, 0, sum);
}

// ---- contributions ----

static void hand_over(struct aggregate_node *n, uint32_t shard)
{
    const uint32_t group = tree_plan_group_of(&n->plan, 0, n->index), owner = acting(n, 0, group, shard, 0);
    struct buffer *own = n->own[shard];
    if (owner != n->index) {
        send(n, owner, KIND_CONTRIBUTION, 0, group, shard, n->index, own);
        return;
    }
    const uint32_t next = n->copies ? acting(n, 0, group, shard, 1) : UINT32_MAX;
    if (next != UINT32_MAX) send(n, next, KIND_CONTRIBUTION, 0, group, shard, n->index, own);
    input_here(n, 0, group, shard, n->index, own);
}

// Whether all that this peer should sum, or keep a copy of, is here.
static bool all_held(const struct aggregate_node *n)
{
    const uint32_t group = tree_plan_group_of(&n->plan, 0, n->index);
    const uint32_t size = tree_plan_slot_count(&n->plan, 0, group);
    for (uint32_t shard = 0; shard < n->plan.shards; shard++) {
        const struct aggregate_item *item = item_at(n, 0, group, shard);
        const uint32_t owner = acting(n, 0, group, shard, 0);
        if (owner == n->index && item->have < size) return false;
        if (n->copies && acting(n, 0, group, shard, 1) == n->index && !item->inputs[owner]) return false;
    }
    return true;
}

static void say_held(struct aggregate_node *n)
{
    if (!n->hold || n->held_said || !n->begun || !all_held(n)) return;
    n->held_said = true;
    printf("HELD\n");
}

// ---- events ----

void aggregate_clear(struct aggregate_node *n)
{
    const uint32_t groups = n->plan.levels ? n->plan.group_first[n->plan.levels - 1] + 1 : 0;
    for (uint32_t i = 0; i < groups * TREE_SHARD_MAX; i++) {
        for (uint32_t k = 0; k < AGGREGATE_NODES_MAX; k++) buffer_drop(n->items[i].inputs[k]);
        buffer_drop(n->items[i].sum);
    }
    memset(n->items, 0, (size_t)groups * TREE_SHARD_MAX * sizeof *n->items);
    for (uint32_t s = 0; s < TREE_SHARD_MAX; s++) {
        buffer_drop(n->own[s]);
        n->own[s] = NULL;
    }
}

void aggregate_open(struct aggregate_node *n, uint64_t round)
{
    if (n->any && round <= n->round) return;
    aggregate_clear(n);
    struct tree_member members[AGGREGATE_NODES_MAX];
    for (uint32_t i = 0; i < n->count; i++) {
        members[i] = (struct tree_member){.slot = i, .weight = 1, .reachable = true};
        members[i].host.bytes[0] = (uint8_t)(1 + i % n->machines);
    }
    enum core_err err = tree_plan_make(&n->plan, members, n->count, n->elements, &n->run, round, 0);
    check(!err);
    memset(n->here, 0, sizeof n->here);
    n->any = true;
    n->begun = n->done = n->held_said = n->hold = false;
    n->round = round;
    n->results = 0;
    n->sent = 0;
}

void aggregate_begin(struct aggregate_node *n, void (*between)(struct aggregate_node *n))
{
    // Own shards last: the others' owners have work before this peer turns to its own.
    const uint32_t group = tree_plan_group_of(&n->plan, 0, n->index), shards = n->plan.shards;
    n->begun = true;
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < shards; i++) {
            const uint32_t shard = (i + n->index * shards / n->count) % shards;
            if ((acting(n, 0, group, shard, 0) == n->index) != (pass == 1)) continue;
            uint64_t first;
            const uint64_t count = range_of(n, shard, &first);
            n->own[shard] = new_buffer(n, count * n->bits / 8, pass == 0 || n->copies);
            quantise(n, buffer_data(n->own[shard]), first, count);
            (void)!buffer_seal(n->own[shard]);
            hand_over(n, shard);
            between(n);
        }
    }
    say_held(n);
}

void aggregate_go(struct aggregate_node *n)
{
    const uint32_t group = tree_plan_group_of(&n->plan, 0, n->index);
    n->hold = false;
    for (uint32_t shard = 0; shard < n->plan.shards; shard++) try_sum(n, 0, group, shard);
}

void aggregate_take(struct aggregate_node *n, const struct core_id *from, const struct message_data *m,
                    struct buffer *bulk)
{
    (void)from;
    aggregate_open(n, m->round);
    if (m->round != n->round || !bulk || !tree_plan_has(&n->plan, m->level, m->group, m->shard) || m->slot >= n->count)
        return;
    const uint32_t level = (uint32_t)m->level, group = (uint32_t)m->group, shard = (uint32_t)m->shard;
    if (m->kind == KIND_CONTRIBUTION) {
        input_here(n, 0, group, shard, (uint32_t)m->slot, bulk);
    } else if (level == n->plan.levels - 1) {
        result_here(n, shard, bulk);
    } else {
        const uint32_t parent = tree_plan_parent(&n->plan, level, group);
        uint32_t child;
        (void)tree_plan_children(&n->plan, level + 1, parent, &child);
        input_here(n, level + 1, parent, shard, group - child, bulk);
    }
    say_held(n);
}

// A peer died: what it should have summed is handed to whoever comes next.
void aggregate_lost(struct aggregate_node *n, uint32_t index)
{
    const uint32_t group = tree_plan_group_of(&n->plan, 0, n->index);
    uint32_t owners[TREE_SHARD_MAX];
    for (uint32_t shard = 0; n->any && shard < n->plan.shards; shard++) owners[shard] = acting(n, 0, group, shard, 0);
    n->dead[index] = true;
    for (uint32_t shard = 0; n->any && n->begun && shard < n->plan.shards; shard++)
        if (owners[shard] == index && n->own[shard] && !n->here[shard]) hand_over(n, shard);
}
