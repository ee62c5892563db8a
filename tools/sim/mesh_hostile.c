// Hostile members of mesh mode: each runs the real machine, so that it has links and is trusted like any, and beside it
// does mischief over those links. They know every id there is, and share one machine.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "gossip/record.h"
#include "tools/sim/mesh_world.h"

enum {
    ACT_US = 300000,
    FLOOD_MESSAGES = 120,
    ECLIPSE_DIALS = 4,
    LIST_MAX = 8,
    BODY_MAX = 8192,
};

void mesh_hostile_begin(struct mesh_world *w)
{
    // Not among the contacts, whom a storm joins through: nobody joins through those it can't trust at all.
    uint32_t left = w->options.hostile;
    const uint32_t nodes = w->options.nodes;
    for (uint32_t i = nodes; i-- > MESH_CONTACTS && left > 0; left--) {
        w->nodes[i].hostile = true;
        w->nodes[i].heard = calloc(MESH_HEARD, sizeof *w->nodes[i].heard);
        check(w->nodes[i].heard);
    }
}

void mesh_hostile_heard(struct mesh_world *w, uint32_t index, const struct wire *wire)
{
    struct mesh_node *n = &w->nodes[index];
    if (!(w->options.attacks & (ATTACK_REPLAY | ATTACK_ABSURD))) return;
    struct wire **place = &n->heard[n->heard_count++ % MESH_HEARD];
    wire_release(*place);
    *place = wire_make(&wire->message);
}

bool mesh_hostile_keeps(const struct mesh_world *w, const struct mesh_node *n, const struct message *m)
{
    if (!n->hostile || !(w->options.attacks & ATTACK_MUTE) || w->calm) return false;
    return m->type == MESSAGE_CAST || m->type == MESSAGE_CAST_BULK || m->type == MESSAGE_CAST_HAVE;
}

static void tell(struct mesh_world *w, uint32_t index, struct mesh_side *side, const struct message *m)
{
    struct wire *wire = wire_make(m);
    mesh_transmit(w, index, side, wire);
    wire_release(wire);
}

// A link to an honest peer, or NULL.
static struct mesh_side *victim(struct mesh_world *w, struct mesh_node *n)
{
    for (uint32_t tries = 0; n->side_count && tries < 8; tries++) {
        struct mesh_side *side = &n->sides[mesh_chance(w, n->side_count)];
        if (side->up && !w->nodes[side->other].hostile) return side;
    }
    return NULL;
}

static uint32_t honest(struct mesh_world *w)
{
    return mesh_chance(w, w->options.nodes - w->options.hostile);
}

// A broadcast's id, which is checked by whoever gets it (docs/wire-format.md).
static void hash_cast(struct message *m)
{
    struct message_cast *c = &m->cast;
    uint8_t numbers[16];
    struct writer writer = writer_over(numbers, sizeof numbers);
    write_u64(&writer, c->topic);
    write_u64(&writer, c->repeat);
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, c->origin.bytes, sizeof c->origin.bytes);
    hash_add(&s, numbers, sizeof numbers);
    hash_add(&s, c->payload.data, c->payload.size);
    c->id = hash_end(&s);
}

static void say_record(struct mesh_world *w, uint32_t index, struct mesh_side *side, struct slice record, bool cast)
{
    uint8_t entry[RECORD_MAX + 16];
    struct writer writer = writer_over(entry, sizeof entry);
    write_slice(&writer, record);
    write_slice(&writer, (struct slice){0});
    struct message m = {.type = MESSAGE_MEMBERS_RECORDS};
    m.members_records.records = (struct slice){entry, writer.size};
    if (cast) {
        m = (struct message){.type = MESSAGE_CAST};
        m.cast.origin = w->nodes[index].key.id;
        m.cast.topic = TOPIC_MEMBER;
        m.cast.repeat = rng_u64(&w->rng);
        m.cast.payload = record;
        hash_cast(&m);
    }
    tell(w, index, side, &m);
}

// ---- attacks ----

static void forge(struct mesh_world *w, uint32_t index, struct mesh_side *side)
{
    const bool nobody = mesh_chance(w, 3) == 0;
    struct core_key key = w->nodes[index].key;
    struct member_record r = {.incarnation = 1000 + mesh_chance(w, 1000), .seq = 1, .left = mesh_chance(w, 2)};
    r.addresses = (struct slice){(const uint8_t *)"sim:0:9", 7};
    if (nobody) {  // one that no certificate names
        const uint64_t seed[4] = {w->options.seed, rng_u64(&w->rng), 7, 7};
        key = sign_key_from_seed((const uint8_t *)seed);
        r.id = key.id;
        r.certificate = (struct slice){w->nodes[index].certificate.bytes, 32};
    } else {  // an honest one, signed by this one
        const struct mesh_node *other = &w->nodes[honest(w)];
        r.id = other->key.id;
        r.certificate = (struct slice){other->certificate.bytes, 32};
    }
    uint8_t bytes[RECORD_MAX];
    const size_t size = record_write(bytes, &r, &key);
    say_record(w, index, side, (struct slice){bytes, size}, mesh_chance(w, 2));
}

