// Topologies that hwloc makes from a description, and how peers share them.
#include "sched/share.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct sched_topology *synthetic(const char *description)
{
    struct sched_topology *t;
    assert_int_equal(sched_topology_open_synthetic(description, &t), CORE_ERR_OK);
    return t;
}

static void facts_of_a_synthetic_machine(void **state)
{
    (void)state;
    struct sched_topology *t =
        synthetic("package:2 [numa] l3:1(size=32MiB) l2:4(size=2MiB) l1d:1(size=48KiB) core:1 pu:2");
    const struct sched_facts f = t->facts;
    assert_int_equal(f.packages, 2);
    assert_int_equal(f.nodes, 2);
    assert_int_equal(f.cores, 8);
    assert_int_equal(f.cpus, 16);
    assert_int_equal(f.cpus_usable, 16);
    assert_true(f.l3_bytes == 32u << 20 && f.l2_bytes == 2u << 20 && f.l1d_bytes == 48u << 10);
    const struct sched_cpu *cpus = t->cpus;
    assert_int_equal(t->cpus_count, 16);
    for (uint32_t i = 0; i < 16; i++) {  // one of each core first, packages together
        assert_int_equal(cpus[i].core, i % 8);
        assert_int_equal(cpus[i].os_index, i % 8 * 2 + i / 8);
        assert_int_equal(cpus[i].package, i % 8 / 4);
        assert_int_equal(cpus[i].node, i % 8 / 4);
    }
    sched_topology_close(t);
}

// Every cpu goes to exactly one peer, and no peer gets two more than another.
static void parts_cover_the_machine(void **state)
{
    (void)state;
    struct sched_topology *t = synthetic("package:2 [numa] core:4 pu:2");
    for (uint32_t peers = 1; peers <= 16; peers++) {
        bool taken[16] = {0};
        uint32_t least = 99, most = 0;
        for (uint32_t p = 0; p < peers; p++) {
            struct sched_share s;
            sched_share_plan(t, p, peers, 0, &s);
            assert_true(s.bound);
            least = s.threads < least ? s.threads : least;
            most = s.threads > most ? s.threads : most;
            for (uint32_t i = 0; i < s.threads; i++) {
                assert_true(s.cpus[i] < 16 && !taken[s.cpus[i]]);
                taken[s.cpus[i]] = true;
            }
        }
        for (int i = 0; i < 16; i++) assert_true(taken[i]);
        assert_true(most - least <= 1 && least >= 1);
    }
    sched_topology_close(t);
}

static void more_peers_than_cpus_stay_unbound(void **state)
{
    (void)state;
    struct sched_topology *t = synthetic("core:2 pu:1");
    for (uint32_t p = 0; p < 4; p++) {
        struct sched_share s;
        sched_share_plan(t, p, 4, 0, &s);
        assert_false(s.bound);
        assert_int_equal(s.threads, 1);
        assert_int_equal(sched_share_bind(&s, 0), CORE_ERR_OK);
    }
    sched_topology_close(t);
}

static void a_limit_is_kept(void **state)
{
    (void)state;
    struct sched_topology *t = synthetic("core:8 pu:1");
    struct sched_share s;
    sched_share_plan(t, 1, 2, 3, &s);
    assert_int_equal(s.threads, 3);
    assert_int_equal(s.cpus[0], 4);
    sched_share_plan(t, 0, 2, 100, &s);
    assert_int_equal(s.threads, 4);
    sched_topology_close(t);
}

static void bad_descriptions_are_refused(void **state)
{
    (void)state;
    struct sched_topology *t;
    assert_int_equal(sched_topology_open_synthetic("nothing like it", &t), CORE_ERR_MALFORMED);
    assert_null(t);
    assert_int_equal(sched_topology_open_xml("<topology", sizeof "<topology", &t, NULL), CORE_ERR_TRUNCATED);
    assert_int_equal(sched_topology_open_xml("x", 1, &t, NULL), CORE_ERR_MALFORMED);
}

static void this_machine_is_read_and_bound(void **state)
{
    (void)state;
    struct sched_topology *t;
    struct sched_share s;
    cpu_set_t set;
    assert_int_equal(sched_topology_open(&t), CORE_ERR_OK);
    const struct sched_facts f = t->facts;
    assert_true(f.cpus >= 1 && f.cpus_usable >= 1 && f.cpus_usable <= f.cpus && f.memory_bytes > 0);
    sched_share_plan(t, 0, 1, 1, &s);
    assert_int_equal(s.threads, 1);
    assert_int_equal(sched_share_bind(&s, 0), CORE_ERR_OK);
    if (s.bound) {
        assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
        assert_int_equal(CPU_COUNT(&set), 1);
        assert_true(CPU_ISSET(s.cpus[0], &set));
    }
    sched_topology_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_of_a_synthetic_machine),      cmocka_unit_test(parts_cover_the_machine),
        cmocka_unit_test(more_peers_than_cpus_stay_unbound), cmocka_unit_test(a_limit_is_kept),
        cmocka_unit_test(bad_descriptions_are_refused),      cmocka_unit_test(this_machine_is_read_and_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
