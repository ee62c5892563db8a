// From the links to the protocol: who came and went, what they said, who asks to be admitted.
#include <stdlib.h>
#include <string.h>

#include "node/control/verbs.h"
#include "node/daemon.h"
#include "node/look/map.h"
#include "node/look/trace.h"

enum { LINK_IDLE_MS = 10000, LINK_WORK_IDLE_MS = 60000, STRIKE_BAN_MS = 10000 };

struct node_link *node_link_find(struct node *n, const struct core_id *id)
{
    for (int i = 0; i < NODE_LINKS_MAX; i++)
        if (n->link[i].used && id_equal(&n->link[i].id, id)) return &n->link[i];
    return NULL;
}

bool node_answer_due(struct node_answers *answers, uint64_t now_ms, uint32_t most)
{
    if (now_ms >= answers->since_ms + 1000) *answers = (struct node_answers){.since_ms = now_ms};
    return answers->count++ < most;
}

void node_link_works(struct node *n, struct node_link *link)
{
    link->used_ms = n->now_ms;
    link->worked = true;
}

static void link_note(struct node *n, const struct link_event *e)
{
    struct node_link *free_place = NULL;
    for (int i = 0; i < NODE_LINKS_MAX && !free_place; i++)
        if (!n->link[i].used) free_place = &n->link[i];
    if (!free_place || node_link_find(n, &e->id)) return;
    *free_place = (struct node_link){.id = e->id, .used = true, .used_ms = n->now_ms, .host = e->host};
}

void node_refused(struct node *n, enum message_type type, enum core_err err)
{
    n->refused++;
    if ((uint32_t)type < NODE_TYPES && (uint32_t)err < CORE_ERR_COUNT) n->refused_by[type][err]++;
}

void node_strike(struct node *n, const struct core_id *id, enum message_type type, enum core_err err)
{
    node_refused(n, type, err);
    event_emit(&n->events, "link.refused", EV_ID("peer", id), EV_TEXT("what", message_info(type)->name),
               EV_TEXT("why", core_error_name(err)));
    struct node_link *link = node_link_find(n, id);
    if (err != CORE_ERR_MALFORMED && err != CORE_ERR_BAD_SIGNATURE && err != CORE_ERR_VERIFY_FAILED) return;
    if (link && ++link->strikes >= NODE_STRIKES_MAX) links_ban(n->links, id, STRIKE_BAN_MS);
}

enum core_err node_invitations_save(struct node *n)
{
    uint8_t *bytes = malloc(INVITATIONS_BYTES);
    if (!bytes) return CORE_ERR_NO_MEMORY;
    size_t size = invitations_encode(&n->invitations, bytes);
    enum core_err err = home_write(&n->home, "invitations", (struct slice){bytes, size});
    free(bytes);
    return err;
}

static void admit(struct node *n, const struct link_event *e)
{
    struct admission_sponsor sponsor = {.charter = &n->charter,
                                        .key = &n->key,
                                        .certificate = {n->certificate, n->certificate_size},
                                        .revoked = &n->revoked,
                                        .ledger = &n->invitations,
                                        .certificate_ttl_s = n->certificate_ttl_s};
    struct admission_answer *answer = calloc(1, sizeof *answer);
    if (!answer) return;
    struct invitations before = n->invitations;
    admission_decide(&sponsor, e->message, e->curve, node_wall_s(), answer);
    enum core_err err = answer->err;
    if (!err) {
        err = node_invitations_save(n);
        if (err) {  // a use that isn't written down was never given
            n->invitations = before;
            node_disk_failed(n, err, "invitations");
            struct message refused = {.type = MESSAGE_REFUSED};
            refused.refused.error = (uint64_t)CORE_ERR_NO_SPACE;
            static const char why[] = "the sponsor's disk is full";
            refused.refused.why = (struct slice){(const uint8_t *)why, sizeof why - 1};
            answer->message = refused;
        }
    }
    if (links_answer(n->links, e->ticket, &answer->message))
        event_emit(&n->events, "admission.gone", EV_TEXT("from", e->address));
    if (err) {
        node_refused(n, MESSAGE_ADMIT, err);
        event_emit(&n->events, "admission.refused", EV_TEXT("from", e->address), EV_TEXT("why", answer->why));
    } else {
        event_emit(&n->events, "admission.admitted", EV_ID("peer", &answer->issued.key),
                   EV_TEXT("name", answer->issued.name), EV_TEXT("from", e->address));
    }
    links_admit_open(n->links, invitations_open(&n->invitations, node_wall_s()));
    free(answer);
}

// The round trip of gossip's ping that this PONG answers, in microseconds; 0 where it answers none.
static uint64_t round_trip_us(struct node *n, const struct core_id *from, uint64_t nonce)
{
    struct node_link *link = node_link_find(n, from);
    if (!link || !link->ping_us || link->ping_nonce != nonce) return 0;
    uint64_t rtt_us = node_clock_us() - link->ping_us;
    link->ping_us = 0;
    return rtt_us ? rtt_us : 1;
}

