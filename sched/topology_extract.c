#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "sched/topology_parts.h"

enum { NEAR = 10, SAME_PACKAGE = 12, FAR = 21, NVIDIA = 0x10de, AMD = 0x1002, DISPLAY = 0x03, ACCELERATOR = 0x12 };

struct extract {
    hwloc_topology_t tree;
    hwloc_bitmap_t usable;
    struct sched_topology *t;
};

static uint32_t count_of(hwloc_topology_t tree, hwloc_obj_type_t type)
{
    int n = hwloc_get_nbobjs_by_type(tree, type);
    return n > 0 ? (uint32_t)n : 0;
}

static uint32_t weight(hwloc_const_bitmap_t set)
{
    int n = hwloc_bitmap_weight(set);
    return n > 0 ? (uint32_t)n : 0;
}

static uint32_t package_of(hwloc_topology_t tree, hwloc_obj_t of)
{
    hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(tree, HWLOC_OBJ_PACKAGE, of);
    return package ? package->logical_index : UINT32_MAX;
}

static uint32_t usable_in(const struct extract *x, hwloc_const_bitmap_t cpuset)
{
    hwloc_bitmap_t both = hwloc_bitmap_alloc();
    check(both);
    hwloc_bitmap_and(both, cpuset, x->usable);
    uint32_t n = weight(both);
    hwloc_bitmap_free(both);
    return n;
}

// ---- what there is ----

static void extract_facts(const struct extract *x)
{
    struct sched_facts *f = &x->t->facts;
    f->packages = count_of(x->tree, HWLOC_OBJ_PACKAGE);
    f->cores = count_of(x->tree, HWLOC_OBJ_CORE);
    f->cpus = count_of(x->tree, HWLOC_OBJ_PU);
    f->nodes = count_of(x->tree, HWLOC_OBJ_NUMANODE);
    f->memory_bytes = hwloc_get_root_obj(x->tree)->total_memory;
    hwloc_obj_t package = hwloc_get_obj_by_type(x->tree, HWLOC_OBJ_PACKAGE, 0);
    const char *model = hwloc_obj_get_info_by_name(package ? package : hwloc_get_root_obj(x->tree), "CPUModel");
    snprintf(f->model, sizeof f->model, "%s", model ? model : "");
}

static void extract_caches(const struct extract *x)
{
    static const hwloc_obj_type_t types[] = {HWLOC_OBJ_L1CACHE, HWLOC_OBJ_L2CACHE, HWLOC_OBJ_L3CACHE};
    uint64_t *facts[] = {&x->t->facts.l1d_bytes, &x->t->facts.l2_bytes, &x->t->facts.l3_bytes};
    for (uint32_t level = 0; level < 3; level++) {
        for (uint32_t i = 0; i < count_of(x->tree, types[level]); i++) {
            hwloc_obj_t cache = hwloc_get_obj_by_type(x->tree, types[level], i);
            struct sched_cache is = {level + 1, 1, weight(cache->cpuset), cache->attr->cache.size};
            if (i == 0) *facts[level] = is.bytes;
            uint32_t at = 0;
            while (at < x->t->caches_count && (x->t->caches[at].level != is.level ||
                                               x->t->caches[at].bytes != is.bytes || x->t->caches[at].cpus != is.cpus))
                at++;
            if (at == SCHED_MAX_CACHES) continue;
            if (at < x->t->caches_count) {
                x->t->caches[at].count++;
            } else {
                x->t->caches[x->t->caches_count++] = is;
            }
        }
    }
}

static enum core_err extract_nodes(const struct extract *x)
{
    uint32_t count = count_of(x->tree, HWLOC_OBJ_NUMANODE);
    if (count == 0) return CORE_ERR_MALFORMED;
    if (count > SCHED_MAX_NODES) count = SCHED_MAX_NODES;
    for (uint32_t i = 0; i < count; i++) {
        hwloc_obj_t node = hwloc_get_obj_by_type(x->tree, HWLOC_OBJ_NUMANODE, i);
        x->t->nodes[i] = (struct sched_node){.os_index = node->os_index,
                                             .package = package_of(x->tree, node),
                                             .cpus = usable_in(x, node->cpuset),
                                             .memory_bytes = node->attr->numanode.local_memory};
    }
    x->t->nodes_count = count;
    return CORE_ERR_OK;
}

static uint32_t node_index(const struct extract *x, uint32_t os_index)
{
    for (uint32_t i = 0; i < x->t->nodes_count; i++)
        if (x->t->nodes[i].os_index == os_index) return i;
    return SCHED_NO_NODE;
}

static uint64_t nodes_mask(const struct extract *x, hwloc_const_bitmap_t nodeset)
{
    uint64_t mask = 0;
    for (uint32_t i = 0; i < x->t->nodes_count; i++)
        if (hwloc_bitmap_isset(nodeset, x->t->nodes[i].os_index)) mask |= (uint64_t)1 << i;
    return mask;
}

