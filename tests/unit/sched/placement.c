// What placement gives on the fixtures, what limits leave of it, and that the peers of one host take different parts.
#include "machines.h"

#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

struct machine {
    struct sched_topology *t;
    struct sched_device devices[SCHED_MAX_DEVICES];
    struct sched_request r;
    struct sched_placement p;
};

static struct machine open_fixture(const char *name)
{
    struct machine m = {.t = machine_open(name)};
    m.r = (struct sched_request){.topology = m.t, .peers = 1};
    m.r.devices_count = machine_devices(m.t, m.devices);
    return m;
}

static void plan(struct machine *m)
{
    m->r.devices = m->devices;
    sched_placement_plan(&m->r, &m->p);
}

static const struct sched_lane *cpu_lane(const struct machine *m)
{
    return &m->p.lanes[m->p.lanes_count - 1];
}

static void assert_cpus(const struct sched_cpus *s, const char *text)
{
    char is[256];
    sched_cpus_text(s, is, sizeof is);
    assert_string_equal(is, text);
}

static void the_laptop(void **state)
{
    (void)state;
    struct machine m = open_fixture("laptop-hybrid");
    plan(&m);
    assert_int_equal(m.p.lanes_count, 2);
    assert_true(m.p.lanes[0].gpu && m.p.lanes[0].threads == 1 && m.p.lanes[0].nodes == 1);
    assert_cpus(&m.p.lanes[0].cpus, "12");  // an economical core drives the GPU
    assert_false(cpu_lane(&m)->gpu);
    assert_cpus(&cpu_lane(&m)->cpus, "0,2,4,6,8,10");  // 6 fast cores do more than 13 of which one is slow
    assert_cpus(&m.p.services, "1,3,5,7,9,11,13-19");  // second threads and economical cores serve
    assert_int_equal(m.p.cpus, 20);
    assert_true(m.p.memory_bytes == (uint64_t)16 << 30 || m.p.memory_bytes / 100 == ((uint64_t)16 << 30) / 100);
    sched_topology_close(m.t);
}

static void the_server(void **state)
{
    (void)state;
    struct machine m = open_fixture("server-2x64-8gpu");
    plan(&m);
    assert_int_equal(m.p.lanes_count, 9);
    for (uint32_t g = 0; g < 8; g++) {
        uint32_t cpu = sched_cpus_at(&m.p.lanes[g].cpus, 0);
        assert_int_equal(m.p.lanes[g].device, g);
        assert_int_equal(cpu / 64, g / 4);  // its own socket
        assert_true(sched_cpus_has(&m.p.lanes[g].cpus, cpu + 128));
        assert_int_equal(sched_cpus_count(&m.p.lanes[g].cpus), 2);  // the whole core
        assert_int_equal(m.p.lanes[g].nodes, g < 4 ? 1 : 2);
    }
    assert_int_equal(cpu_lane(&m)->threads, 120);
    assert_int_equal(cpu_lane(&m)->nodes, 3);
    assert_int_equal(sched_cpus_count(&m.p.services), 120);
    assert_int_equal(m.p.cpus, 256);
    sched_topology_close(m.t);
}

// Eight peers: each has one GPU and 16 cores of its socket, and nobody else has any of them.
static void eight_peers_on_the_server(void **state)
{
    (void)state;
    struct machine m = open_fixture("server-2x64-8gpu");
    m.r.peers = 8;
    for (m.r.peer = 0; m.r.peer < 8; m.r.peer++) {
        char text[64];
        plan(&m);
        uint32_t from = m.r.peer * 16;
        assert_int_equal(m.p.lanes_count, 2);
        assert_int_equal(m.p.lanes[0].device, m.r.peer);
        snprintf(text, sizeof text, "%u,%u", from, from + 128);
        assert_cpus(&m.p.lanes[0].cpus, text);
        snprintf(text, sizeof text, "%u-%u", from + 1, from + 15);
        assert_cpus(&cpu_lane(&m)->cpus, text);
        snprintf(text, sizeof text, "%u-%u", from + 129, from + 143);
        assert_cpus(&m.p.services, text);
        assert_int_equal(cpu_lane(&m)->nodes, m.r.peer < 4 ? 1 : 2);
        assert_int_equal(m.p.memory_bytes / 100, ((uint64_t)64 << 30) / 100);
    }
    sched_topology_close(m.t);
}

