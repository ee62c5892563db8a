// Machines for the tests of sched: the fixtures' files, random small ones, and the devices that they have.
#ifndef TESTS_UNIT_SCHED_MACHINES_H
#define TESTS_UNIT_SCHED_MACHINES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/placement.h"

static inline char *machine_text(const char *name, size_t *size)
{
    char path[256];
    snprintf(path, sizeof path, "tests/fixtures/topology/%s.xml", name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    char *text = malloc(*size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, *size, f), *size);
    text[*size] = 0;
    fclose(f);
    return text;
}

static inline struct sched_topology *machine_open(const char *name)
{
    size_t size;
    char *text = machine_text(name, &size), why[SCHED_WHY_SIZE] = "";
    struct sched_topology *t;
    if (sched_topology_open_xml(text, size, &t, why)) fail_msg("%s: %s", name, why);
    free(text);
    return t;
}

// A device for each GPU on the bus.
static inline uint32_t machine_devices(const struct sched_topology *t, struct sched_device *out)
{
    for (uint32_t i = 0; i < t->pci_count; i++) {
        out[i] = (struct sched_device){.memory_bytes = (uint64_t)80 << 30};
        snprintf(out[i].name, sizeof out[i].name, "gpu:%u", i);
        memcpy(out[i].pci, t->pci[i].address, sizeof out[i].pci);
    }
    return t->pci_count;
}

static inline uint32_t machine_random(uint64_t *state, uint32_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*state >> 33) % below);
}

static inline void machine_random_cores(uint64_t *s, struct sched_topology *t)
{
    uint32_t cores = 1 + machine_random(s, 8), siblings = 1 + machine_random(s, 2);
    uint32_t node[8], kind[8];
    for (uint32_t i = 0; i < cores; i++) {
        node[i] = machine_random(s, t->nodes_count);
        kind[i] = machine_random(s, t->kinds_count);
    }
    for (uint32_t sibling = 0; sibling < siblings; sibling++)
        for (uint32_t i = 0; i < cores; i++) {
            t->cpus[t->cpus_count++] = (struct sched_cpu){sibling * cores + i, i, 0, node[i], kind[i], sibling};
            t->nodes[node[i]].cpus++;
        }
    t->facts.cores_usable = t->facts.cores = cores;
    t->facts.cpus_usable = t->facts.cpus = t->cpus_count;
}

// Up to 8 cores on up to 3 memory nodes of any distances, one or two kinds of cores, up to 4 GPUs near one node, two,
// or nobody knows which.
static inline void machine_make_random(uint64_t *s, struct sched_topology *t)
{
    memset(t, 0, sizeof *t);
    t->facts.nodes = t->nodes_count = 1 + machine_random(s, 3);
    t->kinds_count = 1 + machine_random(s, 2);
    t->kinds[0].speed = 100;
    t->kinds[1].speed = 20 + machine_random(s, 80);
    for (uint32_t i = 0; i < t->nodes_count; i++) {
        t->nodes[i] = (struct sched_node){.os_index = i, .memory_bytes = (uint64_t)8 << 30};
        t->facts.memory_bytes += t->nodes[i].memory_bytes;
        t->distance[i][i] = 10;
        for (uint32_t j = 0; j < i; j++) t->distance[i][j] = t->distance[j][i] = (uint8_t)(11 + machine_random(s, 30));
    }
    machine_random_cores(s, t);
    t->pci_count = machine_random(s, 5);
    for (uint32_t i = 0; i < t->pci_count; i++) {
        snprintf(t->pci[i].address, sizeof t->pci[i].address, "0000:%02x:00.0", i + 1);
        t->pci[i].nodes = 1 + machine_random(s, (1u << t->nodes_count) - 1);
    }
}

#endif
