// What is read of machines: the fixtures and what they must show, broken files, this machine, control groups.
#include "machines.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sched/cgroup.h"

static void a_synthetic_machine(void **state)
{
    (void)state;
    struct sched_topology *t;
    const char *description = "package:2 [numa] l3:1(size=32MiB) l2:4(size=2MiB) l1d:1(size=48KiB) core:1 pu:2";
    assert_int_equal(sched_topology_open_synthetic(description, &t), CORE_ERR_OK);
    const struct sched_facts f = t->facts;
    assert_int_equal(f.packages, 2);
    assert_int_equal(f.nodes, 2);
    assert_int_equal(f.cores, 8);
    assert_int_equal(f.cpus, 16);
    assert_int_equal(f.cpus_usable, 16);
    assert_true(f.l3_bytes == 32u << 20 && f.l2_bytes == 2u << 20 && f.l1d_bytes == 48u << 10);
    for (uint32_t i = 0; i < 16; i++) {  // one of each core first, packages together
        assert_int_equal(t->cpus[i].core, i % 8);
        assert_int_equal(t->cpus[i].os_index, i % 8 * 2 + i / 8);
        assert_int_equal(t->cpus[i].package, i % 8 / 4);
        assert_int_equal(t->cpus[i].node, i % 8 / 4);
        assert_int_equal(t->cpus[i].sibling, i / 8);
    }
    assert_int_equal(t->caches_count, 3);
    assert_true(t->caches[1].level == 2 && t->caches[1].count == 8 && t->caches[1].cpus == 2);
    assert_true(t->distance[0][0] == 10 && t->distance[0][1] == 21);  // guessed: it says nothing
    sched_topology_close(t);
    assert_int_equal(sched_topology_open_synthetic("nothing like it", &t), CORE_ERR_MALFORMED);
    assert_null(t);
}

static void the_laptop(void **state)
{
    (void)state;
    struct sched_topology *t = machine_open("laptop-hybrid");
    assert_true(t->facts.cores_usable == 14 && t->cpus_count == 20 && t->facts.memory_bytes == (uint64_t)32 << 30);
    assert_int_equal(t->kinds_count, 2);
    assert_string_equal(t->kinds[0].name, "IntelCore");
    assert_true(t->kinds[0].cores == 6 && t->kinds[0].cpus == 12 && t->kinds[0].speed == 100);
    assert_true(t->kinds[1].cores == 8 && t->kinds[1].cpus == 8);
    assert_int_equal(t->kinds[1].speed, 37);  // 3500 of 4700 MHz, with vectors half as wide
    assert_int_equal(t->pci_count, 1);        // the graphics of the processor are none of ours
    assert_string_equal(t->pci[0].address, "0000:01:00.0");
    assert_true(t->pci[0].vendor == 0x10de && t->pci[0].device == 0x2520 && t->pci[0].nodes == 1);
    assert_int_equal(sched_cpus_count(&t->pci[0].near), 20);
    sched_topology_close(t);
}

static void the_server(void **state)
{
    (void)state;
    struct sched_topology *t = machine_open("server-2x64-8gpu");
    assert_true(t->facts.packages == 2 && t->facts.cores_usable == 128 && t->cpus_count == 256);
    assert_true(t->nodes_count == 2 && t->nodes[1].memory_bytes == (uint64_t)512 << 30 && t->nodes[1].cpus == 128);
    assert_true(t->distance[0][1] == 32 && t->distance[1][1] == 10);
    assert_true(t->caches_count == 3 && t->caches[2].count == 16 && t->caches[2].cpus == 16);
    assert_int_equal(t->pci_count, 8);  // neither the network card nor the console's graphics
    for (uint32_t i = 0; i < 8; i++) {
        char near[64];
        assert_int_equal(t->pci[i].nodes, i < 4 ? 1 : 2);
        sched_cpus_text(&t->pci[i].near, near, sizeof near);
        assert_string_equal(near, i < 4 ? "0-63,128-191" : "64-127,192-255");
    }
    assert_string_equal(t->pci[5].address, "0000:a1:00.0");
    assert_ptr_equal(sched_topology_pci(t, "0000:A1:00.0"), &t->pci[5]);
    assert_null(sched_topology_pci(t, "0000:63:00.0"));
    assert_null(sched_topology_pci(t, ""));
    sched_topology_close(t);
}

