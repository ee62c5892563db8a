#include "node/compute/hw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/control/verbs.h"
#include "node/daemon.h"

static void put(json_t *o, const char *key, uint64_t value)
{
    json_object_set_new(o, key, json_integer((json_int_t)value));
}

// A number that may not be known.
static void put_known(json_t *o, const char *key, uint64_t value)
{
    json_object_set_new(o, key, value ? json_integer((json_int_t)value) : json_null());
}

static void put_rates(json_t *o, const struct measure_rates *rates)
{
    bool known = rates->gflops > 0;
    json_object_set_new(o, "gflops", known ? json_number(rates->gflops) : json_null());
    json_object_set_new(o, "gbytes_per_s", known ? json_number(rates->gbytes_per_s) : json_null());
}

static json_t *cpus_text(const struct sched_cpus *cpus)
{
    char text[512];
    sched_cpus_text(cpus, text, sizeof text);
    return json_string(text);
}

// ---- the machine ----

static json_t *nodes_json(const struct sched_topology *t)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < t->nodes_count; i++) {
        const struct sched_node *node = &t->nodes[i];
        struct sched_cpus cpus = {0};
        for (uint32_t c = 0; c < t->cpus_count; c++)
            if (t->cpus[c].node == i) sched_cpus_add(&cpus, t->cpus[c].os_index);
        json_t *o = json_object();
        put(o, "node", node->os_index);
        json_object_set_new(o, "package", node->package == UINT32_MAX ? json_null() : json_integer(node->package));
        json_object_set_new(o, "cpus", cpus_text(&cpus));
        put_known(o, "memory_bytes", node->memory_bytes);
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *caches_json(const struct sched_topology *t)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < t->caches_count; i++) {
        const struct sched_cache *c = &t->caches[i];
        json_array_append_new(list, json_pack("{s:i, s:i, s:i, s:I}", "level", (int)c->level, "count", (int)c->count,
                                              "cpus", (int)c->cpus, "bytes", (json_int_t)c->bytes));
    }
    return list;
}

static json_t *kinds_json(const struct sched_topology *t)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < t->kinds_count; i++) {
        const struct sched_kind *k = &t->kinds[i];
        json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:i}", "name", k->name, "cores", (int)k->cores, "cpus",
                                              (int)k->cpus, "speed_percent", (int)k->speed));
    }
    return list;
}

static json_t *pci_json(const struct sched_topology *t)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < t->pci_count; i++) {
        const struct sched_pci *p = &t->pci[i];
        json_t *near = json_array();
        for (uint32_t k = 0; k < t->nodes_count; k++)
            if (p->nodes >> k & 1) json_array_append_new(near, json_integer(t->nodes[k].os_index));
        json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "pci", p->address, "name", p->name, "nodes", near));
    }
    return list;
}

json_t *hw_machine_json(const struct sched_topology *t)
{
    const struct sched_facts *f = &t->facts;
    json_t *o = json_object();
    json_object_set_new(o, "model", json_string(f->model));
    put(o, "packages", f->packages);
    put(o, "cores", f->cores);
    put(o, "cpus", f->cpus);
    put(o, "cores_usable", f->cores_usable);
    put(o, "cpus_usable", f->cpus_usable);
    put_known(o, "cpus_quota", f->cpus_quota);
    put_known(o, "memory_bytes", f->memory_bytes);
    put_known(o, "memory_limit_bytes", f->memory_limit_bytes);
    json_object_set_new(o, "nodes", nodes_json(t));
    json_object_set_new(o, "caches", caches_json(t));
    json_object_set_new(o, "kinds", kinds_json(t));
    json_object_set_new(o, "pci", pci_json(t));
    return o;
}

// ---- devices ----

static json_t *device_json(const char *name, const struct hip_facts *f, const struct measure_rates *rates)
{
    json_t *o = json_pack("{s:s, s:b, s:s, s:s, s:s, s:i, s:s}", "name", name, "usable", 1, "model", f->name, "image",
                          f->isa, "driver", f->driver, "threads", (int)f->threads, "pci", f->pci);
    put_known(o, "units", f->units);
    put_known(o, "memory_bytes", f->memory_bytes);
    put_rates(o, rates);
    json_object_set_new(o, "why", json_null());
    return o;
}

static json_t *unusable_json(const struct hip_found *f)
{
    return json_pack("{s:s, s:b, s:s}", "name", f->name, "usable", 0, "why", f->why);
}

json_t *hw_devices_json(const struct node *n)
{
    const struct lanes *lanes = &n->lanes;
    json_t *list = json_array();
    for (uint32_t i = 0; i < lanes->count; i++) {
        const struct lane *l = &lanes->lane[i];
        json_array_append_new(list, device_json(l->name, &l->facts, &l->rates));
    }
    for (uint32_t i = 0; i < lanes->found_count; i++)
        if (!lanes->found[i].usable) json_array_append_new(list, unusable_json(&lanes->found[i]));
    return list;
}

// ---- a running peer ----

