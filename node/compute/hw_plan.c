#include <stdio.h>
#include <string.h>

#include "node/compute/hw.h"
#include "node/daemon.h"

enum { NO_MACHINE_HAS_MORE = 1024 };

static json_t *cpus_of(const struct sched_cpus *cpus)
{
    char text[512];
    sched_cpus_text(cpus, text, sizeof text);
    return json_string(text);
}

static json_t *lane_json(const struct sched_topology *t, const struct sched_device *devices,
                         const struct sched_lane *lane)
{
    json_t *nodes = json_array();
    for (uint32_t n = 0; n < t->nodes_count; n++)
        if (lane->nodes >> n & 1) json_array_append_new(nodes, json_integer(t->nodes[n].os_index));
    return json_pack("{s:s, s:i, s:o, s:o}", "device", lane->gpu ? devices[lane->device].name : "cpu", "threads",
                     (int)lane->threads, "cpus", cpus_of(&lane->cpus), "nodes", nodes);
}

static json_t *peer_json(const struct sched_request *r, struct sched_placement *p)
{
    sched_placement_plan(r, p);
    json_t *lanes = json_array();
    for (uint32_t i = 0; i < p->lanes_count; i++)
        json_array_append_new(lanes, lane_json(r->topology, r->devices, &p->lanes[i]));
    return json_pack("{s:i, s:i, s:I, s:o, s:o}", "index", (int)r->peer + 1, "cpus", (int)p->cpus, "memory_bytes",
                     (json_int_t)p->memory_bytes, "services", cpus_of(&p->services), "lanes", lanes);
}

// The GPUs on the bus stand for those that a driver would show; their PCI addresses name them.
static uint32_t devices_of(const struct sched_topology *t, struct sched_device *out)
{
    for (uint32_t i = 0; i < t->pci_count; i++) {
        out[i] = (struct sched_device){0};
        snprintf(out[i].name, sizeof out[i].name, "%s", t->pci[i].address);
        snprintf(out[i].pci, sizeof out[i].pci, "%s", t->pci[i].address);
    }
    return t->pci_count;
}

enum core_err node_hw_plan(const char *path, uint64_t peers, json_t **out, struct node_failure *why)
{
    struct sched_topology *t;
    struct sched_device devices[SCHED_MAX_DEVICES];
    char what[SCHED_WHY_SIZE] = "";
    *out = NULL;
    if (peers == 0 || peers > NO_MACHINE_HAS_MORE) {
        node_failure_set(why, "give --peers 1 to 1024", "no machine has %llu peers", (unsigned long long)peers);
        return CORE_ERR_USAGE;
    }
    enum core_err err = sched_topology_open_file(path, &t, what);
    if (err) {
        node_failure_set(why, "export the machine anew with `lstopo --of xml`", "%s", what);
        return err;
    }
    struct sched_placement *p = malloc(sizeof *p);
    json_t *list = json_array();
    struct sched_request r = {.topology = t, .devices = devices, .peers = (uint32_t)peers};
    r.devices_count = devices_of(t, devices);
    for (; p && r.peer < r.peers; r.peer++) json_array_append_new(list, peer_json(&r, p));
    *out = json_pack("{s:o, s:o}", "machine", hw_machine_json(t), "peers", list);
    free(p);
    sched_topology_close(t);
    return *out ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
}
