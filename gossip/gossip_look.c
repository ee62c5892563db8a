// What gossip knows, for its owner to read, to save and to load again.
#include "core/check.h"
#include "gossip/gossip_parts.h"
#include "gossip/sync.h"

uint32_t gossip_member_count(const struct gossip *g)
{
    return g->members.count;
}

static void describe(const struct gossip *g, const struct member *member, struct gossip_member *out)
{
    const struct member_record *r = member->record;
    *out = (struct gossip_member){.id = r->id,
                                  .state = members_state(member),
                                  .incarnation = r->incarnation,
                                  .seq = r->seq,
                                  .heard_ms = member->heard_ms,
                                  .since_ms = member->since_ms,
                                  .host = r->host,
                                  .name = r->name,
                                  .addresses = r->addresses,
                                  .certificate = r->certificate,
                                  .site = r->site,
                                  .located = r->located,
                                  .coordinates = r->coordinates,
                                  .dialable = r->addresses.size > 0};
    out->self = id_equal(&r->id, &g->self.id);
    for (uint32_t i = 0; i < g->links.count; i++) {
        const struct link *link = &g->links.items[i];
        if (!id_equal(&link->id, &r->id)) continue;
        out->linked = true;
        out->neighbor = link->neighbor;
        out->rtt_us = link->rtt_us;
    }
}

void gossip_member_at(const struct gossip *g, uint32_t index, struct gossip_member *out)
{
    describe(g, members_at(&g->members, index), out);
}

bool gossip_member_find(const struct gossip *g, const struct core_id *id, struct gossip_member *out)
{
    const struct member *member = members_find(&g->members, id);
    if (member) describe(g, member, out);
    return member != NULL;
}

enum gossip_state gossip_state_of(const struct gossip *g, const struct core_id *id)
{
    const struct member *member = members_find(&g->members, id);
    return member ? members_state(member) : GOSSIP_DEAD;
}

const char *gossip_state_name(enum gossip_state state)
{
    static const char *const names[] = {"alive", "suspect", "dead", "left"};
    check(state <= GOSSIP_LEFT);
    return names[state];
}

uint32_t gossip_neighbors(const struct gossip *g, struct core_id *ids, uint32_t max)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < g->links.count; i++) {
        if (!g->links.items[i].neighbor) continue;
        if (count < max) ids[count] = g->links.items[i].id;
        count++;
    }
    return count;
}

uint64_t gossip_incarnation(const struct gossip *g)
{
    return g->self.incarnation;
}

bool gossip_coordinates(const struct gossip *g, struct coordinates_point *out)
{
    *out = coordinates_rounded(&g->coordinates);
    return g->coordinates.samples > 0;
}

uint32_t gossip_health(const struct gossip *g)
{
    return g->monitor.health;
}

const char *gossip_refusal_name(enum gossip_refusal why)
{
    static const char *const names[] = {
#define REFUSAL_NAME(NAME, name) #name,
        GOSSIP_REFUSALS(REFUSAL_NAME)
#undef REFUSAL_NAME
    };
    check(why < GOSSIP_REFUSED_COUNT);
    return names[why];
}

bool gossip_proof(const struct gossip *g, uint32_t index, struct core_id *member, struct slice records[2])
{
    if (index >= g->members.proof_count) return false;
    for (uint32_t i = 0; i < 2; i++) records[i] = g->members.proofs[index].records[i]->bytes;
    *member = g->members.proofs[index].records[0]->id;
    return true;
}

void gossip_counts_get(const struct gossip *g, struct gossip_counts *out)
{
    *out = g->counts;
}

// ---- keeping the table over a restart ----

size_t gossip_entry_save(const struct gossip *g, uint32_t index, uint8_t *out)
{
    struct writer w = writer_over(out, GOSSIP_ENTRY_MAX);
    sync_entry_write(&w, members_at(&g->members, index));
    check(!w.overflowed);
    return w.size;
}

enum core_err gossip_entry_load(struct gossip *g, struct slice entry, uint64_t now_ms)
{
    struct reader r = reader_over(entry.data, entry.size);
    struct slice record, accusations;
    if (!sync_entry_next(&r, &record, &accusations) || !reader_finished(&r)) return CORE_ERR_MALFORMED;
    struct members_change change;
    enum core_err err = members_record_put(&g->members, record, now_ms, &change);
    if (err) return err;
    if (change.self_behind) {
        g->self.incarnation = change.incarnation + 1;
        gossip_self_put(g, now_ms);
    }
    for (size_t at = 0; at < accusations.size; at += ACCUSATION_SIZE) {
        err = members_accusation_put(&g->members, (struct slice){accusations.data + at, ACCUSATION_SIZE}, now_ms,
                                     &change);
        if (err) return err;
    }
    return CORE_ERR_OK;
}
