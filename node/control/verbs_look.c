// status, peers, ping: what the mesh looks like from here.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/about.h"
#include "node/compute/hw.h"
#include "node/control/verbs.h"
#include "node/doctor/checks_daemon.h"

enum { PING_TIMEOUT_US = 1000000, PING_EVERY_MS = 200, PINGS_LIMIT = 1000 };

// The members at a glance: `since_ms` is when the newest of the unreachable was lost.
struct seen_members {
    uint32_t up, known, suspect, unreachable, left;
    uint64_t since_ms;
};

static struct seen_members see_members(struct node *n)
{
    const struct gossip *g = peer_gossip(n->peer);
    struct seen_members seen = {0};
    for (uint32_t i = 0; i < gossip_member_count(g); i++) {
        struct gossip_member m;
        gossip_member_at(g, i, &m);
        if (m.self) continue;
        seen.known++;
        seen.up += m.state == GOSSIP_ALIVE;
        seen.suspect += m.state == GOSSIP_SUSPECT;
        seen.left += m.state == GOSSIP_LEFT;
        seen.unreachable += m.state == GOSSIP_DEAD;
        if (m.state == GOSSIP_DEAD && m.since_ms > seen.since_ms) seen.since_ms = m.since_ms;
    }
    return seen;
}

// What doctor would find without asking anybody.
static json_t *problems_json(struct node *n)
{
    json_t *list = json_array();
    struct checks *c = calloc(1, sizeof *c);
    if (!c) return list;
    checks_of_node(n, c);
    for (uint32_t i = 0; i < c->count; i++)
        if (c->lines[i].trouble) json_array_append_new(list, checks_line_json(&c->lines[i]));
    free(c);
    return list;
}

// The names of the devices that work for this peer, the fastest kind first: "nvidia:0, cpu".
static json_t *device_names(const struct node *n)
{
    char text[1024] = "";
    size_t used = 0;
    for (uint32_t i = 1; i <= n->lanes.count; i++) {
        const struct lane *l = &n->lanes.lane[i % n->lanes.count];
        if (lane_state(n, l) != LANE_UP || used + sizeof l->name + 2 > sizeof text) continue;
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "", l->name);
    }
    return json_string(text);
}

// When this peer's clock stood at `then_ms`, as a time of day.
static json_t *time_ago_json(const struct node *n, uint64_t then_ms)
{
    return json_time(node_wall_s() - (n->now_ms - then_ms) / 1000);
}

static json_t *addresses_json(struct slice encoded)
{
    json_t *list = json_array();
    struct address_list addresses;
    if (encoded.size == 0 || address_list_decode(encoded, &addresses)) return list;
    for (uint32_t i = 0; i < addresses.count; i++) {
        char text[ADDRESS_TEXT_MAX];
        address_format(&addresses.items[i], text);
        json_array_append_new(list, json_string(text));
    }
    return list;
}

static const char *role_text(uint32_t roles)
{
    return roles & ROLE_FOUNDER ? "founder" : roles & ROLE_SPONSOR ? "sponsor" : "member";
}

