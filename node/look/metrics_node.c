// What a peer counts, as metrics: the same numbers as `status`, `peers` and `runs` give.
#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "node/about.h"
#include "node/control/verbs.h"
#include "node/look/http.h"
#include "node/look/metrics.h"

enum { RUN_LABEL_SIZE = 13 };

#define LABEL(key, text) ((struct metrics_label){.name = (key), .value = (text)})

static void gauge(struct metrics *m, const char *name, const char *help, double value)
{
    metrics_family(m, name, "gauge", help);
    metrics_plain(m, name, value);
}

static void counter(struct metrics *m, const char *name, const char *help, double value)
{
    metrics_family(m, name, "counter", help);
    metrics_plain(m, name, value);
}

// ---- the mesh ----

static void peers(struct metrics *m, struct node *n)
{
    const struct gossip *g = peer_gossip(n->peer);
    uint32_t of[GOSSIP_LEFT + 1] = {0};
    for (uint32_t i = 0; i < gossip_member_count(g); i++) {
        struct gossip_member member;
        gossip_member_at(g, i, &member);
        if (!member.self && (int)member.state <= GOSSIP_LEFT) of[member.state]++;
    }
    metrics_family(m, "mycel_peers", "gauge", "Other peers of the mesh as this one sees them, by state.");
    for (int state = GOSSIP_ALIVE; state <= GOSSIP_LEFT; state++)
        metrics_with(m, "mycel_peers", of[state], LABEL("state", gossip_state_name((enum gossip_state)state)));
}

// As many series as there are links, NODE_LINKS_MAX at most; two peers may bear one name, so the id stands beside it.
static void round_trips(struct metrics *m, struct node *n)
{
    struct link_stats stats;
    metrics_family(m, "mycel_peer_rtt_seconds", "gauge", "Round trip of each link that is up, moving average.");
    for (uint32_t i = 0; links_stats_at(n->links, i, &stats) && i < NODE_LINKS_MAX; i++) {
        struct gossip_member member;
        char name[64], id[9];
        if (!stats.up || !gossip_member_find(peer_gossip(n->peer), &stats.id, &member) || !member.rtt_us) continue;
        hex_encode(id, stats.id.bytes, 4);
        metrics_with(m, "mycel_peer_rtt_seconds", (double)member.rtt_us / 1e6,
                     LABEL("peer", member_name(n, &stats.id, name)), LABEL("id", id));
    }
}

static void links(struct metrics *m, const struct links_stats *stats)
{
    static const char bytes[] = "mycel_link_bytes_total";
    gauge(m, "mycel_links", "Links that are up.", stats->up);
    metrics_family(m, bytes, "counter", "Bytes over all links since the start, by direction and lane.");
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        const char *name = lane == LANE_CONTROL ? "control" : "bulk";
        metrics_with(m, bytes, stats->tx_bytes[lane], LABEL("direction", "sent"), LABEL("lane", name));
        metrics_with(m, bytes, stats->rx_bytes[lane], LABEL("direction", "received"), LABEL("lane", name));
    }
    metrics_family(m, "mycel_link_dropped_total", "counter",
                   "Messages that found their link's queue full and go again, by class.");
    for (int i = 0; i < LINK_CLASS_COUNT; i++)
        metrics_with(m, "mycel_link_dropped_total", stats->dropped[i],
                     LABEL("class", link_class_name((enum link_class)i)));
}

// Only what has happened. Reasons of links, of messages (all types of one error together) and of gossip.
static void refused(struct metrics *m, struct node *n, const struct links_stats *stats)
{
    static const char name[] = "mycel_refused_total";
    struct gossip_counts counts;
    gossip_counts_get(peer_gossip(n->peer), &counts);
    metrics_family(m, name, "counter", "What others sent and was refused, by where it was found and why.");
    for (int i = 0; i < LINK_REASON_COUNT; i++)
        if (stats->refused[i])
            metrics_with(m, name, stats->refused[i], LABEL("by", "links"),
                         LABEL("reason", link_reason_name((enum link_reason)i)));
    for (int err = 0; err < CORE_ERR_COUNT; err++) {
        uint64_t sum = 0;
        for (int type = 0; type < NODE_TYPES; type++) sum += n->refused_by[type][err];
        if (sum)
            metrics_with(m, name, sum, LABEL("by", "messages"), LABEL("reason", core_error_name((enum core_err)err)));
    }
    for (int i = 0; i < GOSSIP_REFUSED_COUNT; i++)
        if (counts.refusals[i])
            metrics_with(m, name, counts.refusals[i], LABEL("by", "gossip"),
                         LABEL("reason", gossip_refusal_name((enum gossip_refusal)i)));
}

// ---- runs ----

struct told_run {
    char id[RUN_LABEL_SIZE];
    const struct run_data *data;
    struct run_status status;
};