static void take_message(struct node *n, const struct core_id *from, const struct message *m, struct buffer *bulk)
{
    uint64_t rtt_us = 0;
    switch (m->type) {
    case MESSAGE_CHUNK_GET:
        peer_heard(n->peer, from, n->now_ms);
        catalog_serve(n, from, &m->chunk_get.hash);
        return;
    case MESSAGE_CHUNK:
        event_emit(&n->events, "chunk.came", EV_ID("peer", from), EV_HASH("chunk", &m->chunk.hash),
                   EV_U64("found", m->chunk.found));
        peer_heard(n->peer, from, n->now_ms);
        transfers_chunk(n, from, m);
        return;
    case MESSAGE_DATA: {
        struct node_link *link = node_link_find(n, from);
        if (link) node_link_works(n, link);
        peer_heard(n->peer, from, n->now_ms);
        incoming_data(n, from, m, bulk);
        return;
    }
    case MESSAGE_BYE: return;  // LINK_EVENT_DOWN follows
    case MESSAGE_LINKS_ASK:
        peer_heard(n->peer, from, n->now_ms);
        map_asked(n, from, m->links_ask.nonce);
        return;
    case MESSAGE_CHECK_ASK:
        peer_heard(n->peer, from, n->now_ms);
        dialback_asked(n, from, m->check_ask.nonce);
        return;
    case MESSAGE_CHECK_TELL: {
        peer_heard(n->peer, from, n->now_ms);
        enum core_err err = doctor_told(n, from, m);
        if (err) node_strike(n, from, m->type, err);
        return;
    }
    case MESSAGE_LINKS_TELL: {
        peer_heard(n->peer, from, n->now_ms);
        enum core_err err = map_told(n, from, m);
        if (err) node_strike(n, from, m->type, err);
        return;
    }
    case MESSAGE_TRACE_ASK:
        peer_heard(n->peer, from, n->now_ms);
        trace_asked(n, from, m);
        return;
    case MESSAGE_TRACE_TELL: {
        peer_heard(n->peer, from, n->now_ms);
        enum core_err err = trace_told(n, from, m);
        if (err) node_strike(n, from, m->type, err);
        return;
    }
    case MESSAGE_PONG:
        if (verb_ping_answered(n, from, m->pong.nonce)) {
            peer_heard(n->peer, from, n->now_ms);
            return;
        }
        rtt_us = round_trip_us(n, from, m->pong.nonce);
        break;
    default: break;
    }
    enum core_err err = peer_message(n->peer, from, m, n->now_ms, &n->out);
    if (err) node_strike(n, from, m->type, err);
    if (!err && rtt_us) peer_measured(n->peer, from, rtt_us, n->now_ms);
}

void node_link_event(void *context, const struct link_event *e)
{
    struct node *n = context;
    n->now_ms = node_clock_ms();
    dials_event(&n->dials, e, n->now_ms);
    switch (e->kind) {
    case LINK_EVENT_UP:
        link_note(n, e);
        event_emit(&n->events, "link.up", EV_ID("peer", &e->id),
                   EV_TEXT("name", e->certificate ? e->certificate->name : ""), EV_TEXT("address", e->address),
                   EV_U64("dialled", e->dialled_by_us));
        peer_link_up(n->peer, &e->id, n->now_ms, &n->out);
        outbound_link_up(n, &e->id);
        transfers_back(n, &e->id);
        break;
    case LINK_EVENT_DOWN: {
        struct node_link *link = node_link_find(n, &e->id);
        if (link) link->used = false;
        event_emit(&n->events, "link.down", EV_ID("peer", &e->id), EV_TEXT("why", link_reason_text(e->reason)));
        peer_link_down(n->peer, &e->id, n->now_ms, &n->out);
        transfers_gone(n, &e->id);
        break;
    }
    case LINK_EVENT_MESSAGE: take_message(n, &e->id, e->message, e->bulk); break;
    case LINK_EVENT_ADMIT: admit(n, e); break;
    case LINK_EVENT_ADDRESS_FAILED:
        event_emit(&n->events, "link.address_failed", EV_ID("peer", &e->id), EV_TEXT("address", e->address),
                   EV_TEXT("why", link_reason_text(e->reason)));
        break;
    case LINK_EVENT_DIAL_FAILED:
        event_emit(&n->events, "link.dial_failed", EV_ID("peer", &e->id), EV_TEXT("why", link_reason_text(e->reason)));
        outbound_dial_failed(n, &e->id);
        peer_dial_failed(n->peer, &e->id, n->now_ms, &n->out);
        break;
    case LINK_EVENT_REFUSED:
        event_emit(&n->events, "link.refused", EV_TEXT("from", e->address),
                   EV_TEXT("why", link_reason_text(e->reason)));
        break;
    }
    node_perform(n);
}

// Links that gossip no longer needs go once nothing has used them for a while.
static void drop_idle(struct node *n)
{
    for (int i = 0; i < NODE_LINKS_MAX; i++) {
        struct node_link *link = &n->link[i];
        uint64_t idle_ms = link->worked ? LINK_WORK_IDLE_MS : LINK_IDLE_MS;
        if (!link->used || !link->unwanted || n->now_ms < link->used_ms + idle_ms) continue;
        struct gossip_member member;  // it may have become a neighbour again over the same link
        if (gossip_member_find(peer_gossip(n->peer), &link->id, &member) && member.neighbor)
            link->unwanted = false;
        else
            links_hangup(n->links, &link->id);
    }
}

// With a sponsor's address: dial it until it is a member here. Links to others are not enough: newcomers that find each
// other first would stay a mesh of their own.
static void find_mesh(struct node *n)
{
    if (id_is_zero(&n->sponsor) || n->now_ms < n->sponsor_dial_ms) return;
    struct links_stats stats;
    links_stats(n->links, &stats);
    n->sponsor_dial_ms = n->now_ms + 2000;
    struct gossip_member sponsor;
    if (stats.up > 0 && gossip_member_find(peer_gossip(n->peer), &n->sponsor, &sponsor)) return;
    outbound_dial(n, &n->sponsor, (struct slice){n->sponsor_addresses, n->sponsor_addresses_size});
}

void node_links_tick(struct node *n)
{
    drop_idle(n);
    find_mesh(n);
    outbound_tick(n);
    links_admit_open(n->links, invitations_open(&n->invitations, node_wall_s()));
}