void verb_status(struct node *n, struct session *s)
{
    json_t *problems = problems_json(n), *runs = json_array();
    struct seen_members seen = see_members(n);
    for (uint32_t i = 0; i < peer_run_count(n->peer); i++) {
        struct run_status status;
        peer_run_at(n->peer, i, &status);
        struct run_data *run = runs_find(&n->runs, &status.run);
        if (run && run->has_spec) json_array_append_new(runs, run_json(n, run, &status));
    }
    struct links_stats stats;
    links_stats(n->links, &stats);
    json_t *o = json_object();
    bool healthy = json_array_size(problems) == 0;
    json_object_set_new(o, "healthy", json_boolean(healthy));
    json_object_set_new(o, "problems", problems);
    json_object_set_new(o, "id", json_id(&n->key.id));
    json_object_set_new(o, "name", json_string(n->own.name));
    json_object_set_new(o, "mesh", json_hash(&n->charter.id));
    json_object_set_new(o, "mesh_name", json_string(n->charter.name));
    json_object_set_new(o, "role", json_string(role_text(n->own.roles)));
    json_object_set_new(o, "site", json_string(n->settings.site));
    struct coordinates_point at;
    bool located = gossip_coordinates(peer_gossip(n->peer), &at);
    json_object_set_new(o, "coordinates", located ? coordinates_json(&at) : json_null());
    json_object_set_new(o, "version", json_string(NODE_VERSION));
    json_object_set_new(o, "state", json_string(n->state == NODE_UP ? "up" : "leaving"));
    json_object_set_new(o, "home", json_string(n->home.path));
    json_object_set_new(o, "pid", json_integer(getpid()));
    json_object_set_new(o, "port", json_integer(n->port));
    json_object_set_new(o, "addresses", addresses_json((struct slice){n->address_bytes, n->address_size}));
    json_object_set_new(o, "lan", discovery_lan_json(n));
    json_object_set_new(o, "port_map", discovery_portmap_json(n));
    json_object_set_new(o, "uptime_s", json_integer((json_int_t)((n->now_ms - n->started_ms) / 1000)));
    json_object_set_new(o, "http", json_integer(http_port(n->http)));
    json_object_set_new(o, "peers_up", json_integer(seen.up));
    json_object_set_new(o, "peers_known", json_integer(seen.known));
    json_object_set_new(o, "peers_suspect", json_integer(seen.suspect));
    json_object_set_new(o, "peers_unreachable", json_integer(seen.unreachable));
    json_object_set_new(o, "unreachable_since", seen.unreachable ? time_ago_json(n, seen.since_ms) : json_null());
    json_object_set_new(o, "peers_left", json_integer(seen.left));
    json_object_set_new(o, "cpus", json_integer(n->lanes.placement.cpus));
    json_object_set_new(o, "device", device_names(n));
    json_object_set_new(o, "lanes", hw_lanes_json(n));
    json_object_set_new(o, "memory_bytes", json_integer((json_int_t)n->memory_bytes));
    json_object_set_new(o, "memory_used_bytes", json_integer((json_int_t)n->blobs.bytes));
    json_object_set_new(o, "runs", runs);
    json_object_set_new(o, "record_height", json_integer((json_int_t)n->record.entries));
    json_object_set_new(o, "tx_bytes", json_integer((json_int_t)(stats.tx_bytes[0] + stats.tx_bytes[1])));
    json_object_set_new(o, "rx_bytes", json_integer((json_int_t)(stats.rx_bytes[0] + stats.rx_bytes[1])));
    json_object_set_new(o, "bulk_tx_bytes", json_integer((json_int_t)stats.tx_bytes[LANE_BULK]));
    json_object_set_new(o, "bulk_rx_bytes", json_integer((json_int_t)stats.rx_bytes[LANE_BULK]));
    json_object_set_new(o, "refused", json_integer((json_int_t)refused_total(n, &stats)));
    json_object_set_new(o, "refused_by", refused_json(n, &stats));
    json_object_set_new(o, "dropped", dropped_json(n, &stats));
    json_object_set_new(o, "links", links_json(&stats));
    json_object_set_new(o, "gossip", gossip_json(n));
    json_object_set_new(o, "process", process_json());
    json_object_set_new(o, "disk", json_string(n->disk_full ? "full" : "ok"));
    session_end(s, healthy ? 0 : 1, o);
}

