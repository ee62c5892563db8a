#include "node/look/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "node/control/verbs.h"
#include "node/daemon.h"
#include "node/look/map_draw.h"

enum { MAP_ASKS_MAX = 32, MAP_ANSWER_MS = 1000, MAP_MS = 6000, RATE_LEAST_MS = 1000, DEVICES_SIZE = 1024 };

struct map_member {
    uint32_t peer;  // its place in the snapshot
    uint64_t asked_ms;
    enum { MAP_TO_ASK, MAP_ASKED, MAP_DONE } state;
};

struct map_state {
    struct map_state *next;  // of all that are under way
    struct node *node;
    struct session *session;
    uint64_t nonce, began_ms;
    uint64_t patience_ms;     // for all of them
    struct map_runs runs;     // whose sums are drawn, too
    struct atlas_snapshot s;  // peers ascending by id until it is settled
    uint32_t link_capacity;
    struct map_member *members;
    uint32_t count, asked;
    bool drawing;  // the snapshot is with a worker: nobody's word is waited for any more
};

// ---- what this peer says of itself ----

// Mean rate since it was last wanted, over a second at least; since the link came up, the first time.
static uint64_t rate(struct node *n, struct node_link *link, const struct link_stats *stats)
{
    const uint64_t total = stats->tx_bytes[0] + stats->tx_bytes[1] + stats->rx_bytes[0] + stats->rx_bytes[1];
    const uint64_t since_ms = link->rate_ms ? link->rate_ms : stats->up_since_ms;
    if (n->now_ms < since_ms + RATE_LEAST_MS) return link->rate;
    link->rate = (total - link->rate_bytes) * 1000 / (n->now_ms - since_ms);
    link->rate_bytes = total;
    link->rate_ms = n->now_ms;
    return link->rate;
}

static void write_links(struct node *n, struct writer *w)
{
    struct link_stats stats;
    uint32_t written = 0;
    for (uint32_t i = 0; links_stats_at(n->links, i, &stats) && written < MAP_LINKS_MAX; i++) {
        struct node_link *link = stats.up ? node_link_find(n, &stats.id) : NULL;
        struct gossip_member m;
        if (!link) continue;
        const bool timed = gossip_member_find(peer_gossip(n->peer), &stats.id, &m) && m.rtt_us <= UINT32_MAX;
        write_bytes(w, stats.id.bytes, CORE_ID_SIZE);
        write_u32(w, timed ? (uint32_t)m.rtt_us : 0);
        write_u64(w, rate(n, link, &stats));
        written++;
    }
}

// Its lanes: the CPU as "4 cpus", GPUs by their model.
static void write_devices(struct node *n, struct writer *w)
{
    for (uint32_t i = 0; i < n->lanes.count; i++) {
        const struct lane *l = &n->lanes.lane[i];
        if (l->number == SCHED_NO_LANE) continue;
        char name[32];
        const uint32_t threads = n->lanes.placement.lanes[l->number].threads;
        if (i == LANE_CPU)
            snprintf(name, sizeof name, "%u cpu%s", threads, threads == 1 ? "" : "s");
        else
            snprintf(name, sizeof name, "%.31s", l->facts.name);
        write_u8(w, i != LANE_CPU);
        write_u8(w, (uint8_t)(l->busy < 1 ? l->busy * 100 : 100));
        write_slice(w, (struct slice){(const uint8_t *)name, strlen(name)});
    }
}

struct own_part {
    uint8_t links[MAP_LINKS_MAX * MAP_LINK_SIZE], devices[DEVICES_SIZE];
    struct message message;
};

static void own_part_make(struct node *n, struct own_part *own)
{
    struct writer l = writer_over(own->links, sizeof own->links), d = writer_over(own->devices, sizeof own->devices);
    write_links(n, &l);
    write_devices(n, &d);
    own->message = (struct message){.type = MESSAGE_LINKS_TELL};
    own->message.links_tell.links = (struct slice){own->links, l.size};
    own->message.links_tell.devices = (struct slice){own->devices, d.overflowed ? 0 : d.size};
}

void map_asked(struct node *n, const struct core_id *from, uint64_t nonce)
{
    struct node_link *link = node_link_find(n, from);
    if (!link || !node_answer_due(&link->map, n->now_ms, MAP_ANSWERS_A_SECOND)) return;
    struct own_part own;
    own_part_make(n, &own);
    own.message.links_tell.nonce = nonce;
    outbound_send(n, from, &own.message);
}

// ---- what others say ----

static int by_id(const void *a, const void *b)
{
    return id_compare(&((const struct atlas_peer *)a)->id, &((const struct atlas_peer *)b)->id);
}

static struct atlas_peer *peer_of(struct map_state *m, const struct core_id *id)
{
    struct atlas_peer key = {.id = *id};
    return bsearch(&key, m->s.peers, m->s.peer_count, sizeof key, by_id);
}