static void accuse(struct mesh_world *w, uint32_t index, struct mesh_side *side)
{
    struct mesh_node *n = &w->nodes[index];
    const uint32_t target = honest(w);
    struct gossip_member member;
    if (!gossip_member_find(n->gossip, &w->nodes[target].key.id, &member)) return;
    const struct accusation a = {
        .accuser = n->key.id,
        .target = member.id,
        .incarnation = member.incarnation + (mesh_chance(w, 4) == 0),
    };
    uint8_t bytes[ACCUSATION_SIZE];
    accusation_write(bytes, &a, &n->key);
    struct message m = {.type = MESSAGE_CAST};
    m.cast.origin = n->key.id;
    m.cast.topic = TOPIC_SUSPICION;
    m.cast.repeat = rng_u64(&w->rng);
    m.cast.payload = (struct slice){bytes, sizeof bytes};
    hash_cast(&m);
    tell(w, index, side, &m);
}

static void replay(struct mesh_world *w, uint32_t index, struct mesh_side *side)
{
    struct mesh_node *n = &w->nodes[index];
    for (uint32_t i = 0; i < 8; i++) {
        const struct wire *old = n->heard[mesh_chance(w, MESH_HEARD)];
        if (old) tell(w, index, side, &old->message);
    }
}

static void equivocate(struct mesh_world *w, uint32_t index)
{
    struct mesh_node *n = &w->nodes[index];
    struct gossip_member self;
    if (!gossip_member_find(n->gossip, &n->key.id, &self)) return;
    uint32_t number = 0;
    for (uint32_t i = 0; i < n->side_count; i++) {
        struct mesh_side *side = &n->sides[i];
        if (!side->up) continue;
        uint8_t name[2] = {'q', (uint8_t)('a' + number++ % 16)}, bytes[RECORD_MAX];
        const struct member_record r = {
            .id = n->key.id,
            .incarnation = self.incarnation,
            .seq = self.seq + 1,
            .name = {name, sizeof name},
            .addresses = {(const uint8_t *)"sim:1:0", 7},
            .certificate = {n->certificate.bytes, 32},
        };
        const size_t size = record_write(bytes, &r, &n->key);
        say_record(w, index, side, (struct slice){bytes, size}, mesh_chance(w, 2));
    }
}

static uint64_t odd_number(struct mesh_world *w)
{
    switch (mesh_chance(w, 5)) {
    case 0: return 0;
    case 1: return UINT64_MAX - mesh_chance(w, 2);
    case 2: return UINT64_C(1) << mesh_chance(w, 64);
    case 3: return rng_u64(&w->rng);
    default: return mesh_chance(w, 300);
    }
}

// Any type of gossip's, its numbers and bytes anything; what is real about it is a replayed message where there is one.
static void absurd(struct mesh_world *w, uint32_t index, struct mesh_side *side)
{
    struct mesh_node *n = &w->nodes[index];
    const struct wire *old = n->heard[mesh_chance(w, MESH_HEARD)];
    struct message m = {0};
    if (old && mesh_chance(w, 2)) {
        m = old->message;
    } else {
        uint32_t types = 0;
        while (message_info_at(types)) types++;
        do m.type = message_info_at(mesh_chance(w, types))->type;
        while (m.type < MESSAGE_PING || m.type >= MESSAGE_DATA ||
               (m.type > MESSAGE_PONG && m.type < MESSAGE_VIEW_JOIN));
    }
    const struct message_info *info = message_info(m.type);
    uint8_t body[BODY_MAX];
    size_t used = 0;
    for (uint32_t i = 0; i < info->count; i++) {
        uint8_t *at = (uint8_t *)&m + info->fields[i].offset;
        if (old && m.type == old->message.type && mesh_chance(w, 2)) continue;
        switch (info->fields[i].kind) {
        case MESSAGE_U64: {
            const uint64_t v = odd_number(w);
            memcpy(at, &v, sizeof v);
            break;
        }
        case MESSAGE_ID:
        case MESSAGE_HASH:
            memcpy(at, w->nodes[mesh_chance(w, w->options.nodes)].key.id.bytes, 32);
            if (mesh_chance(w, 2)) at[mesh_chance(w, 32)] ^= 1;
            break;
        case MESSAGE_SIG: at[mesh_chance(w, 64)] ^= 1; break;
        case MESSAGE_BYTES: {
            struct slice *s = (struct slice *)(void *)at;
            size_t size = s->size && mesh_chance(w, 2) ? s->size : mesh_chance(w, 600);
            const size_t most = info->body_limit < 256 ? 32 : 4096;
            if (size > most) size = most;
            if (size > sizeof body - used) size = sizeof body - used;
            for (size_t k = 0; k < size; k++) body[used + k] = s->size > k ? s->data[k] : (uint8_t)mesh_chance(w, 256);
            for (uint32_t k = 0; size && k < 3; k++)
                body[used + mesh_chance(w, (uint32_t)size)] = (uint8_t)odd_number(w);
            *s = (struct slice){body + used, size};
            used += size;
            break;
        }
        }
    }
    tell(w, index, side, &m);
}

