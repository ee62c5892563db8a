// A member of the run that lies. It runs the same peer as everybody, so that what it says fits, and what that peer
// sends is turned into lies on the way out: one thing to some, another to others. Beside that it makes up messages of
// its own. What it does in a seed, and in a stretch of some seconds, is drawn.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "ledger/vote.h"
#include "learn/cut.h"
#include "tools/sim/watch.h"

enum { ACT_US = 80000, MOOD_US = 3000000, FORKS = 8, FLOOD = 60 };

// Two proposals for one round, each side gets one of them and votes for it.
struct fork {
    uint64_t height;
    uint32_t round;
    struct core_hash first, second;
    uint8_t *bytes;  // the second, encoded; malloc'd
    size_t size;
};

struct traitor {
    uint32_t node;
    uint32_t lies, mood;  // sets of enum traitor_lie: of the seed, now
    uint64_t mood_until_us;
    uint64_t silent;  // set of message types, by their number less MESSAGE_DATA
    uint64_t sides;   // set of nodes that are told the second thing
    struct fork forks[FORKS];
    uint32_t fork_next;
    uint8_t commit[COMMIT_LIMIT];  // its last own
    size_t commit_size;
    uint64_t height;  // the last that it voted at
};

uint32_t traitor_node(const struct world *w)
{
    return w->traitor ? w->traitor->node : UINT32_MAX;
}

static void draw_mood(struct world *w, struct traitor *t)
{
    if (w->now_us < t->mood_until_us) return;
    if (w->options.lies) {
        if (!t->mood) t->sides = rng_u64(&w->rng);
        t->mood = w->options.lies;
        return;
    }
    t->mood_until_us = w->now_us + world_chance(w, 2 * MOOD_US);
    t->mood = 0;
    if (world_chance(w, 4) == 0) return;  // as honest as can be
    for (uint32_t i = 0; i < LIE_KINDS; i++)
        if (t->lies & 1u << i && world_chance(w, 3)) t->mood |= 1u << i;
    t->silent = world_chance(w, 2) ? rng_u64(&w->rng) & rng_u64(&w->rng) : 0;
    t->sides = rng_u64(&w->rng);
}

void traitor_begin(struct world *w, uint32_t node)
{
    struct traitor *t = calloc(1, sizeof *t);
    check(t);
    t->node = node;
    for (uint32_t i = 0; i < LIE_KINDS; i++)
        if (world_chance(w, 2)) t->lies |= 1u << i;
    if (w->options.lies) t->lies = w->options.lies;
    if (!t->lies) t->lies = LIE_VOTES | LIE_PROPOSALS;
    w->traitor = t;
    w->report->faults[13]++;
    w->nodes[node].hostile = true;
    world_push(w, (struct world_event){.kind = WORLD_MISCHIEF, .node = node}, 1200000);
}

void traitor_end(struct world *w)
{
    for (uint32_t i = 0; w->traitor && i < FORKS; i++) free(w->traitor->forks[i].bytes);
    free(w->traitor);
    w->traitor = NULL;
}

static bool second_side(const struct traitor *t, uint32_t to)
{
    return t->sides >> to & 1;
}

static void tell(struct node *n, uint32_t to, const struct message *m, bool lie)
{
    n->world->report->lies += lie;
    world_send(n->world, n->index, to, m);
}

// ---- proposals and votes ----

static struct fork *find_fork(struct traitor *t, uint64_t height, uint32_t round)
{
    for (uint32_t i = 0; i < FORKS; i++)
        if (t->forks[i].bytes && t->forks[i].height == height && t->forks[i].round == round) return &t->forks[i];
    return NULL;
}