static void the_others(void **state)
{
    (void)state;
    struct machine m = open_fixture("apu-ryzen");
    plan(&m);
    assert_int_equal(m.p.lanes_count, 2);
    assert_cpus(&m.p.lanes[0].cpus, "0-1");
    assert_cpus(&cpu_lane(&m)->cpus, "2,4,6,8,10,12,14");
    sched_topology_close(m.t);

    m = open_fixture("apu-mi300a");
    for (m.r.peers = 4; m.r.peer < 4; m.r.peer++) {
        plan(&m);
        assert_int_equal(m.p.lanes[0].nodes, 1 << m.r.peer);
        assert_int_equal(cpu_lane(&m)->nodes, 1 << m.r.peer);
        assert_int_equal(cpu_lane(&m)->threads, 22);  // 24 cores: the GPU's, and one in 16 for the services
        assert_int_equal(sched_cpus_count(&m.p.services), 1);
    }
    sched_topology_close(m.t);

    m = open_fixture("cloud-vm");
    plan(&m);
    assert_int_equal(m.p.lanes_count, 1);
    assert_int_equal(cpu_lane(&m)->threads, 2);
    assert_cpus(&m.p.services, "0-1");  // too few cores to keep one for them
    sched_topology_close(m.t);
}

// ---- the owner's limits ----

static void limits_of_cpus_and_share(void **state)
{
    (void)state;
    struct machine m = open_fixture("server-2x64-8gpu");
    m.r.limits.cpus = 12;
    plan(&m);
    assert_int_equal(m.p.cpus, 12);
    assert_int_equal(m.p.lanes_count, 9);
    for (uint32_t g = 0; g < 8; g++) assert_int_equal(sched_cpus_at(&m.p.lanes[g].cpus, 0) / 64, g / 4);
    assert_int_equal(cpu_lane(&m)->threads, 4);

    m.r.limits.cpus = 3;  // fewer cores than GPUs: they share, near where it can be
    plan(&m);
    assert_int_equal(m.p.cpus, 3);
    assert_int_equal(m.p.lanes_count, 9);
    assert_int_equal(cpu_lane(&m)->threads, 3);

    m.r.limits = (struct sched_limits){.share_percent = 25, .memory_bytes = (uint64_t)7 << 30};
    plan(&m);
    assert_int_equal(m.p.cpus, 64);  // 32 cores with both threads
    assert_int_equal(cpu_lane(&m)->threads, 24);
    assert_int_equal(m.p.lanes[0].duty_percent, 25);
    assert_int_equal(cpu_lane(&m)->duty_percent, 100);
    assert_true(m.p.lanes[0].memory_bytes == ((uint64_t)80 << 30) / 100 * 25);
    assert_true(m.p.memory_bytes == (uint64_t)7 << 30 && cpu_lane(&m)->memory_bytes == m.p.memory_bytes);

    m.r.limits = (struct sched_limits){.share_percent = 1};
    plan(&m);
    assert_int_equal(m.p.cpus, 4);  // 128 cores: two, rounded up
    sched_topology_close(m.t);
}

static void limits_of_gpus(void **state)
{
    (void)state;
    struct machine m = open_fixture("server-2x64-8gpu");
    m.r.limits = (struct sched_limits){.gpus_limited = true};
    plan(&m);
    assert_int_equal(m.p.lanes_count, 1);
    m.r.limits.gpus = 3;
    plan(&m);
    assert_int_equal(m.p.lanes_count, 4);
    assert_int_equal(m.p.lanes[2].device, 2);
    m.r.peers = 2;
    m.r.peer = 1;
    plan(&m);
    assert_int_equal(m.p.lanes_count, 4);
    assert_int_equal(m.p.lanes[0].device, 4);  // of its own part
    m.r.limits = (struct sched_limits){.gpus_limited = true, .gpus_named = true, .gpu_named = {[1] = true, [6] = true}};
    plan(&m);
    assert_int_equal(m.p.lanes_count, 3);  // those named, whoever's part they are
    assert_int_equal(m.p.lanes[0].device, 1);
    assert_int_equal(m.p.lanes[1].device, 6);
    sched_topology_close(m.t);
}

// ---- several peers ----