static void flood(struct mesh_world *w, uint32_t index, struct mesh_side *side)
{
    uint8_t bytes[2048];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)mesh_chance(w, 256);
    const uint32_t other = side->other;
    for (uint32_t i = 0; i < FLOOD_MESSAGES && side; i++) {
        struct message m = {.type = MESSAGE_CAST_HAVE};
        bytes[mesh_chance(w, 2048)]++;
        switch (mesh_chance(w, 4)) {
        case 0: m.cast_have.ids = (struct slice){bytes, sizeof bytes}; break;
        case 1:  // a member may say what it likes: its broadcasts are its own
            m = (struct message){.type = MESSAGE_CAST};
            m.cast.origin = w->nodes[index].key.id;
            m.cast.topic = TOPIC_RUN_COMMAND;
            m.cast.repeat = rng_u64(&w->rng);
            memset(bytes, 0xff, 8);  // no broadcast of the world's
            m.cast.payload = (struct slice){bytes, 64};
            hash_cast(&m);
            break;
        case 2:
            m = (struct message){.type = MESSAGE_VIEW_FORWARD};
            m.view_forward.joiner = w->nodes[honest(w)].key.id;
            m.view_forward.addresses = (struct slice){(const uint8_t *)"sim:0:0", 7};
            m.view_forward.hops_left = 6;
            break;
        default:
            m = (struct message){.type = MESSAGE_PROBE};
            m.probe.target = w->nodes[honest(w)].key.id;
            m.probe.nonce = rng_u64(&w->rng);
        }
        tell(w, index, side, &m);
        side = mesh_side_find(&w->nodes[index], other);
    }
}

// Pushes itself and its own into views: urgent requests over every link, shuffles that name nobody else, more links.
static void eclipse(struct mesh_world *w, uint32_t index)
{
    struct mesh_node *n = &w->nodes[index];
    uint8_t list[LIST_MAX * 64];
    struct writer writer = writer_over(list, sizeof list);
    for (uint32_t i = 0; i < LIST_MAX; i++) {
        const uint32_t friend = w->options.nodes - 1 - mesh_chance(w, w->options.hostile);
        char address[32];
        const size_t size = mesh_node_address(w, friend, address, sizeof address);
        write_bytes(&writer, w->nodes[friend].key.id.bytes, CORE_ID_SIZE);
        write_slice(&writer, (struct slice){(const uint8_t *)address, size});
    }
    for (uint32_t i = 0; i < n->side_count; i++) {
        struct mesh_side *side = &n->sides[i];
        if (!side->up || w->nodes[side->other].hostile) continue;
        struct message m = {.type = MESSAGE_VIEW_NEIGHBOR};
        m.view_neighbor.urgent = 1;
        tell(w, index, side, &m);
        m = (struct message){.type = MESSAGE_VIEW_SHUFFLED};
        m.view_shuffled.peers = (struct slice){list, writer.size};
        tell(w, index, side, &m);
        const uint32_t friend = w->options.nodes - 1 - mesh_chance(w, w->options.hostile);
        char address[32];
        const size_t size = mesh_node_address(w, friend, address, sizeof address);
        m = (struct message){.type = MESSAGE_VIEW_FORWARD};
        m.view_forward.joiner = w->nodes[friend].key.id;
        m.view_forward.addresses = (struct slice){(const uint8_t *)address, size};
        tell(w, index, side, &m);
    }
    for (uint32_t i = 0; i < ECLIPSE_DIALS; i++) mesh_dial(w, index, honest(w), (struct slice){0});
}

void mesh_hostile_act(struct mesh_world *w, uint32_t index)
{
    struct mesh_node *n = &w->nodes[index];
    mesh_push(w, (struct mesh_event){.kind = MESH_MISCHIEF, .node = index, .life = n->life},
              ACT_US / 2 + mesh_chance(w, ACT_US));
    if (!w->acting) return;
    for (uint32_t i = 0; i < ATTACK_COUNT; i++) {
        if (!(w->options.attacks & 1u << i)) continue;
        struct mesh_side *side = victim(w, n);
        if (!side && (1u << i) != ATTACK_ECLIPSE) continue;
        w->report->attacks[i]++;
        switch ((enum mesh_attack)(1u << i)) {
        case ATTACK_FORGE: forge(w, index, side); break;
        case ATTACK_ACCUSE: accuse(w, index, side); break;
        case ATTACK_REPLAY: replay(w, index, side); break;
        case ATTACK_EQUIVOCATE: equivocate(w, index); break;
        case ATTACK_ABSURD: absurd(w, index, side); break;
        case ATTACK_FLOOD: flood(w, index, side); break;
        case ATTACK_ECLIPSE: eclipse(w, index); break;
        case ATTACK_MUTE:
        case ATTACK_ALL: break;
        }
    }
}
