// The planner's choices beside the best of all, found by trying every one: the division of cores among peers, the cores
// of the GPUs' threads, the cores of the CPU lane. The costs are written anew here from what sched/placement.h states.
// On small random machines every core is tried; on the servers, whose cores of one memory node are alike, every number
// of cores from each node.
#include "machines.h"

enum { MACHINES = 400, CORES = 8, GPUS = 4 };

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t distance_to_gpu(const struct sched_topology *t, uint32_t node, const struct sched_device *d)
{
    for (uint32_t i = 0; i < t->pci_count; i++) {
        if (strcmp(t->pci[i].address, d->pci) != 0) continue;
        uint32_t known = (uint32_t)__builtin_popcountll(t->pci[i].nodes), best = UINT32_MAX;
        if (t->nodes_count > 1 && known == t->nodes_count) return 0;
        for (uint32_t n = 0; n < t->nodes_count; n++)
            if (t->pci[i].nodes >> n & 1) best = least(best, t->distance[node][n]);
        return best;
    }
    return 0;
}

static uint32_t core_of_cpu(const struct sched_topology *t, uint32_t os_index)
{
    for (uint32_t i = 0; i < t->cpus_count; i++)
        if (t->cpus[i].os_index == os_index) return t->cpus[i].core;
    fail_msg("cpu %u is none of the machine's", os_index);
    return 0;
}

// ---- the cores of the GPUs' threads, one peer ----

static uint64_t cost_of_cores(const struct sched_request *r, const uint32_t *cores)
{
    const struct sched_topology *t = r->topology;
    uint64_t cost = 0;
    for (uint32_t g = 0; g < r->devices_count; g++) {
        bool shared = false;
        for (uint32_t h = 0; h < g; h++) shared |= cores[h] == cores[g];
        cost += (uint64_t)SCHED_COST_FAR * distance_to_gpu(t, t->cpus[cores[g]].node, &r->devices[g]);
        cost += shared ? SCHED_COST_SHARED : SCHED_COST_SPEED * t->kinds[t->cpus[cores[g]].kind].speed;
    }
    return cost;
}

static uint64_t best_cores(const struct sched_request *r)
{
    uint32_t cores = r->topology->facts.cores_usable, at[GPUS] = {0};
    uint64_t best = UINT64_MAX;
    for (;;) {
        uint64_t cost = cost_of_cores(r, at);
        if (cost < best) best = cost;
        uint32_t g = 0;
        while (g < r->devices_count && ++at[g] == cores) at[g++] = 0;
        if (g == r->devices_count) return best;
    }
}

static void cores_of_plan(const struct sched_request *r, const struct sched_placement *p, uint32_t *cores)
{
    uint32_t seen = 0;
    for (uint32_t i = 0; i < p->lanes_count; i++) {
        if (!p->lanes[i].gpu) continue;
        cores[p->lanes[i].device] = core_of_cpu(r->topology, sched_cpus_at(&p->lanes[i].cpus, 0));
        seen++;
    }
    assert_int_equal(seen, r->devices_count);
}

// Of n cores of which the slowest has speed s, n*s, over every set of the cores that no GPU's thread has.
static uint32_t best_rate(const struct sched_topology *t, const uint32_t *cores, uint32_t gpus)
{
    uint32_t count = t->facts.cores_usable, taken = 0, best = 0;
    for (uint32_t g = 0; g < gpus; g++) taken |= 1u << cores[g];
    if (taken == (1u << count) - 1) taken = 0;
    for (uint32_t set = 1; set < 1u << count; set++) {
        if (set & taken) continue;
        uint32_t slowest = 100;
        for (uint32_t i = 0; i < count; i++)
            if (set >> i & 1) slowest = least(slowest, t->kinds[t->cpus[i].kind].speed);
        uint32_t rate = (uint32_t)__builtin_popcount(set) * slowest;
        best = rate > best ? rate : best;
    }
    return best;
}

static uint32_t rate_of_plan(const struct sched_topology *t, const struct sched_placement *p)
{
    const struct sched_lane *lane = &p->lanes[p->lanes_count - 1];
    uint32_t slowest = 100;
    assert_int_equal(sched_cpus_count(&lane->cpus), lane->threads);
    for (uint32_t i = 0; i < lane->threads; i++) {
        uint32_t core = core_of_cpu(t, sched_cpus_at(&lane->cpus, i));
        slowest = least(slowest, t->kinds[t->cpus[core].kind].speed);
    }
    return lane->threads * slowest;
}

