// What was refused, dropped and lost, as JSON (docs/json.md): the counters behind `status` and `peers`.
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "node/control/verbs.h"

// A counter under its name.
struct count {
    const char *key;
    uint64_t value;
};

static void put(json_t *o, const char *key, uint64_t value)
{
    json_object_set_new(o, key, json_integer((json_int_t)value));
}

static void put_all(json_t *o, const struct count *counts, size_t count)
{
    for (size_t i = 0; i < count; i++) put(o, counts[i].key, counts[i].value);
}

#define PUT_ALL(o, ...) \
    put_all(o, (const struct count[]){__VA_ARGS__}, sizeof((const struct count[]){__VA_ARGS__}) / sizeof(struct count))

static json_t *classes_json(const uint64_t counts[LINK_CLASS_COUNT])
{
    json_t *o = json_object();
    for (int i = 0; i < LINK_CLASS_COUNT; i++) put(o, link_class_name((enum link_class)i), counts[i]);
    return o;
}

uint64_t refused_total(struct node *n, const struct links_stats *stats)
{
    return stats->refused_total + n->refused;
}

// Only what has happened: a healthy peer's is empty.
json_t *refused_json(struct node *n, const struct links_stats *stats)
{
    json_t *links = json_object(), *messages = json_object();
    for (int i = 0; i < LINK_REASON_COUNT; i++)
        if (stats->refused[i]) put(links, link_reason_name((enum link_reason)i), stats->refused[i]);
    for (int type = 0; type < NODE_TYPES; type++) {
        for (int err = 0; err < CORE_ERR_COUNT; err++) {
            if (!n->refused_by[type][err]) continue;
            char name[96];
            snprintf(name, sizeof name, "%s %s", message_info((enum message_type)type)->name,
                     core_error_name((enum core_err)err));
            put(messages, name, n->refused_by[type][err]);
        }
    }
    return json_pack("{s:o, s:o}", "links", links, "messages", messages);
}

json_t *dropped_json(struct node *n, const struct links_stats *stats)
{
    json_t *o = classes_json(stats->dropped);
    PUT_ALL(o, {"outbox", n->dropped.outbox}, {"outbound", n->dropped.outbound}, {"blobs", n->dropped.blobs},
            {"chunks", n->dropped.chunks}, {"waiters", n->dropped.waiters});
    return o;
}

json_t *links_json(const struct links_stats *stats)
{
    json_t *o = json_object(), *ways = json_object();
    PUT_ALL(o, {"up", stats->up}, {"dialling", stats->dialling}, {"strangers", stats->strangers}, {"slow", stats->slow},
            {"floods", stats->floods}, {"overfed", stats->overfed}, {"handshakes_refused", stats->handshakes_refused},
            {"fallbacks", stats->fallbacks});
    json_object_set_new(o, "flooded", classes_json(stats->flooded));
    for (int i = LINK_WAY_NONE + 1; i < LINK_WAY_COUNT; i++) put(ways, link_way_name((enum link_way)i), stats->ways[i]);
    json_object_set_new(o, "bulk_lanes", ways);
    return o;
}

json_t *gossip_json(struct node *n)
{
    const struct gossip *g = peer_gossip(n->peer);
    struct gossip_counts c;
    gossip_counts_get(g, &c);
    struct peer_counts rounds;
    peer_counts_get(n->peer, &rounds);
    json_t *o = json_object();
    PUT_ALL(o, {"casts_sent", c.casts_sent}, {"casts_received", c.casts_received},
            {"casts_duplicate", c.casts_duplicate}, {"casts_delivered", c.casts_delivered}, {"grafts", c.grafts},
            {"repaired", c.repaired}, {"refused", c.refused});
    json_t *by = json_object();
    for (int i = 0; i < GOSSIP_REFUSED_COUNT; i++)
        if (c.refusals[i]) put(by, gossip_refusal_name((enum gossip_refusal)i), c.refusals[i]);
    json_object_set_new(o, "refused_by", by);
    PUT_ALL(o, {"equivocations", c.equivocations}, {"muted", c.muted}, {"unsampled", c.unsampled}, {"syncs", c.syncs},
            {"limited", c.limited}, {"exchanges", c.exchanges}, {"accusations", c.accusations},
            {"refutations", c.refutations}, {"rounds_refused", rounds.refused}, {"health", gossip_health(g)});
    return o;
}

json_t *coordinates_json(const struct coordinates_point *p)
{
    return json_pack("{s:[i,i,i], s:I, s:f}", "at_us", (int)p->at_us[0], (int)p->at_us[1], (int)p->at_us[2],
                     "height_us", (json_int_t)p->height_us, "error", p->error / 1000.0);
}

json_t *link_json(const struct link_stats *stats)
{
    json_t *o = json_object();
    json_object_set_new(o, "address", json_string(stats->address));
    json_object_set_new(o, "dialled", json_boolean(stats->dialled_by_us));
    json_object_set_new(o, "bulk_lane", json_string(link_way_name(stats->way)));
    json_object_set_new(o, "waiting", classes_json(stats->waiting));
    json_object_set_new(o, "dropped", classes_json(stats->dropped));
    json_object_set_new(o, "flooded", classes_json(stats->flooded));
    json_object_set_new(o, "bulk_credit", json_integer(stats->bulk_credit));
    return o;
}

// What the process costs: memory in use now and at most, processor time so far.
json_t *process_json(void)
{
    struct rusage use;
    unsigned long long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%llu %llu", &total, &resident) != 2) resident = 0;
    if (f) fclose(f);
    json_t *o = json_object();
    put(o, "rss_bytes", resident * (uint64_t)sysconf(_SC_PAGESIZE));
    if (getrusage(RUSAGE_SELF, &use)) return o;
    put(o, "rss_peak_bytes", (uint64_t)use.ru_maxrss * 1024);
    double cpu_s = (double)use.ru_utime.tv_sec + (double)use.ru_stime.tv_sec +
                   (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    json_object_set_new(o, "cpu_s", json_real(cpu_s));
    return o;
}