// Another value of the same kind. 0: none.
static size_t other_value(struct world *w, struct slice value, uint8_t *out, size_t room)
{
    struct writer writer = writer_over(out, room);
    struct cut cut;
    struct manifest m;
    if (!cut_decode(value, &cut)) {
        if (!cut.count) return 0;
        cut.count = world_chance(w, 3) ? cut.count - 1 : 0;
        cut_encode(&writer, &cut);
    } else if (!manifest_decode(value, &m)) {
        const uint32_t at = world_chance(w, m.member_count);
        switch (world_chance(w, 5)) {
        case 0: m.val_loss += 1; break;
        case 1: m.params.bytes[0] ^= 1; break;
        case 2: m.exponents[0] ^= 5; break;
        case 3:
            if (m.member_count == 1) return 0;
            memmove(&m.members[at], &m.members[at + 1], (m.member_count - 1 - at) * sizeof m.members[0]);
            m.member_count--;
            break;
        default:
            if (m.member_count == RUN_MEMBERS_MAX || m.members[m.member_count - 1].slot == RUN_MEMBERS_MAX - 1)
                return 0;
            m.members[m.member_count] = m.members[m.member_count - 1];
            m.members[m.member_count].slot++;
            m.members[m.member_count].id.bytes[5] ^= 9;
            m.members[m.member_count].fresh = true;
            m.members[m.member_count++].absent = 0;
        }
        manifest_encode(&writer, &m);
    }
    return writer.overflowed ? 0 : writer.size;
}

static void make_fork(struct node *n, struct traitor *t, const struct ledger_proposal *p)
{
    static uint8_t value[LEDGER_VALUE_LIMIT];
    struct ledger_proposal other = *p;
    other.value = (struct slice){value, other_value(n->world, p->value, value, sizeof value)};
    if (!other.value.size || p->vote.valid_round >= 0) return;
    other.vote.value = hash_bytes(value, other.value.size);
    if (hash_equal(&other.vote.value, &p->vote.value)) return;
    ledger_vote_sign(&other.vote, &n->key);
    struct fork *f = &t->forks[t->fork_next++ % FORKS];
    free(f->bytes);
    f->bytes = malloc(LEDGER_PROPOSAL_LIMIT);
    check(f->bytes);
    struct writer w = writer_over(f->bytes, LEDGER_PROPOSAL_LIMIT);
    ledger_proposal_write(&w, &other);
    f->size = w.size;
    f->height = p->vote.height;
    f->round = p->vote.round;
    f->first = p->vote.value;
    f->second = other.vote.value;
}

static void send_proposal(struct node *n, struct traitor *t, uint32_t to, const struct message *m)
{
    struct ledger_proposal p;
    struct message copy = *m;
    if (t->mood & LIE_PROPOSALS && !ledger_proposal_read(m->run_proposal.proposal, &p) &&
        id_equal(&p.vote.voter, &n->key.id)) {
        struct fork *f = find_fork(t, p.vote.height, p.vote.round);
        if (!f) make_fork(n, t, &p);
        f = find_fork(t, p.vote.height, p.vote.round);
        if (f && second_side(t, to)) copy.run_proposal.proposal = (struct slice){f->bytes, f->size};
    }
    tell(n, to, &copy, copy.run_proposal.proposal.data != m->run_proposal.proposal.data);
}

static void send_vote(struct node *n, uint32_t to, struct ledger_vote *v, bool lie)
{
    uint8_t bytes[LEDGER_VOTE_SIZE];
    struct writer w = writer_over(bytes, sizeof bytes);
    if (lie) ledger_vote_sign(v, &n->key);
    ledger_vote_write(&w, v);
    struct message m = {.type = MESSAGE_RUN_VOTE, .run_vote = {.run = v->run, .vote = {bytes, w.size}}};
    tell(n, to, &m, lie);
}

static void twist_vote(struct node *n, struct traitor *t, uint32_t to, const struct message *m)
{
    struct ledger_vote v;
    struct reader in = reader_over(m->run_vote.vote.data, m->run_vote.vote.size);
    if (ledger_vote_read(&in, &v) || !id_equal(&v.voter, &n->key.id)) {
        tell(n, to, m, false);
        return;
    }
    t->height = v.height;
    const struct core_hash before = v.value;
    const struct fork *f = find_fork(t, v.height, v.round);
    if (f && t->mood & (LIE_VOTES | LIE_PROPOSALS))
        v.value = second_side(t, to) ? f->second : f->first;
    else if (t->mood & LIE_VOTES && second_side(t, to))
        v.value = hash_is_zero(&v.value) ? hash_bytes(&v.round, sizeof v.round) : (struct core_hash){0};
    send_vote(n, to, &v, !hash_equal(&v.value, &before));
}

// ---- commits ----

