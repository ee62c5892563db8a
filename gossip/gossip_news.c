// What others say of members, and broadcasts, as they come in; and what follows from them.
#include "core/check.h"
#include "gossip/gossip_parts.h"
#include "gossip/sync.h"

enum {
    TOLD_MS = 1000,       // how often a linked peer that is believed dead is told so, for it to refute
    YOUNG_FOR_MS = 2000,  // digests are frequent for so long after records came by them
};

enum core_err gossip_own_cast(struct gossip *g, enum cast_topic topic, struct slice payload, uint64_t now_ms,
                              struct outbox *out)
{
    // Unique over restarts, as long as the incarnation rises.
    const uint64_t repeat = g->self.incarnation << 24 | (++g->serial & 0xffffff);
    return broadcast_cast(&g->broadcast, topic, repeat, payload, now_ms, out);
}

// A linked peer that is believed dead, or suspected, is told so, for it to refute.
void gossip_tell_the_dead(struct gossip *g, struct link *link, uint64_t now_ms, struct outbox *out)
{
    const struct member *member = members_find(&g->members, &link->id);
    if (!member || !member->accusations[0] || now_ms - link->told_ms < TOLD_MS) return;
    link->told_ms = now_ms;
    sync_entry_send(member, &link->id, out);
}

bool gossip_is_silent(const struct gossip *g, const struct link *link, uint64_t now_ms)
{
    return now_ms - link->heard_ms >= g->options.ping_ms + g->options.silent_ms;
}

void gossip_change_follow(struct gossip *g, const struct members_change *change, uint64_t now_ms, struct outbox *out)
{
    if (change->self_behind) gossip_self_refute(g, change->incarnation, now_ms, out);
    if (!change->news) return;
    const struct member *member = members_find(&g->members, &change->id);
    const enum gossip_state state = members_state(member);
    struct link *link = link_table_find(&g->links, &change->id);
    if (link && member->accusations[0]) gossip_tell_the_dead(g, link, now_ms, out);
    // Who was heard a moment ago will refute: it stays a neighbour until it falls silent here too.
    const bool fresh = link && state == GOSSIP_DEAD && !gossip_is_silent(g, link, now_ms);
    if (state >= GOSSIP_DEAD && !fresh) {
        view_lost(&g->view, &change->id, now_ms);
        monitor_settled(&g->monitor, &change->id);
    }
    if (state >= GOSSIP_DEAD) monitor_lost(&g->monitor, now_ms);
    if (state == GOSSIP_SUSPECT && members_accusations(member) < members_accusers_needed(&g->members, member))
        monitor_accused(&g->monitor, &change->id, now_ms, out);
    if (state == GOSSIP_ALIVE) view_known(&g->view, now_ms);
    if (change->revived) {
        monitor_settled(&g->monitor, &change->id);
        view_revived(&g->view, now_ms);
    }
    if (!change->notable) return;
    event_emit(&g->options.events, "gossip.member", EV_ID("peer", &change->id),
               EV_TEXT("state", gossip_state_name(state)), EV_U64("incarnation", member->record->incarnation));
    outbox_member(out, &change->id);
}

// What somebody said of others while it was cut off lies in queues, and comes when it is dead itself, or left: news
// to nobody. (Tables that are compared still agree on it.)
static bool is_posthumous(const struct gossip *g, struct slice bytes)
{
    struct accusation a;
    if (accusation_read(&a, bytes) || id_equal(&a.target, &g->self.id)) return false;
    const struct member *accuser = members_find(&g->members, &a.accuser),
                        *target = members_find(&g->members, &a.target);
    return accuser && members_state(accuser) >= GOSSIP_DEAD && target && members_state(target) == GOSSIP_ALIVE;
}

// Accusations of one member, one behind the other. `pass`: whether any of them is worth passing on.
static enum core_err accusations_put(struct gossip *g, struct slice bytes, bool broadcast, uint64_t now_ms,
                                     struct outbox *out, bool *pass)
{
    *pass = false;
    if (bytes.size % ACCUSATION_SIZE != 0 || bytes.size > MEMBERS_ACCUSATIONS_MAX) return CORE_ERR_MALFORMED;
    for (size_t at = 0; at < bytes.size; at += ACCUSATION_SIZE) {
        struct members_change change;
        const struct slice one = {bytes.data + at, ACCUSATION_SIZE};
        if (broadcast && is_posthumous(g, one)) continue;
        const enum core_err err = members_accusation_put(&g->members, one, now_ms, &change);
        if (err && err != CORE_ERR_REFUSED) return err;
        if (err) continue;
        *pass |= change.pass;
        gossip_change_follow(g, &change, now_ms, out);
    }
    return CORE_ERR_OK;
}