static json_t *lane_json(struct node *n, struct lane *l)
{
    enum lane_state state = lane_state(n, l);
    const struct lane_job *j = l->current;
    // What the CPU does beside, it does on the same cpus.
    if (!j && l == &n->lanes.lane[LANE_CPU]) j = n->lanes.aside.current;
    const struct sched_lane *place = l->number == SCHED_NO_LANE ? NULL : &n->lanes.placement.lanes[l->number];
    json_t *o =
        json_pack("{s:s, s:s, s:s}", "device", l->name, "model", l->facts.name, "state", lane_state_name(state));
    json_object_set_new(o, "doing", j ? json_string(j->job.name) : json_null());
    json_object_set_new(o, "run", j && !hash_is_zero(&j->subject) ? json_hash(&j->subject) : json_null());
    put(o, "waiting", lane_waiting(l));
    json_object_set_new(o, "busy", json_number(l->busy));
    put(o, "threads", place ? place->threads : 0);
    json_object_set_new(o, "cpus", place ? cpus_text(&place->cpus) : json_string(""));
    put(o, "memory_bytes", place ? place->memory_bytes : 0);
    put(o, "duty_percent", place ? place->duty_percent : 0);
    double rate = l->number == SCHED_NO_LANE ? 0 : n->lanes.load.lanes[l->number].rate;
    json_object_set_new(o, "gflops", rate > 0 ? json_number(rate) : json_null());
    put(o, "losses", l->losses);
    bool lost = state == LANE_LOST || state == LANE_PROBING;
    json_object_set_new(o, "why", lost ? json_string(l->why) : json_null());
    json_object_set_new(o, "retry_s", state == LANE_LOST ? json_integer((json_int_t)lane_retry_s(n, l)) : json_null());
    return o;
}

json_t *hw_lanes_json(struct node *n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < n->lanes.count; i++) json_array_append_new(list, lane_json(n, &n->lanes.lane[i]));
    return list;
}

static const char *looked_text(const struct node *n)
{
    switch (n->lanes.looked) {
    case LANES_NOT_LOOKED: return "not wanted";
    case LANES_LOOKING: return "looking";
    case LANES_LOOKED: return "looked";
    }
    return "";
}

json_t *hw_peer_json(struct node *n)
{
    const struct lanes *lanes = &n->lanes;
    const struct node_options *o = n->options;
    json_t *limits = json_object();
    put_known(limits, "cpus", o->cpus);
    put_known(limits, "memory_bytes", o->memory_bytes);
    json_object_set_new(limits, "gpus", json_string(o->gpus ? o->gpus : "all"));
    put(limits, "share_percent", o->share_percent ? o->share_percent : 100);
    json_t *p =
        json_pack("{s:s, s:i, s:i, s:o, s:i, s:s}", "name", n->own.name, "index", (int)lanes->index + 1, "peers",
                  (int)lanes->peers, "limits", limits, "cpus", (int)lanes->placement.cpus, "gpus", looked_text(n));
    put(p, "memory_bytes", n->memory_bytes);
    json_object_set_new(p, "services", cpus_text(&lanes->placement.services));
    json_object_set_new(p, "lanes", hw_lanes_json(n));
    return p;
}

// ---- without a daemon ----

static void measure_one(const char *name, uint32_t threads, struct measure_rates *rates, char *why, size_t size)
{
    struct hip_device *device;
    struct hip_options options = {.threads = threads};
    if (hip_device_open_told(name, &options, &device, why, size)) return;
    enum core_err err = measure_device(device, 0.5, rates);
    if (err) snprintf(why, size, "measuring it failed: %s", core_error_text(err));
    hip_device_close(device);
}

// A home need not be there: then nothing is kept.
static struct home home_of(const char *path)
{
    struct home h = {.lock = -1};
    snprintf(h.path, sizeof h.path, "%s", path);
    return h;
}

static json_t *look_at(const struct home *home, bool measure, struct hip_found *f)
{
    struct measure_rates rates = {0};
    if (f->usable && measure) {
        measure_one(f->name, f->facts.threads, &rates, f->why, sizeof f->why);
        f->usable = !f->why[0];
    }
    if (!f->usable) return unusable_json(f);
    if (measure && home_has(home, "key")) {
        enum core_err kept = measure_keep(home, f->name, &f->facts, &rates);
        (void)kept;  // then it is measured again next time
    } else if (!measure && !measure_recall(home, f->name, &f->facts, &rates)) {
        rates = (struct measure_rates){0};
    }
    return device_json(f->name, &f->facts, &rates);
}

// As a peer alone on this machine would use it.
static void look_at_cpu(const struct sched_topology *t, struct hip_found *cpu)
{
    struct sched_placement plan;
    sched_placement_plan(&(struct sched_request){.topology = t, .peers = 1}, &plan);
    struct hip_device *device;
    struct hip_options options = {.threads = plan.lanes[plan.lanes_count - 1].threads};
    *cpu = (struct hip_found){.name = "cpu"};
    if (hip_device_open_told("cpu", &options, &device, cpu->why, sizeof cpu->why)) return;
    cpu->usable = true;
    hip_device_facts(device, &cpu->facts);
    hip_device_close(device);
}

enum core_err node_hw(const char *home, bool measure, json_t **out, struct node_failure *why)
{
    struct sched_topology *t;
    *out = NULL;
    setenv("HWLOC_PLUGINS_PATH", "/dev/null", 0);
    enum core_err err = sched_topology_open(&t);
    if (err) {
        node_failure_set(why, "check hwloc with `lstopo`", "cannot read the machine's topology: %s",
                         core_error_text(err));
        return err;
    }
    struct hip_found *found = calloc(SCHED_MAX_DEVICES + 1, sizeof *found);
    if (!found) {
        sched_topology_close(t);
        return CORE_ERR_NO_MEMORY;
    }
    struct home h = home_of(home);
    look_at_cpu(t, &found[0]);
    uint32_t count = 1 + hip_devices_find(found + 1, SCHED_MAX_DEVICES);
    json_t *devices = json_array();
    for (uint32_t i = 0; i < count; i++) json_array_append_new(devices, look_at(&h, measure, &found[i]));
    *out = json_pack("{s:o, s:o, s:n}", "machine", hw_machine_json(t), "devices", devices, "peer");
    sched_topology_close(t);
    free(found);
    return *out ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
}