// Every core goes to exactly one peer with all its threads, no peer gets two more than another, a limit is kept, and
// every GPU has one lane. Over random machines, peers and limits.
static void parts_cover_the_machine(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (uint32_t i = 0; i < 500; i++) {
        struct sched_topology t;
        struct sched_device devices[SCHED_MAX_DEVICES];
        uint32_t used[64] = {0}, lanes[8] = {0}, least = 99, most = 0;
        machine_make_random(&seed, &t);
        struct sched_request r = {.topology = &t, .devices = devices, .devices_count = machine_devices(&t, devices)};
        r.peers = 1 + machine_random(&seed, t.facts.cores_usable);
        uint32_t limit = machine_random(&seed, 3) ? 0 : 1 + machine_random(&seed, 4);
        r.limits.cpus = limit;
        for (r.peer = 0; r.peer < r.peers; r.peer++) {
            struct sched_placement p;
            uint32_t mine = 0;
            sched_placement_plan(&r, &p);
            assert_true(p.lanes_count >= 1 && p.lanes[p.lanes_count - 1].threads >= 1);
            for (uint32_t l = 0; l < p.lanes_count; l++)
                if (p.lanes[l].gpu) lanes[p.lanes[l].device]++;
            for (uint32_t c = 0; c < t.cpus_count; c++) {
                bool here = sched_cpus_has(&p.services, c);
                for (uint32_t l = 0; l < p.lanes_count; l++) here |= sched_cpus_has(&p.lanes[l].cpus, c);
                used[c] += here;
                mine += here;
            }
            assert_int_equal(mine, p.cpus);
            if (limit) assert_true(mine <= limit);
            least = mine < least ? mine : least;
            most = mine > most ? mine : most;
        }
        uint32_t siblings = t.cpus_count / t.facts.cores_usable;
        for (uint32_t c = 0; c < t.cpus_count; c++) assert_true(limit ? used[c] <= 1 : used[c] == 1);
        for (uint32_t g = 0; g < r.devices_count; g++) assert_int_equal(lanes[g], 1);
        assert_true(most - least <= siblings && least >= 1);
    }
}

// Each peer of a machine with two kinds of cores gets some of both.
static void kinds_are_divided(void **state)
{
    (void)state;
    struct machine m = open_fixture("laptop-hybrid");
    for (m.r.peers = 2; m.r.peer < 2; m.r.peer++) {
        uint32_t fast = 0;
        plan(&m);
        for (uint32_t c = 0; c < 12; c += 2)
            fast += sched_cpus_has(&m.p.services, c) || sched_cpus_has(&cpu_lane(&m)->cpus, c) ||
                    sched_cpus_has(&m.p.lanes[0].cpus, c);
        assert_int_equal(fast, 3);
    }
    sched_topology_close(m.t);
}

// Peers come in the order of their ids; a single GPU goes to the first.
static void few_gpus_go_to_the_first_peers(void **state)
{
    (void)state;
    struct machine m = open_fixture("apu-ryzen");
    for (m.r.peers = 3; m.r.peer < 3; m.r.peer++) {
        plan(&m);
        assert_int_equal(m.p.lanes_count, m.r.peer == 0 ? 2 : 1);
    }
    sched_topology_close(m.t);
}

static void more_peers_than_cores_stay_unbound(void **state)
{
    (void)state;
    struct machine m = open_fixture("server-2x64-8gpu");
    for (m.r.peers = 200; m.r.peer < 200; m.r.peer++) {
        plan(&m);
        const struct sched_lane *lane = cpu_lane(&m);
        assert_true(lane->threads == 1 && !lane->each_to_one && sched_cpus_count(&lane->cpus) == 0);
        assert_int_equal(sched_cpus_count(&m.p.services), 0);
        if (m.p.lanes_count == 2) assert_int_equal(sched_cpus_count(&m.p.lanes[0].cpus), 128);  // its GPU's socket
        assert_int_equal(m.p.memory_bytes / 100, ((uint64_t)512 << 30) / 200 / 100);
    }
    sched_topology_close(m.t);
}

static void a_quota_of_time_counts_like_missing_cores(void **state)
{
    (void)state;
    struct machine m = open_fixture("apu-ryzen");
    m.t->facts.cpus_quota = 3;
    plan(&m);
    assert_true(cpu_lane(&m)->threads == 3 && sched_cpus_count(&cpu_lane(&m)->cpus) == 0);
    m.r.limits.share_percent = 50;
    plan(&m);
    assert_int_equal(cpu_lane(&m)->threads, 2);
    m.t->facts.cpus_quota = 8;  // as many as there are cores: no limit
    m.r.limits.share_percent = 0;
    plan(&m);
    assert_int_equal(cpu_lane(&m)->threads, 7);
    assert_true(cpu_lane(&m)->each_to_one);
    sched_topology_close(m.t);
}

static void memory_of_many_peers(void **state)
{
    (void)state;
    struct machine m = open_fixture("apu-ryzen");
    m.t->facts.memory_limit_bytes = (uint64_t)8 << 30;  // a cgroup's
    plan(&m);
    assert_int_equal(m.p.memory_bytes / 100, ((uint64_t)4 << 30) / 100);
    m.r.peers = 8;
    plan(&m);
    assert_int_equal(m.p.memory_bytes / 100, SCHED_MEMORY_FLOOR / 100);
    m.t->facts.memory_limit_bytes = (uint64_t)1 << 30;
    plan(&m);
    assert_int_equal(m.p.memory_bytes / 100, ((uint64_t)1 << 29) / 100);
    sched_topology_close(m.t);
}

