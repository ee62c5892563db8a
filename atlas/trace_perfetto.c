#include "atlas/trace_perfetto.h"

#include <string.h>

#include "core/bytes.h"

// Each peer is a process of one thread, which has its number, too: Perfetto takes a thread's number for one of all
// processes. Metadata events name what the numbers stand for, before anything happens there.
static json_t *name_json(const char *what, uint32_t pid, const char *name)
{
    return json_pack("{s:s,s:s,s:i,s:i,s:{s:s}}", "ph", "M", "name", what, "pid", (int)pid, "tid", (int)pid, "args",
                     "name", name);
}

static json_t *order_json(uint32_t pid)
{
    return json_pack("{s:s,s:s,s:i,s:i,s:{s:i}}", "ph", "M", "name", "process_sort_index", "pid", (int)pid, "tid",
                     (int)pid, "args", "sort_index", (int)pid);
}

static json_t *span_json(const struct atlas_trace *t, uint32_t pid, const struct atlas_span *s)
{
    json_t *o = json_pack("{s:s,s:s,s:s,s:I,s:I,s:i,s:i}", "ph", "X", "cat", "round", "name",
                          atlas_phase_name(s->phase), "ts", (json_int_t)s->begin_us, "dur",
                          (json_int_t)(s->end_us - s->begin_us), "pid", (int)pid, "tid", (int)pid);
    char name[ATLAS_LABEL_MAX + 1] = "";
    for (uint32_t i = 0; i < t->peer_count && s->waited_us; i++)
        if (id_equal(&t->peers[i].id, &s->waited_for)) atlas_label(name, t->peers[i].name, ATLAS_LABEL_MAX);
    if (o && name[0])
        json_object_set_new(o, "args",
                            json_pack("{s:s,s:I}", "waited_for", name, "waited_us", (json_int_t)s->waited_us));
    return o;
}

static void add_peer(const struct atlas_trace *t, uint32_t index, json_t *events)
{
    const struct atlas_trace_peer *p = &t->peers[index];
    const uint32_t pid = index + 1;  // some readers take 0 for the system's idle process
    char label[ATLAS_LABEL_MAX + 1], name[ATLAS_LABEL_MAX + 40], id[9];
    atlas_label(label, p->name, ATLAS_LABEL_MAX);
    hex_encode(id, p->id.bytes, 4);
    snprintf(name, sizeof name, "%s (%s)%s", label, id, p->answered ? "" : ", does not answer");
    json_array_append_new(events, name_json("process_name", pid, name));
    json_array_append_new(events, order_json(pid));
    json_array_append_new(events, name_json("thread_name", pid, "round"));
    for (uint32_t i = 0; i < p->span_count; i++) json_array_append_new(events, span_json(t, pid, &p->spans[i]));
}

json_t *atlas_trace_perfetto_make(const struct atlas_trace *t)
{
    json_t *events = json_array();
    char mesh[ATLAS_LABEL_MAX + 1];
    atlas_label(mesh, t->mesh, ATLAS_LABEL_MAX);
    for (uint32_t i = 0; i < t->peer_count; i++) add_peer(t, i, events);
    // The unit stands first: Perfetto reads the file once, from its begin.
    return json_pack("{s:s,s:o,s:{s:s,s:s,s:I}}", "displayTimeUnit", "ms", "traceEvents", events, "otherData", "mesh",
                     mesh, "run", t->run, "round", (json_int_t)t->round);
}