static json_t *peer_json(struct node *n, const struct gossip_member *m)
{
    json_t *o = json_object();
    char name[64];
    struct certificate c;
    bool known = certificate_decode(m->certificate, &c) == CORE_ERR_OK;
    struct link_stats stats = {0};
    bool linked = links_stats_of(n->links, &m->id, &stats) && stats.up;
    json_object_set_new(o, "name", json_string(member_name(n, &m->id, name)));
    json_object_set_new(o, "id", json_id(&m->id));
    json_object_set_new(o, "role", json_string(known ? role_text(c.roles) : "member"));
    json_object_set_new(o, "self", json_boolean(m->self));
    json_object_set_new(o, "state", json_string(gossip_state_name(m->state)));
    json_object_set_new(o, "path", json_string(m->self ? "self" : linked ? "direct" : "indirect"));
    bool timed = linked && m->rtt_us;
    json_object_set_new(o, "neighbor", json_boolean(m->neighbor));
    json_object_set_new(o, "rtt_ms", timed ? json_number((double)m->rtt_us / 1000.0) : json_null());
    json_object_set_new(o, "rtt_us", timed ? json_integer((json_int_t)m->rtt_us) : json_null());
    json_object_set_new(o, "site", json_stringn(m->site.size ? (const char *)m->site.data : "", m->site.size));
    json_object_set_new(o, "coordinates", m->located ? coordinates_json(&m->coordinates) : json_null());
    json_object_set_new(o, "same_host", json_boolean(hash_equal(&m->host, &n->host)));
    json_object_set_new(o, "incarnation", json_integer((json_int_t)m->incarnation));
    json_object_set_new(o, "since", m->since_ms ? time_ago_json(n, m->since_ms) : json_null());
    json_object_set_new(o, "link", linked ? link_json(&stats) : json_null());
    json_object_set_new(o, "tx_bytes", json_integer((json_int_t)(stats.tx_bytes[0] + stats.tx_bytes[1])));
    json_object_set_new(o, "rx_bytes", json_integer((json_int_t)(stats.rx_bytes[0] + stats.rx_bytes[1])));
    json_object_set_new(o, "bulk_tx_bytes", json_integer((json_int_t)stats.tx_bytes[LANE_BULK]));
    json_object_set_new(o, "bulk_rx_bytes", json_integer((json_int_t)stats.rx_bytes[LANE_BULK]));
    json_object_set_new(o, "addresses", addresses_json(m->addresses));
    json_object_set_new(o, "devices", m->self ? device_names(n) : json_null());
    json_object_set_new(o, "version", json_string(m->self ? NODE_VERSION : ""));
    json_object_set_new(o, "seen",
                        m->self       ? json_time(node_wall_s())
                        : m->heard_ms ? time_ago_json(n, m->heard_ms)
                                      : json_null());
    return o;
}

static int by_name(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    int self = json_is_true(json_object_get(y, "self")) - json_is_true(json_object_get(x, "self"));
    if (self) return self;
    return strcmp(json_string_value(json_object_get(x, "name")), json_string_value(json_object_get(y, "name")));
}

void verb_peers(struct node *n, struct session *s)
{
    const struct gossip *g = peer_gossip(n->peer);
    uint32_t count = gossip_member_count(g);
    json_t **sorted = calloc(count + 1, sizeof *sorted), *list = json_array();
    if (!sorted) return;
    for (uint32_t i = 0; i < count; i++) {
        struct gossip_member m;
        gossip_member_at(g, i, &m);
        sorted[i] = peer_json(n, &m);
    }
    qsort(sorted, count, sizeof *sorted, by_name);
    for (uint32_t i = 0; i < count; i++) json_array_append_new(list, sorted[i]);
    free(sorted);
    session_end(s, 0, json_pack("{s:o}", "peers", list));
}

// ---- ping ----