static bool add_link(struct map_state *m, struct atlas_link link)
{
    if (m->s.link_count == m->link_capacity) {
        const uint32_t capacity = m->link_capacity ? 2 * m->link_capacity : 64;
        struct atlas_link *larger = realloc(m->s.links, capacity * sizeof *larger);
        if (!larger) return false;
        m->s.links = larger;
        m->link_capacity = capacity;
    }
    m->s.links[m->s.link_count++] = link;
    return true;
}

static enum core_err take_links(struct map_state *m, uint32_t from, struct slice links)
{
    if (links.size % MAP_LINK_SIZE || links.size / MAP_LINK_SIZE > MAP_LINKS_MAX) return CORE_ERR_MALFORMED;
    struct reader r = reader_over(links.data, links.size);
    while (r.at < r.size) {
        struct core_id to;
        read_bytes(&r, to.bytes, CORE_ID_SIZE);
        struct atlas_link link = {.a = from, .rtt_us = read_u32(&r)};
        link.bytes_s = read_u64(&r);
        if (link.bytes_s >> 50) return CORE_ERR_MALFORMED;
        const struct atlas_peer *other = peer_of(m, &to);
        if (!other) continue;
        link.b = (uint32_t)(other - m->s.peers);
        if (!add_link(m, link)) return CORE_ERR_NO_MEMORY;
    }
    return CORE_ERR_OK;
}

static enum core_err take_devices(struct atlas_peer *p, struct slice devices)
{
    struct reader r = reader_over(devices.data, devices.size);
    while (r.at < r.size && p->device_count < ATLAS_DEVICES_MAX) {
        struct atlas_device *d = &p->devices[p->device_count];
        d->gpu = read_u8(&r) != 0;
        const uint8_t busy = read_u8(&r);
        d->busy = busy > 100 ? UINT32_MAX : busy;
        struct slice name = read_slice(&r, sizeof d->name - 1);
        if (r.failed) return CORE_ERR_MALFORMED;
        memcpy(d->name, name.data, name.size);
        p->device_count++;
    }
    return CORE_ERR_OK;
}

static enum core_err take(struct map_state *m, uint32_t from, const struct message *said)
{
    struct atlas_peer *p = &m->s.peers[from];
    p->answered = true;
    p->device_count = 0;
    enum core_err err = take_links(m, from, said->links_tell.links);
    return err ? err : take_devices(p, said->links_tell.devices);
}

static void go_on(struct map_state *m);

enum core_err map_told(struct node *n, const struct core_id *from, const struct message *said)
{
    for (struct map_state *m = n->maps; m; m = m->next) {
        if (m->nonce != said->links_tell.nonce || m->drawing) continue;
        for (uint32_t i = 0; i < m->asked; i++) {
            struct map_member *member = &m->members[i];
            if (member->state != MAP_ASKED || !id_equal(&m->s.peers[member->peer].id, from)) continue;
            member->state = MAP_DONE;
            enum core_err err = take(m, member->peer, said);
            go_on(m);
            return err;
        }
    }
    return CORE_ERR_OK;
}

// ---- the verb ----

static void closed(struct session *s)
{
    struct map_state *m = s->state;
    for (struct map_state **at = &m->node->maps; *at; at = &(*at)->next) {
        if (*at != m) continue;
        *at = m->next;
        break;
    }
    atlas_snapshot_free(&m->s);
    free(m->members);
    free(m);
}

static void drawn(struct node *n, uint64_t nonce, const char *json)
{
    struct map_state *m = n->maps;
    while (m && m->nonce != nonce) m = m->next;
    if (!m) return;  // whoever asked has gone
    if (json)
        session_end_text(m->session, 0, json);
    else
        session_fail(m->session, CORE_ERR_NO_MEMORY, "give the daemon more memory", "no memory for the map");
}

static void finish(struct map_state *m)
{
    m->drawing = true;
    const bool layout = session_flag(m->session, "layout");
    if (layout && !m->runs.count) map_runs_going_on(m->node, &m->runs);
    if (map_flows(m->node, &m->runs, &m->s))
        drawn(m->node, m->nonce, NULL);
    else
        map_draw(m->node, &m->s, layout ? &m->runs : NULL, m->nonce, drawn);
}

// Asks the next ones; ends the session when there is nobody left to wait for.
static void go_on(struct map_state *m)
{
    const uint64_t now_ms = m->node->now_ms;
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < m->asked; i++) {
        struct map_member *member = &m->members[i];
        if (member->state == MAP_ASKED && now_ms >= member->asked_ms + MAP_ANSWER_MS) member->state = MAP_DONE;
        waiting += member->state == MAP_ASKED;
    }
    const bool late = now_ms >= m->began_ms + m->patience_ms;
    while (!late && waiting < MAP_ASKS_MAX && m->asked < m->count) {
        struct map_member *member = &m->members[m->asked++];
        member->state = MAP_ASKED;
        member->asked_ms = now_ms;
        waiting++;
        struct message ask = {.type = MESSAGE_LINKS_ASK};
        ask.links_ask.nonce = m->nonce;
        outbound_send(m->node, &m->s.peers[member->peer].id, &ask);
    }
    if (waiting == 0 || late) finish(m);
}