// ---- binding ----

static void threads_are_bound_here(void **state)
{
    (void)state;
    struct sched_topology *t;
    struct sched_placement p;
    cpu_set_t before, after;
    assert_int_equal(sched_topology_open(&t), CORE_ERR_OK);
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    struct sched_request r = {.topology = t, .peers = 1};
    sched_placement_plan(&r, &p);
    const struct sched_lane *lane = &p.lanes[p.lanes_count - 1];
    assert_int_equal(sched_lane_bind(t, lane, 0), CORE_ERR_OK);
    if (lane->each_to_one) {
        assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
        assert_int_equal(CPU_COUNT(&after), 1);
        assert_true(CPU_ISSET(sched_cpus_at(&lane->cpus, 0), &after));
    }
    // What isn't bound may run everywhere again, also where it was bound before.
    assert_int_equal(sched_lane_bind(t, &(struct sched_lane){.threads = 1}, 0), CORE_ERR_OK);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    p.services = (struct sched_cpus){{0}};
    sched_cpus_add(&p.services, t->cpus[t->cpus_count - 1].os_index);
    assert_int_equal(sched_services_bind(t, &p, gettid()), CORE_ERR_OK);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_COUNT(&after) == 1 && CPU_ISSET(t->cpus[t->cpus_count - 1].os_index, &after));
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    struct sched_lane nowhere = {.threads = 1};
    sched_cpus_add(&nowhere.cpus, 1000);  // none of this machine's
    assert_int_equal(sched_lane_bind(t, &nowhere, 0), CORE_ERR_REFUSED);
    sched_topology_close(t);
}

// The policy is set on a machine that says it has several nodes; node 0 exists wherever the kernel knows of nodes.
static void memory_is_bound_here(void **state)
{
    (void)state;
    enum { BITS = 4096 };
    unsigned long mask[BITS / 64] = {0};
    int mode = -1;
    static struct sched_topology t;
    cpu_set_t before;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    for (uint32_t i = 0; i < SCHED_MAX_CPUS; i++)
        if (CPU_ISSET(i, &before)) t.cpus[t.cpus_count++].os_index = i;
    t.nodes_count = 3;
    t.nodes[2].os_index = 900;                                           // none of a test machine's
    if (syscall(SYS_get_mempolicy, &mode, mask, BITS, NULL, 0)) return;  // a kernel without memory nodes
    assert_int_equal(sched_lane_bind(&t, &(struct sched_lane){.nodes = 1}, 0), CORE_ERR_OK);
    assert_int_equal(syscall(SYS_get_mempolicy, &mode, mask, BITS, NULL, 0), 0);
    assert_int_equal(mode, MPOL_PREFERRED);
    assert_int_equal(mask[0], 1);
    assert_int_equal(sched_lane_bind(&t, &(struct sched_lane){.nodes = 3}, 0), CORE_ERR_OK);
    assert_int_equal(syscall(SYS_get_mempolicy, &mode, mask, BITS, NULL, 0), 0);
    assert_int_equal(mode, MPOL_INTERLEAVE);
    assert_int_equal(sched_lane_bind(&t, &(struct sched_lane){.nodes = 4}, 0), CORE_ERR_REFUSED);
    assert_int_equal(sched_lane_bind(&t, &(struct sched_lane){.nodes = 0}, 0), CORE_ERR_OK);
    assert_int_equal(syscall(SYS_get_mempolicy, &mode, mask, BITS, NULL, 0), 0);
    assert_int_equal(mode, MPOL_DEFAULT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_laptop),
        cmocka_unit_test(the_server),
        cmocka_unit_test(eight_peers_on_the_server),
        cmocka_unit_test(the_others),
        cmocka_unit_test(limits_of_cpus_and_share),
        cmocka_unit_test(limits_of_gpus),
        cmocka_unit_test(parts_cover_the_machine),
        cmocka_unit_test(kinds_are_divided),
        cmocka_unit_test(few_gpus_go_to_the_first_peers),
        cmocka_unit_test(more_peers_than_cores_stay_unbound),
        cmocka_unit_test(a_quota_of_time_counts_like_missing_cores),
        cmocka_unit_test(memory_of_many_peers),
        cmocka_unit_test(threads_are_bound_here),
        cmocka_unit_test(memory_is_bound_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