// The same commit with other numbers, signed; 0: it cannot be.
static size_t other_commit(struct node *n, struct slice bytes, uint8_t *out, bool acknowledged)
{
    struct world *w = n->world;
    struct commit c;
    if (commit_read(bytes, &c) || !id_equal(&c.trainer, &n->key.id)) return 0;
    if (acknowledged) c.phase = COMMIT_ACKNOWLEDGED;
    switch (world_chance(w, 6)) {
    case 0: c.loss = 1e9; break;
    case 1: c.weight = (UINT64_C(1) << 40) - 1; break;
    case 2: c.tokens = (UINT64_C(1) << 48) - 1; break;
    case 3:
        c.at[0] = INT32_MIN;
        c.at[1] = INT32_MAX;
        break;
    case 4: c.bandwidth = 65535; break;
    default: c.shards[world_chance(w, c.shard_count)].bytes[3] ^= 1;
    }
    struct writer writer = writer_over(out, COMMIT_LIMIT);
    commit_encode(&writer, &c, &n->key);
    return writer.overflowed ? 0 : writer.size;
}

static void keep_commit(struct node *n, struct traitor *t, struct slice bytes)
{
    struct commit c;
    if (commit_read(bytes, &c) || !id_equal(&c.trainer, &n->key.id)) return;
    memcpy(t->commit, bytes.data, bytes.size);
    t->commit_size = bytes.size;
}

static void send_commit(struct node *n, struct traitor *t, uint32_t to, const struct message *m)
{
    uint8_t bytes[COMMIT_LIMIT];
    struct message copy = *m;
    keep_commit(n, t, m->run_commit.commit);
    size_t size = 0;
    if (t->mood & LIE_COMMITS && second_side(t, to)) size = other_commit(n, m->run_commit.commit, bytes, false);
    if (size) copy.run_commit.commit = (struct slice){bytes, size};
    tell(n, to, &copy, size);
}

// ---- bulk ----

static void send_data(struct node *n, struct traitor *t, uint32_t to, const struct message *m)
{
    static uint8_t bulk[1 << 20];
    struct world *w = n->world;
    struct message copy = *m;
    uint8_t proof[COMMIT_LIMIT];
    const bool sum = m->data.kind == ROUND_PARTIAL;
    bool lie = false;
    keep_commit(n, t, m->data.proof);
    if (t->mood & (sum ? LIE_SUMS : LIE_BLOBS) && m->bulk.size && m->bulk.size <= sizeof bulk &&
        (second_side(t, to) || world_chance(w, 8) == 0)) {
        memcpy(bulk, m->bulk.data, m->bulk.size);
        copy.bulk.data = bulk;
        bulk[world_chance(w, (uint32_t)m->bulk.size)] ^= (uint8_t)(1 + world_chance(w, 255));
        if (world_chance(w, 6) == 0) copy.bulk.size--;
        if (world_chance(w, 8) == 0) copy.data.bits = 64;
        lie = true;
    }
    if (!sum && t->mood & LIE_COMMITS && second_side(t, to)) {
        const size_t size = other_commit(n, m->data.proof, proof, false);
        if (size) copy.data.proof = (struct slice){proof, size};
        lie |= size > 0;
    }
    tell(n, to, &copy, lie);
}

static void send_head(struct node *n, struct traitor *t, uint32_t to, const struct message *m)
{
    struct world *w = n->world;
    struct message copy = *m;
    const bool lie = t->mood & LIE_HEADS && second_side(t, to);
    if (lie) {
        const uint64_t heights[] = {m->run_head.height + 1, m->run_head.height + 5, UINT64_MAX, UINT64_C(1) << 40, 0};
        switch (world_chance(w, 5)) {
        case 0: copy.run_head.height = heights[world_chance(w, 5)]; break;
        case 1:
            copy.run_head.attempt++;
            copy.run_head.commits &= world_chance(w, 2) ? 0 : rng_u64(&w->rng);
            break;
        case 2: copy.run_head.decided.bytes[0] ^= 1; break;
        case 3: copy.run_head.halted = !m->run_head.halted; break;
        default: copy.run_head.commits = 0;
        }
    }
    tell(n, to, &copy, lie);
}