// The firmware's distances, kept where they make sense (10 to itself, at least 10 to others), else guessed.
static void extract_distances(const struct extract *x)
{
    struct sched_topology *t = x->t;
    for (uint32_t i = 0; i < t->nodes_count; i++)
        for (uint32_t j = 0; j < t->nodes_count; j++) {
            bool same = t->nodes[i].package == t->nodes[j].package && t->nodes[i].package != UINT32_MAX;
            t->distance[i][j] = i == j ? NEAR : same ? SAME_PACKAGE : FAR;
        }
    unsigned found = 1;
    struct hwloc_distances_s *matrix = NULL;
    if (hwloc_distances_get_by_name(x->tree, "NUMALatency", &found, &matrix, 0) || found == 0 || !matrix) return;
    for (uint32_t i = 0; i < matrix->nbobjs; i++)
        for (uint32_t j = 0; j < matrix->nbobjs; j++) {
            uint64_t value = matrix->values[(size_t)i * matrix->nbobjs + j];
            if (!matrix->objs[i] || !matrix->objs[j]) continue;
            uint32_t a = node_index(x, matrix->objs[i]->os_index), b = node_index(x, matrix->objs[j]->os_index);
            if (a != SCHED_NO_NODE && b != SCHED_NO_NODE && a != b && value >= NEAR && value <= UINT8_MAX)
                t->distance[a][b] = (uint8_t)value;
        }
    hwloc_distances_release(x->tree, matrix);
}

// ---- cores ----

static const char *info_of(struct hwloc_info_s *infos, unsigned count, const char *name)
{
    for (unsigned i = 0; i < count; i++)
        if (!strcmp(infos[i].name, name)) return infos[i].value;
    return NULL;
}

// How fast a core of a kind computes, in any unit that all kinds of the machine share; 0 where nothing is known.
// Linux's capacity says it outright; else the frequency, halved for Intel's economical cores, whose vectors are half as
// wide.
static double kind_power(struct hwloc_info_s *infos, unsigned count)
{
    const char *capacity = info_of(infos, count, "LinuxCapacity");
    if (capacity) return strtod(capacity, NULL);
    const char *max = info_of(infos, count, "FrequencyMaxMHz");
    if (!max) max = info_of(infos, count, "FrequencyBaseMHz");
    const char *type = info_of(infos, count, "CoreType");
    double power = max ? strtod(max, NULL) : 1;
    return type && !strcmp(type, "IntelAtom") ? power / 2 : power;
}

static uint32_t kind_of(const struct extract *x, hwloc_obj_t pu)
{
    int kind = hwloc_cpukinds_get_by_cpuset(x->tree, pu->cpuset, 0);
    return kind >= 0 && (uint32_t)kind < x->t->kinds_count ? x->t->kinds_count - 1 - (uint32_t)kind : 0;
}

// hwloc orders kinds from the slowest; here the fastest comes first.
static void extract_kinds(const struct extract *x)
{
    struct sched_topology *t = x->t;
    int n = hwloc_cpukinds_get_nr(x->tree, 0);
    double power[SCHED_MAX_KINDS] = {1}, most = 0;
    t->kinds_count = n > 0 && n <= SCHED_MAX_KINDS ? (uint32_t)n : 1;
    if (t->kinds_count * t->nodes_count > SCHED_MAX_GROUPS) t->kinds_count = 1;
    for (uint32_t i = 0; (uint32_t)n == t->kinds_count && i < t->kinds_count; i++) {
        struct hwloc_info_s *infos = NULL;
        unsigned count = 0;
        if (hwloc_cpukinds_get_info(x->tree, t->kinds_count - 1 - i, NULL, NULL, &count, &infos, 0)) continue;
        const char *name = info_of(infos, count, "CoreType");
        snprintf(t->kinds[i].name, sizeof t->kinds[i].name, "%s", name ? name : "");
        power[i] = kind_power(infos, count);
    }
    for (uint32_t i = 0; i < t->kinds_count; i++) most = power[i] > most ? power[i] : most;
    for (uint32_t i = 0; i < t->kinds_count; i++) {
        double percent = most > 0 && power[i] > 0 ? power[i] / most * 100 : 100;
        t->kinds[i].speed = percent < 1 ? 1 : (uint32_t)(percent + 0.5);
    }
}

static struct sched_cpu cpu_of(const struct extract *x, hwloc_obj_t pu, uint32_t core, uint32_t sibling)
{
    hwloc_obj_t node = NULL;
    uint32_t package = package_of(x->tree, pu), at = 0;
    while ((node = hwloc_get_next_obj_by_type(x->tree, HWLOC_OBJ_NUMANODE, node)) != NULL)
        if (hwloc_bitmap_isset(node->cpuset, pu->os_index)) break;
    if (node) at = node_index(x, node->os_index);
    return (struct sched_cpu){.os_index = pu->os_index,
                              .core = core,
                              .package = package == UINT32_MAX ? 0 : package,
                              .node = at == SCHED_NO_NODE ? 0 : at,
                              .kind = kind_of(x, pu),
                              .sibling = sibling};
}

static int by_sibling(const void *a, const void *b)
{
    const struct sched_cpu *x = a, *y = b;
    if (x->sibling != y->sibling) return x->sibling < y->sibling ? -1 : 1;
    return x->core < y->core ? -1 : x->core > y->core;
}

