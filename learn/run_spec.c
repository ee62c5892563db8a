#include "learn/run_spec.h"

#include <string.h>

#include "core/check.h"
#include "learn/signed.h"

enum { SPEC_VERSION = 2, ENTER_VERSION = 2, COMMAND_VERSION = 1, ROUNDS_MAX = 1 << 24 };

static const char spec_domain[] = "mycel run v1";
static const char enter_domain[] = "mycel enter v1";
static const char command_domain[] = "mycel run command v1";

void run_place_write(struct writer *w, uint64_t site, const int32_t at[TREE_AXES])
{
    write_u64(w, site);
    for (uint32_t i = 0; i < TREE_AXES; i++) write_u32(w, (uint32_t)at[i]);
}

void run_place_read(struct reader *r, uint64_t *site, int32_t at[TREE_AXES])
{
    *site = read_u64(r);
    for (uint32_t i = 0; i < TREE_AXES; i++) at[i] = (int32_t)read_u32(r);
}

void run_members_write(struct writer *w, const struct run_member *members, uint32_t count)
{
    write_u8(w, (uint8_t)count);
    for (uint32_t i = 0; i < count; i++) {
        const struct run_member *m = &members[i];
        write_id(w, &m->id);
        write_hash(w, &m->host);
        run_place_write(w, m->site, m->at);
        write_u8(w, (uint8_t)m->slot);
        write_u16(w, (uint16_t)m->weight);
        write_u8(w, (uint8_t)m->absent);
        write_u8(w, (uint8_t)((m->dialable ? 1 : 0) | (m->fresh ? 2 : 0)));
    }
}

enum core_err run_members_read(struct reader *r, struct run_member *members, uint32_t *count)
{
    *count = read_u8(r);
    if (r->failed || *count == 0 || *count > RUN_MEMBERS_MAX) return CORE_ERR_MALFORMED;
    for (uint32_t i = 0; i < *count; i++) {
        struct run_member *m = &members[i];
        *m = (struct run_member){.id = read_id(r), .host = read_hash(r)};
        run_place_read(r, &m->site, m->at);
        m->slot = read_u8(r);
        m->weight = read_u16(r);
        m->absent = read_u8(r);
        uint8_t flags = read_u8(r);
        m->dialable = flags & 1;
        m->fresh = flags & 2;
        if (r->failed || m->slot >= RUN_MEMBERS_MAX || flags > 3) return CORE_ERR_MALFORMED;
        if (i > 0 && m->slot <= members[i - 1].slot) return CORE_ERR_MALFORMED;
        if (run_members_find(members, i, &m->id) != UINT32_MAX) return CORE_ERR_MALFORMED;
    }
    return CORE_ERR_OK;
}

uint32_t run_members_find(const struct run_member *members, uint32_t count, const struct core_id *id)
{
    for (uint32_t i = 0; i < count; i++)
        if (id_equal(&members[i].id, id)) return i;
    return UINT32_MAX;
}

uint32_t run_members_slot(const struct run_member *members, uint32_t count, uint32_t slot)
{
    for (uint32_t i = 0; i < count; i++)
        if (members[i].slot == slot) return i;
    return UINT32_MAX;
}

static void sort_members(struct run_spec *spec)
{
    for (uint32_t i = 1; i < spec->member_count; i++) {
        struct run_member m = spec->members[i];
        uint32_t at = i;
        for (; at > 0 && spec->members[at - 1].slot > m.slot; at--) spec->members[at] = spec->members[at - 1];
        spec->members[at] = m;
    }
}

void run_spec_encode(struct writer *w, struct run_spec *spec, const struct core_key *creator, struct core_hash *run)
{
    check(spec->member_count >= 1 && spec->member_count <= RUN_MEMBERS_MAX && spec->tensors <= CONFIG_TENSORS_MAX);
    spec->creator = creator->id;
    sort_members(spec);
    size_t start = w->size;
    write_u8(w, SPEC_VERSION);
    write_id(w, &spec->creator);
    write_u64(w, spec->created_ms);
    write_u64(w, spec->seed);
    write_hash(w, &spec->dataset);
    write_hash(w, &spec->params);
    write_hash(w, &spec->outer);
    write_hash(w, &spec->kernel_spec);
    config_encode(w, &spec->model);
    hyper_encode(w, &spec->hyper);
    write_u64(w, spec->elements);
    write_u32(w, spec->tensors);
    write_u32(w, spec->rounds);
    write_u32(w, spec->deadline_ms);
    write_u32(w, spec->val_every);
    write_u8(w, (uint8_t)spec->fault_model);
    run_members_write(w, spec->members, spec->member_count);
    write_bytes(w, spec->exponents, spec->tensors);
    check(!w->overflowed);
    *run = hash_bytes(w->data + start, w->size - start);
    signed_close(w, start, spec_domain, creator);
}