void traitor_send(struct node *n, uint32_t to, const struct message *m)
{
    struct traitor *t = n->world->traitor;
    draw_mood(n->world, t);
    const uint32_t type = (uint32_t)m->type - MESSAGE_DATA;
    if (m->type >= MESSAGE_DATA && t->mood & LIE_SILENCE && t->silent >> (type & 63) & 1) {
        n->world->report->lies++;
        return;
    }
    switch (m->type) {
    case MESSAGE_RUN_VOTE: twist_vote(n, t, to, m); break;
    case MESSAGE_RUN_PROPOSAL: send_proposal(n, t, to, m); break;
    case MESSAGE_RUN_COMMIT: send_commit(n, t, to, m); break;
    case MESSAGE_DATA: send_data(n, t, to, m); break;
    case MESSAGE_RUN_HEAD: send_head(n, t, to, m); break;
    default: world_send(n->world, n->index, to, m);
    }
}

// ---- of its own accord ----

static void far_round(struct node *n, struct traitor *t, uint32_t to)
{
    struct world *w = n->world;
    static const uint32_t rounds[] = {INT32_MAX, 1000000, 40, 3, 2, 1};
    struct ledger_vote v = {.run = w->run,
                            .height = t->height + world_chance(w, 2),
                            .round = rounds[world_chance(w, 6)],
                            .step = world_chance(w, 2) ? LEDGER_PREVOTE : LEDGER_PRECOMMIT,
                            .valid_round = -1};
    send_vote(n, to, &v, true);
}

static void lie_acknowledged(struct node *n, const struct traitor *t, uint32_t to)
{
    uint8_t bytes[COMMIT_LIMIT];
    const size_t size = other_commit(n, (struct slice){t->commit, t->commit_size}, bytes, true);
    if (!size) return;
    struct message m = {.type = MESSAGE_RUN_COMMIT};
    m.run_commit.run = n->world->run;
    m.run_commit.commit = (struct slice){bytes, size};
    tell(n, to, &m, true);
}

static void replay(struct node *n, uint32_t to)
{
    struct world *w = n->world;
    const struct message *old = w->heard[world_chance(w, WORLD_HEARD)];
    if (!old) return;
    struct message m = *old;
    uint8_t body[HOSTILE_BODY];
    if (world_chance(w, 2)) hostile_change(w, &m, body);
    struct message *copy = message_clone(&m);  // what was heard may be replaced while it is sent
    tell(n, to, copy, true);
    free(copy);
}

// A peer that does not exist asks to train, in a broadcast of this one's.
static void made_up(struct node *n)
{
    struct world *w = n->world;
    const uint64_t seed[4] = {rng_u64(&w->rng), 1, 2, 3};
    const struct core_key key = sign_key_from_seed((const uint8_t *)seed);
    struct run_enter enter = {.run = w->run, .height = watch_height(w->watch), .weight = 1};
    uint8_t bytes[RUN_ENTER_LIMIT];
    struct writer writer = writer_over(bytes, sizeof bytes);
    run_enter_encode(&writer, &enter, &key);
    if (peer_cast(n->peer, TOPIC_ENTER, (struct slice){bytes, writer.size}, node_ms(n), &w->out)) return;
    w->report->lies++;
    node_finish(n);
}

void traitor_act(struct world *w)
{
    struct traitor *t = w->traitor;
    struct node *n = &w->nodes[t->node];
    world_push(w, (struct world_event){.kind = WORLD_MISCHIEF, .node = t->node}, ACT_US / 2 + world_chance(w, ACT_US));
    if (!n->up || n->paused_us > w->now_us) return;
    draw_mood(w, t);
    const uint32_t times = t->mood & LIE_FLOODS ? FLOOD : 1;
    for (uint32_t i = 0; i < times; i++) {
        const uint32_t to = world_chance(w, w->options.nodes);
        if (to == t->node) continue;
        switch (world_chance(w, 4)) {
        case 0:
            if (t->mood & LIE_ROUNDS) far_round(n, t, to);
            break;
        case 1:
            if (t->mood & LIE_COMMITS) lie_acknowledged(n, t, to);
            break;
        default:
            if (t->mood & (LIE_REPLAYS | LIE_FLOODS)) replay(n, to);
        }
    }
    if (t->mood & LIE_NAMES && world_chance(w, 4) == 0) made_up(n);
}