// Cpus and nodes beyond what the arrays hold are left out.
static enum core_err extract_cpus(const struct extract *x)
{
    struct sched_topology *t = x->t;
    hwloc_obj_t pu = NULL, last_core = NULL;
    uint32_t cores = 0, sibling = 0;
    while ((pu = hwloc_get_next_obj_by_type(x->tree, HWLOC_OBJ_PU, pu)) != NULL) {
        if (!hwloc_bitmap_isset(x->usable, pu->os_index)) continue;
        if (t->cpus_count == SCHED_MAX_CPUS || pu->os_index >= SCHED_MAX_CPUS) continue;
        hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(x->tree, HWLOC_OBJ_CORE, pu);
        bool same = core && core == last_core;
        sibling = same ? sibling + 1 : 0;
        if (!same) cores++;
        last_core = core;
        t->cpus[t->cpus_count++] = cpu_of(x, pu, cores - 1, sibling);
    }
    if (t->cpus_count == 0) return CORE_ERR_MALFORMED;
    qsort(t->cpus, t->cpus_count, sizeof *t->cpus, by_sibling);
    for (uint32_t i = 0; i < t->cpus_count; i++) {
        t->kinds[t->cpus[i].kind].cpus++;
        if (t->cpus[i].sibling == 0) t->kinds[t->cpus[i].kind].cores++;
    }
    t->facts.cpus_usable = t->cpus_count;
    t->facts.cores_usable = cores;
    return CORE_ERR_OK;
}

// ---- the PCI bus ----

bool topology_is_gpu(unsigned vendor, unsigned class_id)
{
    return (vendor == NVIDIA || vendor == AMD) && (class_id >> 8 == DISPLAY || class_id >> 8 == ACCELERATOR);
}

static bool is_gpu(hwloc_obj_t o)
{
    return topology_is_gpu(o->attr->pcidev.vendor_id, o->attr->pcidev.class_id);
}

static void extract_pci_one(const struct extract *x, hwloc_obj_t o, struct sched_pci *p)
{
    const struct hwloc_pcidev_attr_s *a = &o->attr->pcidev;
    snprintf(p->address, sizeof p->address, "%04x:%02x:%02x.%01x", a->domain & 0xffff, a->bus, a->dev, a->func);
    p->vendor = a->vendor_id;
    p->device = a->device_id;
    p->class_id = a->class_id;
    const char *name = hwloc_obj_get_info_by_name(o, "PCIDevice");
    if (name) {
        snprintf(p->name, sizeof p->name, "%s", name);
    } else {
        snprintf(p->name, sizeof p->name, "%s %04x:%04x", p->vendor == AMD ? "AMD" : "NVIDIA", p->vendor, p->device);
    }
    hwloc_obj_t at = hwloc_get_non_io_ancestor_obj(x->tree, o);
    p->nodes = at && at->nodeset ? nodes_mask(x, at->nodeset) : 0;
    if (!p->nodes) p->nodes = x->t->nodes_count == 64 ? UINT64_MAX : ((uint64_t)1 << x->t->nodes_count) - 1;
    for (uint32_t i = 0; i < x->t->cpus_count; i++)
        if (at && at->cpuset && hwloc_bitmap_isset(at->cpuset, x->t->cpus[i].os_index))
            sched_cpus_add(&p->near, x->t->cpus[i].os_index);
    if (sched_cpus_count(&p->near)) return;
    for (uint32_t i = 0; i < x->t->cpus_count; i++) sched_cpus_add(&p->near, x->t->cpus[i].os_index);
}

static int by_address(const void *a, const void *b)
{
    return strcmp(((const struct sched_pci *)a)->address, ((const struct sched_pci *)b)->address);
}

static void extract_pci(const struct extract *x)
{
    hwloc_obj_t o = NULL;
    while ((o = hwloc_get_next_pcidev(x->tree, o)) != NULL)
        if (is_gpu(o) && x->t->pci_count < SCHED_MAX_PCI) extract_pci_one(x, o, &x->t->pci[x->t->pci_count++]);
    qsort(x->t->pci, x->t->pci_count, sizeof *x->t->pci, by_address);
}

enum core_err topology_extract(hwloc_topology_t tree, bool here, struct sched_topology *t)
{
    struct extract x = {tree, hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(tree)), t};
    hwloc_bitmap_t bound = hwloc_bitmap_alloc();
    check(x.usable && bound);
    if (here && !hwloc_get_cpubind(tree, bound, HWLOC_CPUBIND_PROCESS) && hwloc_bitmap_intersects(x.usable, bound))
        hwloc_bitmap_and(x.usable, x.usable, bound);
    hwloc_bitmap_free(bound);
    extract_facts(&x);
    extract_caches(&x);
    enum core_err err = extract_nodes(&x);
    if (!err) extract_kinds(&x);
    if (!err) extract_distances(&x);
    if (!err) err = extract_cpus(&x);
    if (!err) extract_pci(&x);
    hwloc_bitmap_free(x.usable);
    return err;
}