static void the_others(void **state)
{
    (void)state;
    struct sched_topology *t = machine_open("apu-ryzen");
    assert_true(t->facts.cores_usable == 8 && t->pci_count == 1 && t->pci[0].vendor == 0x1002);
    sched_topology_close(t);
    t = machine_open("apu-mi300a");
    assert_true(t->facts.cores_usable == 96 && t->nodes_count == 4 && t->pci_count == 4);
    for (uint32_t i = 0; i < 4; i++) assert_int_equal(t->pci[i].nodes, 1 << i);
    sched_topology_close(t);
    t = machine_open("cloud-vm");
    assert_true(t->facts.cores_usable == 2 && t->nodes_count == 1 && t->pci_count == 0 && t->kinds_count == 1);
    sched_topology_close(t);
}

// ---- broken files ----

static void expect(const char *text, size_t size, enum core_err err, const char *sentence)
{
    char why[SCHED_WHY_SIZE] = "";
    struct sched_topology *t;
    assert_int_equal(sched_topology_open_xml(text, size, &t, why), err);
    assert_null(t);
    if (!strstr(why, sentence)) fail_msg("'%s' does not say '%s'", why, sentence);
}

static void broken_files_say_what_is_wrong(void **state)
{
    (void)state;
    expect("", 0, CORE_ERR_TOO_SHORT, "empty");
    expect(" \n\n", 3, CORE_ERR_TOO_SHORT, "empty");
    expect("hello", 5, CORE_ERR_MALFORMED, "no <topology>");
    expect("a\0b", 3, CORE_ERR_MALFORMED, "not text");
    expect("<topology", 9, CORE_ERR_TRUNCATED, "cut short");
    static const char old[] = "<topology><object type=\"Machine\"/></topology>";
    static const char new[] = "<topology version=\"3.0\"></topology>";
    static const char bare[] = "<topology version=\"2.0\"></topology>";
    static const char odd[] = "<topology version=\"2.0\"><object type=\"Machine\" os_index=</topology>";
    expect(old, sizeof old, CORE_ERR_UNKNOWN_VERSION, "version 2");
    expect(new, sizeof new, CORE_ERR_UNKNOWN_VERSION, "version 2");
    expect(bare, sizeof bare, CORE_ERR_MALFORMED, "malformed");
    expect(odd, sizeof odd, CORE_ERR_MALFORMED, "malformed");
}

// Wherever a file ends too early, that is what is said.
static void a_file_cut_short_anywhere(void **state)
{
    (void)state;
    size_t size;
    char *text = machine_text("laptop-hybrid", &size);
    size_t begins = (size_t)(strstr(text, "<topology") - text) + sizeof "<topology", ends = strlen("</topology>") + 1;
    for (size_t at = begins; at <= size - ends; at += 97) expect(text, at, CORE_ERR_TRUNCATED, "cut short");
    expect(text, size - 2, CORE_ERR_TRUNCATED, "cut short");
    free(text);
}

static void files(void **state)
{
    (void)state;
    struct sched_topology *t;
    char why[SCHED_WHY_SIZE] = "", path[] = "/tmp/mycel-topology-XXXXXX", expected[SCHED_WHY_SIZE];
    const char *there = "tests/fixtures/topology/apu-ryzen.xml";
    assert_int_equal(sched_topology_open_file(there, &t, why), CORE_ERR_OK);
    assert_int_equal(t->facts.cores_usable, 8);
    sched_topology_close(t);
    assert_int_equal(sched_topology_open_file("nowhere/at.xml", &t, why), CORE_ERR_NOT_FOUND);
    assert_string_equal(why, "nowhere/at.xml: the topology file cannot be read: not found");
    assert_int_equal(sched_topology_open_file("tests", &t, why), CORE_ERR_IO);
    assert_int_equal(sched_topology_open_file("/dev/null", &t, why), CORE_ERR_TOO_SHORT);
    assert_string_equal(why, "/dev/null: the topology file is empty");
    int fd = mkstemp(path);
    size_t size;
    char *text = machine_text("server-2x64-8gpu", &size);
    assert_int_equal(write(fd, text, size / 2), (ssize_t)(size / 2));
    close(fd);
    assert_int_equal(sched_topology_open_file(path, &t, why), CORE_ERR_TRUNCATED);
    snprintf(expected, sizeof expected, "%s: the topology file is cut short: it does not end with </topology>", path);
    assert_string_equal(why, expected);
    unlink(path);
    free(text);
}

// ---- this machine ----

static void this_machine_within_its_affinity(void **state)
{
    (void)state;
    struct sched_topology *t;
    cpu_set_t all, one;
    assert_int_equal(sched_topology_open(&t), CORE_ERR_OK);
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    assert_int_equal(t->cpus_count, CPU_COUNT(&all));
    assert_true(t->facts.cpus >= t->cpus_count && t->facts.memory_bytes > 0 && sched_topology_memory(t) > 0);
    uint32_t last = t->cpus[t->cpus_count - 1].os_index;
    sched_topology_close(t);
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(sched_topology_open(&t), CORE_ERR_OK);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    assert_int_equal(t->cpus_count, 1);
    assert_int_equal(t->cpus[0].os_index, last);
    assert_int_equal(t->facts.cores_usable, 1);
    sched_topology_close(t);
}