static void lanes_are_the_best_of_all(void **state)
{
    (void)state;
    uint64_t seed = 1;
    uint32_t worse = 0;
    for (uint32_t i = 0; i < MACHINES; i++) {
        struct sched_topology t;
        struct sched_device devices[GPUS];
        struct sched_placement p;
        uint32_t cores[GPUS];
        machine_make_random(&seed, &t);
        struct sched_request r = {.topology = &t, .devices = devices, .peers = 1};
        r.devices_count = machine_devices(&t, devices);
        sched_placement_plan(&r, &p);
        cores_of_plan(&r, &p, cores);
        assert_int_equal(cost_of_cores(&r, cores), best_cores(&r));
        assert_int_equal(rate_of_plan(&t, &p), best_rate(&t, cores, r.devices_count));
        for (uint32_t g = 0; g < r.devices_count; g++) cores[g] = 0;  // what a planner that thinks of nothing does
        worse += cost_of_cores(&r, cores) > best_cores(&r);
    }
    assert_true(worse > MACHINES / 3);  // the comparison tells a bad planner from the best
}

// ---- the division of cores among peers ----

struct division_of {
    uint32_t peers, cores[CORES], gpus[CORES];  // how many
    uint32_t gpu[CORES][GPUS];                  // which
    uint32_t home[CORES];
};

static uint32_t lowest_node(const struct sched_topology *t, const struct sched_device *d)
{
    for (uint32_t i = 0; i < t->pci_count; i++) {
        if (strcmp(t->pci[i].address, d->pci) != 0) continue;
        bool all = t->nodes_count > 1 && (uint32_t)__builtin_popcountll(t->pci[i].nodes) == t->nodes_count;
        return all ? UINT32_MAX : (uint32_t)__builtin_ctzll(t->pci[i].nodes);
    }
    return UINT32_MAX;
}