static void tick(struct session *s, uint64_t now_ms)
{
    (void)now_ms;
    const struct map_state *m = s->state;
    if (!m->drawing) go_on(s->state);
}

static void copy_text(char *out, size_t size, struct slice from)
{
    snprintf(out, size, "%.*s", (int)(from.size < size ? from.size : size - 1), (const char *)from.data);
}

static void note_member(struct node *n, const struct gossip_member *from, struct atlas_peer *p)
{
    char name[64];
    *p = (struct atlas_peer){.id = from->id, .self = from->self, .located = from->located};
    snprintf(p->name, sizeof p->name, "%s", member_name(n, &from->id, name));
    copy_text(p->site, sizeof p->site, from->site);
    memcpy(&p->host, from->host.bytes, sizeof p->host);
    p->state = from->state == GOSSIP_ALIVE     ? ATLAS_ALIVE
               : from->state == GOSSIP_SUSPECT ? ATLAS_SUSPECT
               : from->state == GOSSIP_LEFT    ? ATLAS_LEFT
                                               : ATLAS_DEAD;
    for (int d = 0; d < 3 && from->located; d++) p->at[d] = from->coordinates.at_us[d];
    p->above = from->located ? from->coordinates.height_us : 0;
}

static enum core_err note_members(struct node *n, struct map_state *m)
{
    const struct gossip *g = peer_gossip(n->peer);
    const uint32_t count = gossip_member_count(g);
    m->s.peers = calloc(count + 1, sizeof *m->s.peers);
    m->members = calloc(count + 1, sizeof *m->members);
    if (!m->s.peers || !m->members) return CORE_ERR_NO_MEMORY;
    snprintf(m->s.mesh, sizeof m->s.mesh, "%s", n->charter.name);
    m->s.taken_s = node_wall_s();
    for (uint32_t i = 0; i < count; i++) {
        struct gossip_member member;
        gossip_member_at(g, i, &member);
        note_member(n, &member, &m->s.peers[i]);
    }
    m->s.peer_count = count;
    qsort(m->s.peers, count, sizeof *m->s.peers, by_id);
    // Those that are linked answer at once; the others have to be dialled.
    for (int linked = 1; linked >= 0; linked--) {
        for (uint32_t i = 0; i < count; i++) {
            const struct atlas_peer *p = &m->s.peers[i];
            if (p->self || p->state > ATLAS_SUSPECT || links_is_up(n->links, &p->id) != linked) continue;
            m->members[m->count++].peer = i;
        }
    }
    return CORE_ERR_OK;
}

// The run that the request names; false: there is none to draw, and the session is told.
static bool find_run(struct node *n, struct session *s, struct map_runs *runs)
{
    struct run_data *data;
    struct run_status status;
    if (!session_text(s, "run")) return true;
    if (!run_resolve(n, s, &data, &status)) return false;
    if (map_run_goes_on(&status)) {
        runs->run[runs->count++] = data->id;
        return true;
    }
    session_fail(s, CORE_ERR_REFUSED, "`mycel runs` shows those that go on", "nobody sums for that run: it is %s",
                 run_state_text(n, data, &status));
    return false;
}

void verb_map(struct node *n, struct session *s)
{
    struct map_runs runs = {0};
    if (!find_run(n, s, &runs)) return;
    struct map_state *m = calloc(1, sizeof *m);
    if (m) {
        *m = (struct map_state){.node = n, .session = s, .began_ms = n->now_ms, .runs = runs, .next = n->maps};
        const double patience_ms = session_number(s, "patience_ms", MAP_MS);
        m->patience_ms = patience_ms >= 0 && patience_ms < MAP_MS ? (uint64_t)patience_ms : MAP_MS;
        random_bytes(&m->nonce, sizeof m->nonce);
        n->maps = m;
        s->state = m;
        s->hooks = (struct session_hooks){.tick = tick, .closed = closed};
    }
    if (!m || note_members(n, m)) {
        session_fail(s, CORE_ERR_NO_MEMORY, "give the daemon more memory", "no memory for the map");
        return;
    }
    struct own_part own;
    own_part_make(n, &own);
    const struct atlas_peer *self = peer_of(m, &n->key.id);
    if (self && take(m, (uint32_t)(self - m->s.peers), &own.message)) {
        session_fail(s, CORE_ERR_NO_MEMORY, "give the daemon more memory", "no memory for the map");
        return;
    }
    go_on(m);
}
