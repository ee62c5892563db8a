#include "learn/manifest.h"

#include <math.h>
#include <string.h>

#include "core/check.h"
#include "learn/commit.h"
#include "learn/signed.h"

enum { MANIFEST_VERSION = 2 };

void manifest_genesis(struct manifest *m, const struct run_spec *spec, const struct core_hash *run)
{
    *m = (struct manifest){
        .run = *run,
        .params = spec->params,
        .outer = spec->outer,
        .state = RUN_RUNNING,
        .tensors = spec->tensors,
        .member_count = spec->member_count,
    };
    memcpy(m->members, spec->members, spec->member_count * sizeof m->members[0]);
    memcpy(m->exponents, spec->exponents, spec->tensors);
}

void manifest_encode(struct writer *w, const struct manifest *m)
{
    check(m->member_count >= 1 && m->member_count <= RUN_MEMBERS_MAX && m->tensors <= CONFIG_TENSORS_MAX);
    write_u8(w, MANIFEST_VERSION);
    write_u8(w, VALUE_MANIFEST);
    write_hash(w, &m->run);
    write_u64(w, m->height);
    write_u64(w, m->round);
    write_u32(w, m->attempt);
    write_hash(w, &m->previous);
    write_hash(w, &m->cut);
    write_hash(w, &m->params);
    write_hash(w, &m->outer);
    write_u64(w, m->tokens);
    write_f64(w, m->loss);
    write_u64(w, m->val_round);
    write_f64(w, m->val_loss);
    write_u8(w, (uint8_t)m->state);
    run_members_write(w, m->members, m->member_count);
    write_u32(w, m->tensors);
    write_bytes(w, m->exponents, m->tensors);
}

enum core_err manifest_decode(struct slice bytes, struct manifest *m)
{
    *m = (struct manifest){0};
    if (bytes.size < 2) return CORE_ERR_TRUNCATED;
    if (bytes.size > MANIFEST_LIMIT) return CORE_ERR_TOO_LARGE;
    if (bytes.data[0] != MANIFEST_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    if (bytes.data[1] != VALUE_MANIFEST) return CORE_ERR_MALFORMED;
    struct reader r = reader_over(bytes.data + 2, bytes.size - 2);
    m->run = read_hash(&r);
    m->height = read_u64(&r);
    m->round = read_u64(&r);
    m->attempt = read_u32(&r);
    m->previous = read_hash(&r);
    m->cut = read_hash(&r);
    m->params = read_hash(&r);
    m->outer = read_hash(&r);
    m->tokens = read_u64(&r);
    m->loss = read_f64(&r);
    m->val_round = read_u64(&r);
    m->val_loss = read_f64(&r);
    uint8_t state = read_u8(&r);
    if (r.failed || state < RUN_RUNNING || state > RUN_CANCELLED) return CORE_ERR_MALFORMED;
    m->state = (enum run_state)state;
    if (fabs(m->loss) > COMMIT_LOSS_MAX || fabs(m->val_loss) > COMMIT_LOSS_MAX) return CORE_ERR_MALFORMED;
    enum core_err err = run_members_read(&r, m->members, &m->member_count);
    if (err) return err;
    m->tensors = read_u32(&r);
    if (r.failed || m->tensors == 0 || m->tensors > CONFIG_TENSORS_MAX) return CORE_ERR_MALFORMED;
    read_bytes(&r, m->exponents, m->tensors);
    return signed_finished(&r);
}

struct core_hash manifest_hash(const struct manifest *m)
{
    uint8_t bytes[MANIFEST_LIMIT];
    struct writer w = writer_over(bytes, sizeof bytes);
    manifest_encode(&w, m);
    check(!w.overflowed);
    return hash_bytes(bytes, w.size);
}

const char *run_state_name(enum run_state state)
{
    switch (state) {
    case RUN_RUNNING: return "running";
    case RUN_PAUSED: return "paused";
    case RUN_DONE: return "done";
    case RUN_CANCELLED: return "cancelled";
    }
    return "unknown";
}