struct ping_state {
    struct node *node;
    struct core_id peer;
    uint32_t count, sent, received, lost;
    uint64_t next_ms;
    double rtt_ms[PINGS_LIMIT];
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void ping_closed(struct session *s)
{
    struct ping_state *p = s->state;
    for (int i = 0; i < NODE_PINGS_MAX; i++)
        if (p->node->pings[i].session == s->serial) p->node->pings[i].nonce = 0;
    free(p);
}

static json_t *ping_line(const struct ping_state *p, uint32_t seq, json_t *rtt)
{
    char name[64];
    return json_pack("{s:i, s:s, s:o, s:o}", "seq", (int)seq, "peer", member_name(p->node, &p->peer, name), "id",
                     json_id(&p->peer), "rtt_ms", rtt);
}

static void ping_finish(struct session *s)
{
    struct ping_state *p = s->state;
    if (p->received + p->lost < p->count) return;
    char name[64];
    qsort(p->rtt_ms, p->received, sizeof *p->rtt_ms, by_value);
    json_t *o = json_pack("{s:s, s:o, s:i, s:i}", "peer", member_name(p->node, &p->peer, name), "id", json_id(&p->peer),
                          "sent", (int)p->sent, "received", (int)p->received);
    json_object_set_new(o, "rtt_min_ms", p->received ? json_real(p->rtt_ms[0]) : json_null());
    json_object_set_new(o, "rtt_median_ms", p->received ? json_real(p->rtt_ms[p->received / 2]) : json_null());
    json_object_set_new(o, "rtt_max_ms", p->received ? json_real(p->rtt_ms[p->received - 1]) : json_null());
    session_end(s, p->received == p->count ? 0 : p->received ? 7 : 5, o);
}

static void ping_send(struct session *s, uint64_t now_ms)
{
    struct ping_state *p = s->state;
    if (p->sent == p->count || now_ms < p->next_ms) return;
    struct node_ping *place = NULL;
    for (int i = 0; i < NODE_PINGS_MAX && !place; i++)
        if (!p->node->pings[i].nonce) place = &p->node->pings[i];
    if (!place) return;
    *place = (struct node_ping){.session = s->serial, .sent_us = node_clock_us(), .peer = p->peer, .seq = ++p->sent};
    random_bytes(&place->nonce, sizeof place->nonce);
    place->nonce |= 1;
    p->next_ms = now_ms + PING_EVERY_MS;
    struct message m = {.type = MESSAGE_PING};
    m.ping.nonce = place->nonce;
    outbound_send(p->node, &p->peer, &m);
}

static void ping_tick(struct session *s, uint64_t now_ms)
{
    struct ping_state *p = s->state;
    for (int i = 0; i < NODE_PINGS_MAX; i++) {
        struct node_ping *ping = &p->node->pings[i];
        if (!ping->nonce || ping->session != s->serial || node_clock_us() < ping->sent_us + PING_TIMEOUT_US) continue;
        ping->nonce = 0;
        p->lost++;
        session_send(s, ping_line(p, ping->seq, json_null()));
    }
    ping_send(s, now_ms);
    ping_finish(s);
}

bool verb_ping_answered(struct node *n, const struct core_id *from, uint64_t nonce)
{
    for (int i = 0; nonce && i < NODE_PINGS_MAX; i++) {
        struct node_ping *ping = &n->pings[i];
        if (ping->nonce != nonce || !id_equal(&ping->peer, from)) continue;
        ping->nonce = 0;
        struct session *s = control_session_find(&n->control, ping->session);
        if (!s) return true;
        struct ping_state *p = s->state;
        double rtt_ms = (double)(node_clock_us() - ping->sent_us) / 1000.0;
        p->rtt_ms[p->received++] = rtt_ms;
        session_send(s, ping_line(p, ping->seq, json_real(rtt_ms)));
        ping_finish(s);
        return true;
    }
    return false;
}

void verb_ping(struct node *n, struct session *s)
{
    struct core_id peer;
    if (!member_resolve(n, s, session_text(s, "peer"), &peer)) return;
    if (id_equal(&peer, &n->key.id)) {
        session_fail(s, CORE_ERR_USAGE, "`mycel peers` lists the others", "that is this peer itself");
        return;
    }
    struct ping_state *p = calloc(1, sizeof *p);
    if (!p) return;
    double count = session_number(s, "count", 1);
    p->node = n;
    p->peer = peer;
    p->count = count < 1 ? 1 : count > PINGS_LIMIT ? PINGS_LIMIT : (uint32_t)count;
    s->state = p;
    s->hooks = (struct session_hooks){.tick = ping_tick, .closed = ping_closed};
    ping_send(s, n->now_ms);
}
