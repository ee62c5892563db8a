#include "learn/evidence.h"

#include <string.h>

#include "core/check.h"

enum { EVIDENCE_VERSION = 1 };

static void write_pair(struct writer *w, enum evidence_kind kind, struct slice a, struct slice b)
{
    const size_t both = a.size < b.size ? a.size : b.size;
    const int order = memcmp(a.data, b.data, both);
    const bool swap = order > 0 || (order == 0 && a.size > b.size);
    write_u8(w, EVIDENCE_VERSION);
    write_u8(w, (uint8_t)kind);
    write_slice(w, swap ? b : a);
    write_slice(w, swap ? a : b);
}

void evidence_of_votes(struct writer *w, const struct ledger_vote *a, const struct ledger_vote *b)
{
    uint8_t bytes[2][LEDGER_VOTE_SIZE];
    struct writer first = writer_over(bytes[0], LEDGER_VOTE_SIZE), second = writer_over(bytes[1], LEDGER_VOTE_SIZE);
    ledger_vote_write(&first, a);
    ledger_vote_write(&second, b);
    check(!first.overflowed && !second.overflowed);
    write_pair(w, EVIDENCE_VOTES, (struct slice){bytes[0], first.size}, (struct slice){bytes[1], second.size});
}

void evidence_of_commits(struct writer *w, struct slice a, struct slice b)
{
    write_pair(w, EVIDENCE_COMMITS, a, b);
}

static enum core_err decode_votes(struct evidence *e)
{
    struct ledger_vote v[2];
    const struct slice bytes[2] = {e->first, e->second};
    for (int i = 0; i < 2; i++) {
        struct reader in = reader_over(bytes[i].data, bytes[i].size);
        enum core_err err = ledger_vote_read(&in, &v[i]);
        if (err) return err;
        if (!reader_finished(&in)) return CORE_ERR_MALFORMED;
    }
    if (!ledger_votes_conflict(&v[0], &v[1])) return CORE_ERR_MALFORMED;
    e->run = v[0].run;
    e->liar = v[0].voter;
    e->at = v[0].height;
    return CORE_ERR_OK;
}

static enum core_err decode_commits(struct evidence *e)
{
    struct commit a, b;
    enum core_err err = commit_decode(e->first, &a);
    if (!err) err = commit_decode(e->second, &b);
    if (err) return err;
    if (!commits_conflict(&a, &b)) return CORE_ERR_MALFORMED;
    e->run = a.run;
    e->liar = a.trainer;
    e->at = a.round;
    return CORE_ERR_OK;
}

enum core_err evidence_decode(struct slice bytes, struct evidence *e)
{
    *e = (struct evidence){0};
    if (bytes.size > EVIDENCE_LIMIT) return CORE_ERR_TOO_LARGE;
    struct reader r = reader_over(bytes.data, bytes.size);
    const uint8_t version = read_u8(&r), kind = read_u8(&r);
    if (r.failed) return CORE_ERR_TRUNCATED;
    if (version != EVIDENCE_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    e->first = read_slice(&r, COMMIT_LIMIT);
    e->second = read_slice(&r, COMMIT_LIMIT);
    if (!reader_finished(&r) || (kind != EVIDENCE_VOTES && kind != EVIDENCE_COMMITS)) return CORE_ERR_MALFORMED;
    e->kind = (enum evidence_kind)kind;
    return e->kind == EVIDENCE_VOTES ? decode_votes(e) : decode_commits(e);
}

const char *evidence_kind_text(enum evidence_kind kind)
{
    return kind == EVIDENCE_VOTES ? "voted twice" : "committed twice";
}
