#include "node/doctor/checks_daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/control/verbs.h"
#include "node/daemon.h"
#include "node/doctor/checks_text.h"

enum { DIAL_TOLD_MS = 120000, WAIT_TOLD_MS = 5000 };

// ---- members ----

static void member_fact(struct node *n, const struct gossip_member *m, struct checks_member *out)
{
    *out = (struct checks_member){.for_ms = n->now_ms - m->since_ms, .same_host = hash_equal(&m->host, &n->host)};
    out->state = m->state == GOSSIP_DEAD ? MEMBER_IS_DEAD : MEMBER_IS_SUSPECT;
    member_name(n, &m->id, out->name);
    snprintf(out->site, sizeof out->site, "%.*s", (int)m->site.size, m->site.size ? (const char *)m->site.data : "");
    for (char *at = out->site; *at; at++)  // as the member says, and it goes to terminals; names are checked
        if (*at <= ' ' || *at > '~') *at = '?';
}

static void members(struct node *n, struct checks *c)
{
    const struct gossip *g = peer_gossip(n->peer);
    uint32_t total = gossip_member_count(g);
    struct checks_member *list = calloc(total + 1, sizeof *list);
    struct checks_members_facts facts = {
        .members = list, .sponsor_unmet = !id_is_zero(&n->sponsor), .up_ms = n->now_ms - n->started_ms};
    if (!list) return;
    for (uint32_t i = 0; i < total; i++) {
        struct gossip_member m;
        gossip_member_at(g, i, &m);
        if (m.self) continue;
        facts.sponsor_unmet = false;
        facts.known += m.state != GOSSIP_LEFT;
        facts.up += m.state == GOSSIP_ALIVE;
        // Dead since before this peer started: that is what its members file says, not news.
        bool lost = m.state == GOSSIP_SUSPECT || (m.state == GOSSIP_DEAD && m.since_ms);
        if (lost) member_fact(n, &m, &list[facts.count++]);
    }
    checks_members(c, &facts);
    free(list);
}

// ---- dials ----

// Whether one of `first` up to `note` says the same of the same peer, at another address.
static bool about_same(const struct dial_note *note, const struct dial_note *first)
{
    for (; first < note; first++)
        if (first->reason == note->reason && first->told == note->told && id_equal(&first->id, &note->id) &&
            (note->reason == LINK_EXPIRED || note->reason == LINK_REVOKED))
            return true;
    return false;
}

// Whether another member, or this peer, is known to live at the address: one that lost its home and joined anew, and
// now answers where its old self is looked for.
static bool another_lives_there(const struct node *n, const struct dial_note *note)
{
    const struct gossip *g = peer_gossip(n->peer);
    struct address dialled;
    if ((note->reason != LINK_HANDSHAKE && note->reason != LINK_WRONG_KEY) || address_parse(note->address, &dialled))
        return false;
    for (uint32_t i = 0; i < gossip_member_count(g); i++) {
        struct gossip_member m;
        struct address_list list;
        gossip_member_at(g, i, &m);
        if (m.state != GOSSIP_ALIVE || id_equal(&m.id, &note->id) || address_list_decode(m.addresses, &list)) continue;
        if (address_is_loopback(&dialled) && !hash_equal(&m.host, &n->host)) continue;
        for (uint32_t k = 0; k < list.count; k++)
            if (address_equal(&list.items[k], &dialled)) return true;
    }
    return false;
}

static void dials(struct node *n, struct checks *c)
{
    for (int i = 0; i < DIALS_MAX; i++) {
        const struct dial_note *note = &n->dials.notes[i];
        char name[64];
        if (!note->reason || n->now_ms > note->at_ms + DIAL_TOLD_MS || links_is_up(n->links, &note->id)) continue;
        if (about_same(note, &n->dials.notes[0]) || another_lives_there(n, note)) continue;
        checks_dial(c, &(struct checks_dial_facts){.name = member_name(n, &note->id, name),
                                                   .address = note->address,
                                                   .reason = note->reason,
                                                   .told = note->told});
    }
}

// ---- runs ----

static void run_waits(struct node *n, struct checks *c, const struct run_status *status)
{
    bool over = status->head && (status->head->state == RUN_DONE || status->head->state == RUN_CANCELLED);
    bool wanted = status->head && status->head->state == RUN_PAUSED;
    // While the disk is full that is told, and not what comes of it.
    json_t *wait = over || wanted || n->disk_full ? NULL : run_waiting_json(n, status, WAIT_TOLD_MS);
    char run[9];
    if (!wait) return;
    hex_encode(run, status->run.bytes, 4);
    checks_add(c, TROUBLE_RUN_STALLED, json_string_value(json_object_get(wait, "peer")), "run", run, "cause",
               json_string_value(json_object_get(wait, "cause")), "remedy",
               json_string_value(json_object_get(wait, "remedy")), NULL);
    json_decref(wait);
}

static void runs(struct node *n, struct checks *c)
{
    uint32_t known = 0;
    for (uint32_t i = 0; i < peer_run_count(n->peer); i++) {
        struct run_status status;
        peer_run_at(n->peer, i, &status);
        struct run_data *run = runs_find(&n->runs, &status.run);
        if (!run || !run->has_spec) continue;
        known++;
        run_waits(n, c, &status);
    }
    if (!checks_has(c, CHECK_RUNS)) checks_pass(c, CHECK_RUNS, known ? "%u known, none waits" : "none", known);
}

// What was a device of this peer and isn't now.
static void devices(struct node *n, struct checks *c)
{
    for (uint32_t i = 0; i < n->lanes.count; i++) {
        const struct lane *l = &n->lanes.lane[i];
        enum lane_state state = lane_state(n, l);
        if (state != LANE_LOST && state != LANE_PROBING) continue;
        checks_add(c, TROUBLE_DEVICE_LOST, n->own.name, "device", l->name, "why", l->why, "when",
                   state == LANE_PROBING ? "now" : "by itself", NULL);
    }
}

void checks_of_node(struct node *n, struct checks *c)
{
    dials(n, c);
    members(n, c);
    runs(n, c);
    if (n->disk_full) checks_add(c, TROUBLE_DISK_REFUSES, n->own.name, "why", core_error_text(n->disk_err), NULL);
    devices(n, c);
}