enum core_err run_spec_decode(struct slice bytes, struct run_spec *spec, struct core_hash *run)
{
    *spec = (struct run_spec){0};
    struct reader r;
    if (bytes.size > RUN_SPEC_LIMIT) return CORE_ERR_TOO_LARGE;
    enum core_err err = signed_open(bytes, SPEC_VERSION, &r);
    if (err) return err;
    spec->creator = read_id(&r);
    spec->created_ms = read_u64(&r);
    spec->seed = read_u64(&r);
    spec->dataset = read_hash(&r);
    spec->params = read_hash(&r);
    spec->outer = read_hash(&r);
    spec->kernel_spec = read_hash(&r);
    err = config_decode(&r, &spec->model);
    if (!err) err = hyper_decode(&r, &spec->hyper);
    if (err) return err;
    spec->elements = read_u64(&r);
    spec->tensors = read_u32(&r);
    spec->rounds = read_u32(&r);
    spec->deadline_ms = read_u32(&r);
    spec->val_every = read_u32(&r);
    uint8_t model = read_u8(&r);
    spec->fault_model = (enum ledger_fault_model)model;
    if (r.failed || model > LEDGER_BYZANTINE || spec->elements == 0 || spec->elements > UINT64_C(1) << 40 ||
        spec->rounds == 0 || spec->rounds > ROUNDS_MAX || spec->tensors == 0 || spec->tensors > CONFIG_TENSORS_MAX)
        return CORE_ERR_MALFORMED;
    err = run_members_read(&r, spec->members, &spec->member_count);
    if (err) return err;
    for (uint32_t i = 0; i < spec->member_count; i++)
        if (spec->members[i].absent || !spec->members[i].fresh) return CORE_ERR_MALFORMED;
    read_bytes(&r, spec->exponents, spec->tensors);
    *run = hash_bytes(bytes.data, r.size);
    return signed_check(bytes, &r, spec_domain, &spec->creator);
}

void run_enter_encode(struct writer *w, struct run_enter *e, const struct core_key *key)
{
    e->id = key->id;
    size_t start = w->size;
    write_u8(w, ENTER_VERSION);
    write_hash(w, &e->run);
    write_id(w, &e->id);
    write_hash(w, &e->host);
    run_place_write(w, e->site, e->at);
    write_u64(w, e->height);
    write_u32(w, e->weight);
    write_u8(w, e->dialable);
    write_u8(w, e->leaving);
    signed_close(w, start, enter_domain, key);
}

enum core_err run_enter_decode(struct slice bytes, struct run_enter *e)
{
    *e = (struct run_enter){0};
    struct reader r;
    enum core_err err = signed_open(bytes, ENTER_VERSION, &r);
    if (err) return err;
    e->run = read_hash(&r);
    e->id = read_id(&r);
    e->host = read_hash(&r);
    run_place_read(&r, &e->site, e->at);
    e->height = read_u64(&r);
    e->weight = read_u32(&r);
    e->dialable = read_bool(&r);
    e->leaving = read_bool(&r);
    if (e->weight > TREE_WEIGHT_MAX) return CORE_ERR_MALFORMED;
    return signed_check(bytes, &r, enter_domain, &e->id);
}

void run_command_encode(struct writer *w, struct run_command *c, const struct core_key *key)
{
    c->author = key->id;
    size_t start = w->size;
    write_u8(w, COMMAND_VERSION);
    write_hash(w, &c->run);
    write_id(w, &c->author);
    write_u64(w, c->height);
    write_u8(w, (uint8_t)c->kind);
    signed_close(w, start, command_domain, key);
}

enum core_err run_command_decode(struct slice bytes, struct run_command *c)
{
    *c = (struct run_command){0};
    struct reader r;
    enum core_err err = signed_open(bytes, COMMAND_VERSION, &r);
    if (err) return err;
    c->run = read_hash(&r);
    c->author = read_id(&r);
    c->height = read_u64(&r);
    uint8_t kind = read_u8(&r);
    if (kind < RUN_PAUSE || kind > RUN_CANCEL) return CORE_ERR_MALFORMED;
    c->kind = (enum run_command_kind)kind;
    return signed_check(bytes, &r, command_domain, &c->author);
}
