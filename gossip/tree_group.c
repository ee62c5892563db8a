// Who stands with whom: hosts, then what is near at one site, then near sites. All in integers, and a function of the
// set of members alone, so the order in which they came does not matter.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "gossip/tree_parts.h"

// ---- halving ----

uint32_t tree_parts(uint32_t count)
{
    uint32_t parts = 1;
    while (count > (uint64_t)parts * TREE_GROUP_MAX) parts *= 2;
    return parts;
}

uint32_t tree_part_first(uint32_t count, uint32_t parts, uint32_t part)
{
    uint32_t first = 0;
    for (; parts > 1; parts /= 2) {
        const uint32_t left = count / 2;
        if (part >= parts / 2) {
            first += left;
            count -= left;
            part -= parts / 2;
        } else {
            count = left;
        }
        if (part == parts / 2) return first + count;  // the end
    }
    return part ? first + count : first;
}

static bool before(const struct tree_unit *a, const struct tree_unit *b, uint32_t axis)
{
    if (a->at[axis] != b->at[axis]) return a->at[axis] < b->at[axis];
    return a->tie < b->tie;
}

static void sift(struct tree_unit *heap, uint32_t root, uint32_t count, uint32_t axis)
{
    for (;;) {
        uint32_t child = 2 * root + 1;
        if (child >= count) return;
        if (child + 1 < count && before(&heap[child], &heap[child + 1], axis)) child++;
        if (!before(&heap[root], &heap[child], axis)) return;
        const struct tree_unit swap = heap[root];
        heap[root] = heap[child];
        heap[child] = swap;
        root = child;
    }
}

// Heap sort: qsort has no context argument in standard C, and the worst case stays small.
static void sort_units(struct tree_unit *units, uint32_t count, uint32_t axis)
{
    for (uint32_t i = count / 2; i-- > 0;) sift(units, i, count, axis);
    for (uint32_t end = count; end-- > 1;) {
        const struct tree_unit swap = units[0];
        units[0] = units[end];
        units[end] = swap;
        sift(units, 0, end, axis);
    }
}

static uint32_t widest_axis(const struct tree_unit *units, uint32_t count)
{
    uint32_t widest = 0;
    int64_t width = -1;
    for (uint32_t axis = 0; axis < TREE_AXES; axis++) {
        int64_t low = units[0].at[axis], high = low;
        for (uint32_t i = 1; i < count; i++) {
            if (units[i].at[axis] < low) low = units[i].at[axis];
            if (units[i].at[axis] > high) high = units[i].at[axis];
        }
        if (high - low <= width) continue;
        width = high - low;
        widest = axis;
    }
    return widest;
}

static void halve(struct tree_unit *units, uint32_t count, uint32_t parts)
{
    if (count == 0) return;
    sort_units(units, count, widest_axis(units, count));
    if (parts == 1) return;
    halve(units, count / 2, parts / 2);
    halve(units + count / 2, count - count / 2, parts / 2);
}

void tree_halve(struct tree_unit *units, uint32_t count)
{
    halve(units, count, tree_parts(count));
}

// ---- the lowest level ----

static int by_place(const struct tree_plan *plan, uint32_t a, uint32_t b)
{
    const struct tree_member *x = &plan->members[a], *y = &plan->members[b];
    if (x->site != y->site) return x->site < y->site ? -1 : 1;
    const int order = hash_compare(&x->host, &y->host);
    if (order) return order;
    return a < b ? -1 : a > b;
}

static void sift_list(const struct tree_plan *plan, uint32_t *heap, uint32_t root, uint32_t count)
{
    for (;;) {
        uint32_t child = 2 * root + 1;
        if (child >= count) return;
        if (child + 1 < count && by_place(plan, heap[child], heap[child + 1]) < 0) child++;
        if (by_place(plan, heap[root], heap[child]) >= 0) return;
        const uint32_t swap = heap[root];
        heap[root] = heap[child];
        heap[child] = swap;
        root = child;
    }
}

// Fills `list` with all members by site, host and slot.
static void sort_list(struct tree_plan *plan)
{
    uint32_t *list = plan->list;
    for (uint32_t i = 0; i < plan->count; i++) list[i] = i;
    for (uint32_t i = plan->count / 2; i-- > 0;) sift_list(plan, list, i, plan->count);
    for (uint32_t end = plan->count; end-- > 1;) {
        const uint32_t swap = list[0];
        list[0] = list[end];
        list[end] = swap;
        sift_list(plan, list, 0, end);
    }
}

// The middle of members list[first ...], rounded towards zero.
static struct tree_unit unit_of(const struct tree_plan *plan, const uint32_t *list, uint32_t first, uint32_t count)
{
    struct tree_unit unit = {.first = first, .count = count, .tie = list[first]};
    for (uint32_t i = first; i < first + count; i++) {
        if (list[i] < unit.tie) unit.tie = list[i];
        for (uint32_t axis = 0; axis < TREE_AXES; axis++) unit.at[axis] += plan->members[list[i]].at[axis];
    }
    for (uint32_t axis = 0; axis < TREE_AXES; axis++) unit.at[axis] /= (int64_t)count;
    return unit;
}