static uint32_t list_runs(struct node *n, struct told_run *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < peer_run_count(n->peer) && count < RUNS_MAX; i++) {
        struct told_run *r = &out[count];
        peer_run_at(n->peer, i, &r->status);
        r->data = runs_find(&n->runs, &r->status.run);
        if (!r->data || !r->data->has_spec) continue;
        hex_encode(r->id, r->status.run.bytes, (RUN_LABEL_SIZE - 1) / 2);
        count++;
    }
    return count;
}

static double value_of(const struct told_run *r, int what)
{
    const struct manifest *head = r->status.head;
    switch (what) {
    case 0: return head ? (double)head->round : 0;
    case 1: return (double)r->data->spec.rounds;
    case 2: return head && head->round ? head->loss : NAN;
    case 3: return head && head->val_round ? head->val_loss : NAN;
    case 4: return head ? (double)head->tokens : 0;
    case 5: return head ? (double)head->member_count : 0;
    default: return r->status.waiting ? 1 : 0;
    }
}

static void runs(struct metrics *m, struct node *n)
{
    static const struct {
        const char *name, *type, *help;
    } families[] = {
        {"mycel_round", "gauge", "Closed rounds of the run."},
        {"mycel_rounds_planned", "gauge", "Rounds the run is to have."},
        {"mycel_train_loss", "gauge", "Mean training loss of the newest closed round, nats a token."},
        {"mycel_val_loss", "gauge", "Loss on held-out text when it was last measured, nats a token."},
        {"mycel_tokens_total", "counter", "Tokens the run has been trained on, by all peers."},
        {"mycel_run_members", "gauge", "Members of the run."},
        {"mycel_run_waiting", "gauge", "Whether the run waits for a quorum of its members."},
    };
    struct told_run *list = calloc(RUNS_MAX, sizeof *list);
    const uint32_t count = list ? list_runs(n, list) : 0;
    for (int k = 0; k < (int)(sizeof families / sizeof *families); k++) {
        metrics_family(m, families[k].name, families[k].type, families[k].help);
        for (uint32_t i = 0; i < count; i++)
            if (!isnan(value_of(&list[i], k)))
                metrics_with(m, families[k].name, value_of(&list[i], k), LABEL("run", list[i].id));
    }
    metrics_family(m, "mycel_run_state", "gauge", "1 for the state the run is in.");
    for (uint32_t i = 0; i < count; i++)
        metrics_with(m, "mycel_run_state", 1, LABEL("run", list[i].id),
                     LABEL("state", run_state_text(n, list[i].data, &list[i].status)));
    free(list);
}

// ---- this machine ----

static void devices(struct metrics *m, struct node *n)
{
    metrics_family(m, "mycel_device_up", "gauge", "Whether the device computes for this peer.");
    for (uint32_t i = 0; i < n->lanes.count; i++)
        metrics_with(m, "mycel_device_up", lane_state(n, &n->lanes.lane[i]) == LANE_UP,
                     LABEL("device", n->lanes.lane[i].name));
    metrics_family(m, "mycel_device_busy_ratio", "gauge", "Part of the time lately that the device computed.");
    for (uint32_t i = 0; i < n->lanes.count; i++)
        metrics_with(m, "mycel_device_busy_ratio", n->lanes.lane[i].busy, LABEL("device", n->lanes.lane[i].name));
}

static void process(struct metrics *m, const struct node *n)
{
    struct rusage use;
    json_t *costs = process_json();
    gauge(m, "mycel_process_resident_memory_bytes", "Memory of the process.",
          json_number_value(json_object_get(costs, "rss_bytes")));
    json_decref(costs);
    if (getrusage(RUSAGE_SELF, &use) == 0)
        counter(m, "mycel_process_cpu_seconds_total", "Processor time of the process.",
                (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                    (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
    gauge(m, "mycel_process_start_time_seconds", "When it started, since 1970.", (double)n->started_s);
}

void metrics_of_node(struct metrics *m, struct node *n, size_t problems)
{
    struct links_stats stats;
    links_stats(n->links, &stats);
    metrics_family(m, "mycel_build_info", "gauge", "1, with the version that runs.");
    metrics_with(m, "mycel_build_info", 1, LABEL("version", NODE_VERSION));
    gauge(m, "mycel_problems", "Problems that `mycel status` names.", (double)problems);
    peers(m, n);
    round_trips(m, n);
    links(m, &stats);
    refused(m, n, &stats);
    runs(m, n);
    devices(m, n);
    gauge(m, "mycel_memory_limit_bytes", "Memory that this peer may use for data of rounds and training.",
          (double)n->memory_bytes);
    gauge(m, "mycel_memory_used_bytes", "What is taken of it by data of rounds.", (double)n->blobs.bytes);
    gauge(m, "mycel_record_entries", "Entries in the log of decisions.", (double)n->record.entries);
    gauge(m, "mycel_disk_ok", "0 while the disk refuses writes.", n->disk_full ? 0 : 1);
    gauge(m, "mycel_http_streams", "Pages that are open.", http_streams(n->http));
    process(m, n);
}