static void sets_of_cpus(void **state)
{
    (void)state;
    struct sched_cpus s = {{0}};
    char text[16];
    sched_cpus_text(&s, text, sizeof text);
    assert_string_equal(text, "");
    assert_int_equal(sched_cpus_at(&s, 0), UINT32_MAX);
    for (uint32_t i = 0; i < 3; i++) sched_cpus_add(&s, i);
    sched_cpus_add(&s, 64);
    sched_cpus_add(&s, 1023);
    sched_cpus_add(&s, 1024);  // beyond: not held
    assert_int_equal(sched_cpus_count(&s), 5);
    assert_true(sched_cpus_has(&s, 64) && !sched_cpus_has(&s, 63) && !sched_cpus_has(&s, 1024));
    assert_int_equal(sched_cpus_at(&s, 3), 64);
    sched_cpus_text(&s, text, sizeof text);
    assert_string_equal(text, "0-2,64,1023");
    sched_cpus_text(&s, text, 7);
    assert_string_equal(text, "0-2,64");
}

// ---- control groups ----

static char root[64];

static void put(const char *path, const char *text)
{
    char whole[256];
    snprintf(whole, sizeof whole, "%s/%s", root, path);
    for (char *at = whole + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = 0;
        if (mkdir(whole, 0700)) (void)0;  // it is there already
        *at = '/';
    }
    int fd = open(whole, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/mycel-cgroup-XXXXXX");
    return mkdtemp(root) == NULL;
}

static int drop_root(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void groups_are(uint32_t cpus, uint64_t memory)
{
    struct sched_cgroup g;
    sched_cgroup_read(root, &g);
    assert_int_equal(g.cpus, cpus);
    assert_int_equal(g.memory_bytes, memory);
}

static void version_2(void **state)
{
    (void)state;
    groups_are(0, 0);  // no such files at all
    put("proc/self/cgroup", "0::/a/b\n");
    put("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/a/b/memory.max", "max\n");
    groups_are(0, 0);
    put("sys/fs/cgroup/a/b/cpu.max", "350000 100000\n");
    put("sys/fs/cgroup/a/b/memory.max", "2147483648\n");
    groups_are(4, (uint64_t)2 << 30);
    put("sys/fs/cgroup/a/cpu.max", "150000 100000\n");  // what is above counts too, the least of all
    put("sys/fs/cgroup/a/memory.max", "1073741824\n");
    groups_are(2, (uint64_t)1 << 30);
    put("sys/fs/cgroup/a/cpu.max", "rubbish\n");
    groups_are(4, (uint64_t)1 << 30);
    put("proc/42/cgroup", "0::/other\n");  // another process
    put("sys/fs/cgroup/other/memory.max", "268435456\n");
    struct sched_cgroup other;
    sched_cgroup_read_of(root, 42, &other);
    assert_int_equal(other.memory_bytes, 256 << 20);
}

// In a container the file names the host's path, which is not there; the mount's root is the container's group.
static void version_2_in_a_container(void **state)
{
    (void)state;
    put("proc/self/cgroup", "0::/system.slice/docker-1234.scope\n");
    put("sys/fs/cgroup/cpu.max", "200000 100000\n");
    put("sys/fs/cgroup/memory.max", "4294967296\n");
    groups_are(2, (uint64_t)4 << 30);
}

static void version_1(void **state)
{
    (void)state;
    put("proc/self/cgroup", "5:cpuset:/x\n4:cpu,cpuacct:/x\n3:memory:/x/y\n0::/\n");
    put("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/memory/x/y/memory.limit_in_bytes", "9223372036854771712\n");  // how version 1 says none
    groups_are(0, 0);
    put("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "250000\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
    groups_are(3, (uint64_t)1 << 30);
    put("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "50000\n");  // the other name of the mount
    put("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
    groups_are(1, (uint64_t)1 << 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_synthetic_machine),
        cmocka_unit_test(the_laptop),
        cmocka_unit_test(the_server),
        cmocka_unit_test(the_others),
        cmocka_unit_test(broken_files_say_what_is_wrong),
        cmocka_unit_test(a_file_cut_short_anywhere),
        cmocka_unit_test(files),
        cmocka_unit_test(this_machine_within_its_affinity),
        cmocka_unit_test(sets_of_cpus),
        cmocka_unit_test_setup_teardown(version_2, make_root, drop_root),
        cmocka_unit_test_setup_teardown(version_2_in_a_container, make_root, drop_root),
        cmocka_unit_test_setup_teardown(version_1, make_root, drop_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