static void sort_devices(const struct sched_request *r, uint32_t *order)
{
    for (uint32_t i = 0; i < r->devices_count; i++) order[i] = i;
    for (uint32_t i = 0; i < r->devices_count; i++)
        for (uint32_t j = i + 1; j < r->devices_count; j++) {
            const struct sched_device *a = &r->devices[order[i]], *b = &r->devices[order[j]];
            uint32_t x = lowest_node(r->topology, a), y = lowest_node(r->topology, b);
            if (x < y || (x == y && strcmp(a->pci, b->pci) < 0)) continue;
            uint32_t swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
}

static uint32_t home_of(const struct sched_request *r, const struct division_of *d, uint32_t p, uint32_t middle)
{
    const struct sched_topology *t = r->topology;
    if (!d->gpus[p] || lowest_node(t, &r->devices[d->gpu[p][0]]) == UINT32_MAX) return t->cpus[middle].node;
    uint32_t best = UINT32_MAX, home = 0;
    for (uint32_t n = 0; n < t->nodes_count; n++) {
        uint32_t distance = distance_to_gpu(t, n, &r->devices[d->gpu[p][0]]);
        if (!t->nodes[n].cpus || distance >= best) continue;
        best = distance;
        home = n;
    }
    return home;
}

// n*p/P, rounded up.
static uint32_t gpus_before(const struct sched_request *r, uint32_t p)
{
    uint32_t whole = r->devices_count * p / r->peers;
    return whole * r->peers == r->devices_count * p ? whole : whole + 1;
}

static void state_division(const struct sched_request *r, struct division_of *d)
{
    uint32_t order[GPUS * 2], cores = r->topology->facts.cores_usable;
    *d = (struct division_of){.peers = r->peers};
    sort_devices(r, order);
    for (uint32_t p = 0; p < r->peers; p++) {
        uint32_t from = cores * p / r->peers, to = cores * (p + 1) / r->peers;
        d->cores[p] = to - from;
        for (uint32_t g = gpus_before(r, p); g < gpus_before(r, p + 1); g++) d->gpu[p][d->gpus[p]++] = order[g];
        d->home[p] = home_of(r, d, p, (from + to) / 2);
    }
}

// One peer's cost with these cores: its GPUs (as many as it has cores) on any of them, the others for its home.
static uint64_t cost_of_part(const struct sched_request *r, const struct division_of *d, uint32_t p, uint32_t set,
                             uint32_t gpu)
{
    const struct sched_topology *t = r->topology;
    uint64_t best = UINT64_MAX, home = 0;
    if (gpu == d->gpus[p] || !set) {
        for (uint32_t i = 0; i < CORES; i++)
            if (set >> i & 1) home += t->distance[t->cpus[i].node][d->home[p]];
        return home;
    }
    for (uint32_t i = 0; i < CORES; i++) {
        if (!(set >> i & 1)) continue;
        uint64_t cost = (uint64_t)SCHED_COST_FAR * distance_to_gpu(t, t->cpus[i].node, &r->devices[d->gpu[p][gpu]]) +
                        cost_of_part(r, d, p, set & ~(1u << i), gpu + 1);
        if (cost < best) best = cost;
    }
    return best;
}

static uint64_t best_division(const struct sched_request *r, const struct division_of *d, uint32_t p, uint32_t left)
{
    uint64_t best = UINT64_MAX;
    if (p == d->peers) return 0;
    for (uint32_t set = left;; set = (set - 1) & left) {
        if ((uint32_t)__builtin_popcount(set) == d->cores[p]) {
            uint64_t cost = cost_of_part(r, d, p, set, 0) + best_division(r, d, p + 1, left & ~set);
            if (cost < best) best = cost;
        }
        if (!set) return best;
    }
}

// The cores that a peer uses for anything.
static uint32_t set_of_plan(const struct sched_topology *t, const struct sched_placement *p)
{
    uint32_t set = 0;
    for (uint32_t c = 0; c < t->cpus_count; c++) {
        bool used = sched_cpus_has(&p->services, t->cpus[c].os_index);
        for (uint32_t i = 0; i < p->lanes_count; i++) used |= sched_cpus_has(&p->lanes[i].cpus, t->cpus[c].os_index);
        if (used) set |= 1u << t->cpus[c].core;
    }
    return set;
}

static void divisions_are_the_best_of_all(void **state)
{
    (void)state;
    uint64_t seed = 7;
    uint32_t worse = 0, compared = 0;
    for (uint32_t i = 0; i < MACHINES; i++) {
        struct sched_topology t;
        struct sched_device devices[GPUS];
        struct division_of d;
        machine_make_random(&seed, &t);
        struct sched_request r = {.topology = &t, .devices = devices, .peers = 1 + machine_random(&seed, 3)};
        if (t.facts.cores_usable < r.peers) continue;
        r.devices_count = machine_devices(&t, devices);
        state_division(&r, &d);
        uint64_t cost = 0, naive = 0;
        uint32_t all = 0, from = 0;
        for (r.peer = 0; r.peer < r.peers; r.peer++) {
            struct sched_placement p;
            sched_placement_plan(&r, &p);
            uint32_t set = set_of_plan(&t, &p);
            assert_int_equal(set & all, 0);
            assert_int_equal(__builtin_popcount(set), d.cores[r.peer]);
            all |= set;
            cost += cost_of_part(&r, &d, r.peer, set, 0);
            naive += cost_of_part(&r, &d, r.peer, ((1u << d.cores[r.peer]) - 1) << from, 0);
            from += d.cores[r.peer];
        }
        assert_int_equal(all, (1u << t.facts.cores_usable) - 1);
        uint64_t best = best_division(&r, &d, 0, all);
        assert_int_equal(cost, best);
        worse += naive > best;
        compared++;
    }
    assert_true(worse > compared / 6);
}

// ---- servers: every number of cores from each of two nodes ----

static uint64_t cost_of_counts(const struct sched_request *r, const uint32_t *gpus, uint32_t count, uint32_t home,
                               const uint32_t left[2])
{
    const struct sched_topology *t = r->topology;
    uint64_t best = UINT64_MAX;
    if (count == 0 || left[0] + left[1] == 0)
        return (uint64_t)left[0] * t->distance[0][home] + (uint64_t)left[1] * t->distance[1][home];
    for (uint32_t n = 0; n < 2; n++) {
        uint32_t rest[2] = {left[0] - (n == 0), left[1] - (n == 1)};
        if (!left[n]) continue;
        uint64_t cost = (uint64_t)SCHED_COST_FAR * distance_to_gpu(t, n, &r->devices[gpus[0]]) +
                        cost_of_counts(r, gpus + 1, count - 1, home, rest);
        if (cost < best) best = cost;
    }
    return best;
}

struct server {
    struct sched_topology *t;
    struct sched_device devices[SCHED_MAX_DEVICES];
    struct sched_request r;
    uint64_t cost[16][65];  // of peer p with so many cores of node 0
    uint32_t quota[16];
};

static void price_server(struct server *s)
{
    uint32_t order[8], cores = s->t->facts.cores_usable;
    sort_devices(&s->r, order);
    for (uint32_t p = 0; p < s->r.peers; p++) {
        uint32_t from = cores * p / s->r.peers, to = cores * (p + 1) / s->r.peers;
        uint32_t first = gpus_before(&s->r, p), gpus = gpus_before(&s->r, p + 1) - first;
        uint32_t home = gpus ? lowest_node(s->t, &s->r.devices[order[first]]) : s->t->cpus[(from + to) / 2].node;
        s->quota[p] = to - from;
        for (uint32_t a = 0; a <= 64; a++) {
            uint32_t left[2] = {a, s->quota[p] - a};
            s->cost[p][a] =
                a > s->quota[p] || left[1] > 64 ? UINT64_MAX : cost_of_counts(&s->r, order + first, gpus, home, left);
        }
    }
}

// Over every way to give out the 64 cores of node 0; what remains is node 1's.
static uint64_t best_of_server(const struct server *s)
{
    uint64_t best[65], next[65];
    for (uint32_t a = 0; a <= 64; a++) best[a] = a ? UINT64_MAX : 0;
    for (uint32_t p = 0; p < s->r.peers; p++) {
        for (uint32_t a = 0; a <= 64; a++) {
            next[a] = UINT64_MAX;
            for (uint32_t b = 0; b <= a; b++)
                if (best[a - b] != UINT64_MAX && s->cost[p][b] != UINT64_MAX && best[a - b] + s->cost[p][b] < next[a])
                    next[a] = best[a - b] + s->cost[p][b];
        }
        memcpy(best, next, sizeof best);
    }
    return best[64];
}

static uint64_t cost_of_server(struct server *s, uint32_t *on_node_0)
{
    uint64_t cost = 0;
    for (s->r.peer = 0; s->r.peer < s->r.peers; s->r.peer++) {
        struct sched_placement p;
        uint32_t count[2] = {0};
        sched_placement_plan(&s->r, &p);
        for (uint32_t c = 0; c < s->t->facts.cores_usable; c++) {
            bool used = sched_cpus_has(&p.services, s->t->cpus[c].os_index);
            for (uint32_t i = 0; i < p.lanes_count; i++)
                used |= sched_cpus_has(&p.lanes[i].cpus, s->t->cpus[c].os_index);
            count[s->t->cpus[c].node] += used;
        }
        assert_int_equal(count[0] + count[1], s->quota[s->r.peer]);
        on_node_0[s->r.peer] = count[0];
        cost += s->cost[s->r.peer][count[0]];
    }
    return cost;
}

static void check_server(struct server *s)
{
    for (s->r.peers = 1; s->r.peers <= 16; s->r.peers++) {
        uint32_t on_node_0[16];
        price_server(s);
        uint64_t best = best_of_server(s);
        assert_int_equal(cost_of_server(s, on_node_0), best);
        if (s->r.peers < 2 || on_node_0[0] == 0 || on_node_0[s->r.peers - 1] == s->quota[s->r.peers - 1]) continue;
        // The same plan with one core of the first peer and one of the last exchanged across the sockets: worse.
        uint64_t broken = best - s->cost[0][on_node_0[0]] - s->cost[s->r.peers - 1][on_node_0[s->r.peers - 1]] +
                          s->cost[0][on_node_0[0] - 1] + s->cost[s->r.peers - 1][on_node_0[s->r.peers - 1] + 1];
        assert_true(broken > best);
    }
}

static void the_two_socket_server_is_divided_best(void **state)
{
    (void)state;
    struct server s = {.t = machine_open("server-2x64-8gpu")};
    s.r = (struct sched_request){.topology = s.t, .devices = s.devices};
    s.r.devices_count = machine_devices(s.t, s.devices);
    assert_int_equal(s.r.devices_count, 8);
    check_server(&s);
    for (uint32_t i = 0; i < 8; i++) s.t->pci[i].nodes = 2;  // the same, all GPUs behind the second socket
    check_server(&s);
    s.r.devices_count = 0;
    check_server(&s);
    sched_topology_close(s.t);
}

// The cores of one memory node are alike, so that each GPU's thread has two choices: all 256 of them.
static void the_two_socket_server_binds_best(void **state)
{
    (void)state;
    struct server s = {.t = machine_open("server-2x64-8gpu")};
    struct sched_placement p;
    uint32_t cores[8], other[8];
    s.r = (struct sched_request){.topology = s.t, .devices = s.devices, .peers = 1};
    s.r.devices_count = machine_devices(s.t, s.devices);
    sched_placement_plan(&s.r, &p);
    cores_of_plan(&s.r, &p, cores);
    uint64_t best = UINT64_MAX;
    for (uint32_t choice = 0; choice < 256; choice++) {
        for (uint32_t g = 0; g < 8; g++) other[g] = g + (choice >> g & 1 ? 64 : 0);
        uint64_t cost = cost_of_cores(&s.r, other);
        if (cost < best) best = cost;
    }
    assert_int_equal(cost_of_cores(&s.r, cores), best);
    for (uint32_t g = 0; g < 8; g++) {  // any one of them moved to the other socket, or onto another's core, is worse
        memcpy(other, cores, sizeof other);
        other[g] = (cores[g] + 64) % 128;
        assert_true(cost_of_cores(&s.r, other) > best);
        other[g] = cores[(g + 1) % 8];
        assert_true(cost_of_cores(&s.r, other) > best);
    }
    sched_topology_close(s.t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_are_the_best_of_all),
        cmocka_unit_test(divisions_are_the_best_of_all),
        cmocka_unit_test(the_two_socket_server_is_divided_best),
        cmocka_unit_test(the_two_socket_server_binds_best),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