// One unit goes to the end of `order` as groups of at most TREE_GROUP_MAX that belong to `host` at `site`.
static void add_unit(struct tree_plan *plan, const uint32_t *list, const struct tree_unit *unit, uint32_t host,
                     uint32_t site, uint32_t *placed)
{
    const uint32_t parts = tree_parts(unit->count);
    memcpy(plan->order + *placed, list + unit->first, unit->count * sizeof *list);
    for (uint32_t part = 0; part < parts; part++) {
        const uint32_t from = tree_part_first(unit->count, parts, part),
                       to = tree_part_first(unit->count, parts, part + 1), g = plan->group_count[0]++;
        plan->groups[g] = (struct tree_group){
            .first = *placed + from, .count = to - from, .member_first = *placed + from, .member_count = to - from};
        plan->domains[g] = (struct tree_domain){.host = host, .site = site};
        for (uint32_t i = *placed + from; i < *placed + to; i++) plan->group_of[plan->order[i]] = g;
    }
    *placed += unit->count;
}

static bool same_host(const struct tree_plan *plan, uint32_t a, uint32_t b)
{
    return hash_equal(&plan->members[plan->list[a]].host, &plan->members[plan->list[b]].host);
}

// The members list[first, first + count) of one site: hosts with company are units of their own, peers alone on theirs
// are gathered by nearness into blocks, each a unit too. `units` and `alone` have room for `count`.
static void place_site(struct tree_plan *plan, uint32_t first, uint32_t count, uint32_t site, uint32_t *placed)
{
    struct tree_unit *units = plan->units;
    uint32_t *alone = plan->scratch, singles = 0, used = 0;
    for (uint32_t i = first, end; i < first + count; i = end) {
        for (end = i + 1; end < first + count && same_host(plan, i, end);) end++;
        if (end - i == 1) units[singles++] = unit_of(plan, plan->list, i, 1);
    }
    tree_halve(units, singles);
    for (uint32_t i = 0; i < singles; i++) alone[i] = plan->list[units[i].first];
    const uint32_t parts = singles ? tree_parts(singles) : 0;
    for (uint32_t part = 0; part < parts; part++) {
        const uint32_t from = tree_part_first(singles, parts, part), to = tree_part_first(singles, parts, part + 1);
        units[used] = unit_of(plan, alone, from, to - from);
        units[used++].first += plan->count;  // beyond the list: of `alone`
    }
    for (uint32_t i = first, end; i < first + count; i = end) {
        for (end = i + 1; end < first + count && same_host(plan, i, end);) end++;
        if (end - i > 1) units[used++] = unit_of(plan, plan->list, i, end - i);
    }
    tree_halve(units, used);
    for (uint32_t i = 0; i < used; i++) {
        struct tree_unit unit = units[i];
        const bool gathered = unit.first >= plan->count;
        if (gathered) unit.first -= plan->count;
        add_unit(plan, gathered ? alone : plan->list, &unit, plan->group_count[0], site, placed);
    }
}

static void place_members(struct tree_plan *plan)
{
    sort_list(plan);
    uint32_t count = 0, placed = 0;
    for (uint32_t i = 0, end; i < plan->count; i = end) {
        const uint64_t site = plan->members[plan->list[i]].site;
        for (end = i + 1; end < plan->count && plan->members[plan->list[end]].site == site;) end++;
        plan->sites[count++] = unit_of(plan, plan->list, i, end - i);
    }
    tree_halve(plan->sites, count);
    for (uint32_t i = 0; i < count; i++) place_site(plan, plan->sites[i].first, plan->sites[i].count, i, &placed);
    plan->levels = 1;
}

// ---- the levels above ----

enum phase { HOSTS, SITES, EVERYONE };

static bool together(const struct tree_domain *a, const struct tree_domain *b, enum phase phase)
{
    if (phase == HOSTS) return a->host == b->host;
    return phase == EVERYONE || a->site == b->site;
}

static uint32_t run_end(const struct tree_plan *plan, uint32_t from, uint32_t count, enum phase phase)
{
    uint32_t end = from + 1;
    while (end < count && together(&plan->domains[from], &plan->domains[end], phase)) end++;
    return end;
}

static void add_parent(struct tree_plan *plan, uint32_t level, uint32_t first, uint32_t count)
{
    struct tree_group *below = &plan->groups[plan->group_first[level - 1]];
    const uint32_t g = plan->group_count[level]++;
    struct tree_group *group = &plan->groups[plan->group_first[level] + g];
    *group = (struct tree_group){.first = first, .count = count, .member_first = below[first].member_first};
    for (uint32_t k = first; k < first + count; k++) {
        below[k].parent = g;
        group->member_count += below[k].member_count;
    }
    plan->domains[g] = plan->domains[first];  // g <= first: read before it is written over
}

// One more level, on which every run of groups that belong together becomes as few as it can.
static void add_level(struct tree_plan *plan, enum phase phase)
{
    const uint32_t level = plan->levels++, count = plan->group_count[level - 1];
    check(level < TREE_LEVEL_MAX);
    plan->group_first[level] = plan->group_first[level - 1] + count;
    for (uint32_t i = 0, end; i < count; i = end) {
        end = run_end(plan, i, count, phase);
        const uint32_t parts = tree_parts(end - i);
        for (uint32_t part = 0; part < parts; part++) {
            const uint32_t from = i + tree_part_first(end - i, parts, part),
                           to = i + tree_part_first(end - i, parts, part + 1);
            add_parent(plan, level, from, to - from);
        }
    }
}

void tree_group_members(struct tree_plan *plan)
{
    place_members(plan);
    for (enum phase phase = HOSTS; phase <= EVERYONE;) {
        const uint32_t count = plan->group_count[plan->levels - 1];
        bool done = true;
        for (uint32_t i = 0; i < count && done; i++) done = run_end(plan, i, count, phase) == i + 1;
        if (done)
            phase++;
        else
            add_level(plan, phase);
    }
}