static enum core_err newcomers_put(struct gossip *g, struct slice bytes, uint64_t now_ms, struct outbox *out,
                                   bool *pass)
{
    struct reader r = reader_over(bytes.data, bytes.size);
    struct slice record;
    struct members_change change;
    *pass = false;
    while (newcomers_next(&r, &record)) {
        const enum core_err err = members_record_put(&g->members, record, now_ms, &change);
        if (err && err != CORE_ERR_REFUSED) return err;
        if (err) continue;
        *pass |= change.pass;
        gossip_change_follow(g, &change, now_ms, out);
    }
    return r.failed ? CORE_ERR_MALFORMED : CORE_ERR_OK;
}

static enum core_err entry_put(struct gossip *g, const struct core_id *from, struct slice record,
                               struct slice accusations, uint64_t now_ms, struct outbox *out)
{
    struct members_change change;
    const enum core_err err = members_record_put(&g->members, record, now_ms, &change);
    if (err) return err;
    gossip_change_follow(g, &change, now_ms, out);
    // Restarted with an old disk: it is told what it has to outlive.
    if (change.stale && id_equal(from, &change.id)) sync_entry_send(members_find(&g->members, from), from, out);
    bool pass;
    return accusations_put(g, accusations, false, now_ms, out, &pass);
}

enum core_err gossip_records_received(struct gossip *g, const struct core_id *from, struct slice records,
                                      uint64_t now_ms, struct outbox *out)
{
    struct reader r = reader_over(records.data, records.size);
    struct slice record, accusations;
    enum core_err first = CORE_ERR_OK;
    while (sync_entry_next(&r, &record, &accusations)) {
        const enum core_err err = entry_put(g, from, record, accusations, now_ms, out);
        g->young_ms = now_ms + YOUNG_FOR_MS;
        // A certificate that ran out is not the fault of whoever passes it on.
        if (err && err != CORE_ERR_REFUSED && !first) first = err;
    }
    return r.failed ? CORE_ERR_MALFORMED : first;
}

// A CAST_BULK as a CAST. False if it came the wrong way for its size.
static bool cast_of(const struct message *m, struct message_cast *cast)
{
    if (m->type == MESSAGE_CAST) {
        *cast = m->cast;
        return cast->payload.size <= GOSSIP_PUSH_MAX;
    }
    const struct message_cast_bulk *bulk = &m->cast_bulk;
    *cast = (struct message_cast){.id = bulk->id, .origin = bulk->origin, .topic = bulk->topic};
    cast->repeat = bulk->repeat;
    cast->hops = bulk->hops;
    cast->payload = m->bulk;
    return cast->payload.size > GOSSIP_PUSH_MAX && cast->payload.size <= GOSSIP_PAYLOAD_MAX;
}

enum core_err gossip_cast_received(struct gossip *g, const struct core_id *from, const struct message *m,
                                   uint64_t now_ms, struct outbox *out)
{
    struct message_cast cast;
    if (!cast_of(m, &cast)) return CORE_ERR_MALFORMED;
    const enum broadcast_verdict verdict = broadcast_look(&g->broadcast, from, &cast, now_ms, out);
    if (verdict == BROADCAST_MALFORMED) return CORE_ERR_MALFORMED;
    if (verdict == BROADCAST_KNOWN) return CORE_ERR_OK;
    const struct message_cast *c = &cast;
    if (id_equal(&c->origin, &g->self.id)) return CORE_ERR_OK;  // of an earlier life
    const struct gossip_callbacks *callbacks = &g->options.callbacks;
    struct members_change change = {0};
    enum core_err err = CORE_ERR_OK;
    switch (c->topic) {
    case TOPIC_MEMBER: err = members_record_put(&g->members, c->payload, now_ms, &change); break;
    case TOPIC_SUSPICION: err = accusations_put(g, c->payload, true, now_ms, out, &change.pass); break;
    case TOPIC_NEWCOMERS: err = newcomers_put(g, c->payload, now_ms, out, &change.pass); break;
    default:
        if (callbacks->payload_valid &&
            !callbacks->payload_valid(callbacks->context, &c->origin, (enum cast_topic)c->topic, c->payload))
            err = CORE_ERR_BAD_SIGNATURE;
    }
    if (err == CORE_ERR_REFUSED) return CORE_ERR_OK;
    if (err) return err;
    const bool is_ours = c->topic == TOPIC_MEMBER || c->topic == TOPIC_SUSPICION || c->topic == TOPIC_NEWCOMERS;
    if (is_ours && !change.pass) return CORE_ERR_OK;
    broadcast_accept(&g->broadcast, from, c, now_ms, out);
    if (!is_ours) {
        g->counts.casts_delivered++;
        outbox_deliver(out, &c->origin, (enum cast_topic)c->topic, c->payload);
        return CORE_ERR_OK;
    }
    gossip_change_follow(g, &change, now_ms, out);
    return CORE_ERR_OK;
}
