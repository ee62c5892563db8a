#include "sched/topology.h"

#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"

struct sched_topology {
    hwloc_topology_t tree;
    bool this_machine;
};

static enum core_err open_tree(struct sched_topology **out, const char *synthetic, const char *xml, size_t size)
{
    *out = NULL;
    struct sched_topology *t = calloc(1, sizeof *t);
    if (!t) return CORE_ERR_NO_MEMORY;
    if (hwloc_topology_init(&t->tree)) {
        free(t);
        return CORE_ERR_NO_MEMORY;
    }
    bool given = synthetic || xml;
    int bad = 0;
    if (synthetic) bad = hwloc_topology_set_synthetic(t->tree, synthetic);
    if (xml) bad = hwloc_topology_set_xmlbuffer(t->tree, xml, (int)size);
    if (!bad) bad = hwloc_topology_load(t->tree);
    if (bad) {
        sched_topology_close(t);
        return given ? CORE_ERR_MALFORMED : CORE_ERR_IO;
    }
    t->this_machine = !given;
    *out = t;
    return CORE_ERR_OK;
}

enum core_err sched_topology_open(struct sched_topology **out)
{
    return open_tree(out, NULL, NULL, 0);
}

enum core_err sched_topology_open_synthetic(const char *description, struct sched_topology **out)
{
    return open_tree(out, description, NULL, 0);
}

enum core_err sched_topology_open_xml(const char *xml, size_t size, struct sched_topology **out)
{
    *out = NULL;
    if (!size || size > INT32_MAX || xml[size - 1]) return CORE_ERR_MALFORMED;  // hwloc counts the final zero
    return open_tree(out, NULL, xml, size);
}

void sched_topology_close(struct sched_topology *t)
{
    if (!t) return;
    hwloc_topology_destroy(t->tree);
    free(t);
}

// The cpus that this process may run on: what hwloc allows (cgroup sets), cut by the thread's affinity here.
static hwloc_bitmap_t usable_set(const struct sched_topology *t)
{
    hwloc_bitmap_t set = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(t->tree)), bound = hwloc_bitmap_alloc();
    check(set && bound);
    if (t->this_machine && !hwloc_get_cpubind(t->tree, bound, HWLOC_CPUBIND_PROCESS) &&
        hwloc_bitmap_intersects(set, bound)) {
        hwloc_bitmap_and(set, set, bound);
    }
    hwloc_bitmap_free(bound);
    return set;
}

static uint32_t count_of(const struct sched_topology *t, hwloc_obj_type_t type)
{
    int n = hwloc_get_nbobjs_by_type(t->tree, type);
    return n > 0 ? (uint32_t)n : 0;
}

static uint64_t cache_bytes(const struct sched_topology *t, hwloc_obj_type_t type)
{
    hwloc_obj_t cache = hwloc_get_obj_by_type(t->tree, type, 0);
    return cache && cache->attr ? cache->attr->cache.size : 0;
}

// cgroup's "quota period" in microseconds, or "max period": whole cpus, rounded up; 0 for no limit.
static uint32_t quota_of(const char *path)
{
    unsigned long long quota, period;
    FILE *f = fopen(path, "re");
    if (!f) return 0;
    int got = fscanf(f, "%llu %llu", &quota, &period);
    fclose(f);
    return got == 2 && period && quota ? (uint32_t)((quota + period - 1) / period) : 0;
}

static void copy_model(const struct sched_topology *t, char *to, size_t size)
{
    hwloc_obj_t package = hwloc_get_obj_by_type(t->tree, HWLOC_OBJ_PACKAGE, 0);
    hwloc_obj_t from = package ? package : hwloc_get_root_obj(t->tree);
    const char *model = hwloc_obj_get_info_by_name(from, "CPUModel");
    snprintf(to, size, "%s", model ? model : "");
}

void sched_topology_facts(const struct sched_topology *t, struct sched_facts *out)
{
    *out = (struct sched_facts){.packages = count_of(t, HWLOC_OBJ_PACKAGE), .cores = count_of(t, HWLOC_OBJ_CORE)};
    out->cpus = count_of(t, HWLOC_OBJ_PU);
    out->nodes = count_of(t, HWLOC_OBJ_NUMANODE);
    out->l1d_bytes = cache_bytes(t, HWLOC_OBJ_L1CACHE);
    out->l2_bytes = cache_bytes(t, HWLOC_OBJ_L2CACHE);
    out->l3_bytes = cache_bytes(t, HWLOC_OBJ_L3CACHE);
    out->memory_bytes = hwloc_get_root_obj(t->tree)->total_memory;
    copy_model(t, out->model, sizeof out->model);
    hwloc_bitmap_t usable = usable_set(t);
    int weight = hwloc_bitmap_weight(usable);
    hwloc_bitmap_free(usable);
    out->cpus_usable = weight > 0 ? (uint32_t)weight : out->cpus;
    if (t->this_machine) out->cpus_quota = quota_of("/sys/fs/cgroup/cpu.max");
}

static uint32_t logical_of(hwloc_obj_t of, const struct sched_topology *t, hwloc_obj_type_t type)
{
    hwloc_obj_t above = hwloc_get_ancestor_obj_by_type(t->tree, type, of);
    return above ? above->logical_index : of->logical_index;
}

static uint32_t node_of(const struct sched_topology *t, hwloc_obj_t pu)
{
    hwloc_obj_t node = NULL;
    while ((node = hwloc_get_next_obj_by_type(t->tree, HWLOC_OBJ_NUMANODE, node)) != NULL) {
        if (hwloc_bitmap_isset(node->cpuset, pu->os_index)) return node->logical_index;
    }
    return 0;
}

uint32_t sched_topology_cpus(const struct sched_topology *t, struct sched_cpu *out, uint32_t capacity)
{
    hwloc_bitmap_t usable = usable_set(t);
    uint32_t found = 0;
    bool more = true;
    for (uint32_t sibling = 0; more; sibling++) {  // the first cpu of each core, then the second of each ...
        more = false;
        uint32_t last_core = UINT32_MAX, at = 0;
        for (uint32_t i = 0; i < count_of(t, HWLOC_OBJ_PU); i++) {
            hwloc_obj_t pu = hwloc_get_obj_by_type(t->tree, HWLOC_OBJ_PU, i);
            if (!hwloc_bitmap_isset(usable, pu->os_index)) continue;
            uint32_t core = logical_of(pu, t, HWLOC_OBJ_CORE);
            at = core == last_core ? at + 1 : 0;
            last_core = core;
            more |= at > sibling;
            if (at != sibling) continue;
            if (found < capacity) {
                hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(t->tree, HWLOC_OBJ_PACKAGE, pu);
                out[found] =
                    (struct sched_cpu){pu->os_index, core, package ? package->logical_index : 0, node_of(t, pu)};
            }
            found++;
        }
    }
    hwloc_bitmap_free(usable);
    return found;
}
