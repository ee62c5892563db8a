// The append-only log of a run's decisions, as a codec over bytes: whole entries, each with the hash of the one before
// and its own at its end. node/ writes what is made here: an entry is appended and fsynced, then the signed head is
// replaced. A crash in mid-append leaves a torn tail, which a reader cuts off; anything else that is wrong is an error
// that names the entry. docs/record-format.md has the byte tables. Pure functions, any thread.
#ifndef LEDGER_LOG_H
#define LEDGER_LOG_H

#include <stdint.h>

#include "core/bytes.h"
#include "core/hash.h"
#include "core/sign.h"
#include "ledger/vote.h"

enum {
    LEDGER_ENTRY_HEAD = 4 + 1 + 1 + 8 + 8 + 32 + 32,  // size, version, kind, number, height, value hash, previous
    LEDGER_ENTRY_LIMIT = LEDGER_ENTRY_HEAD + 4 + LEDGER_VALUE_LIMIT + 4 + LEDGER_CERTIFICATE_LIMIT + 32,
    LEDGER_HEAD_SIZE = 1 + 32 + 8 + 8 + 32 + 32 + 64,
};

struct ledger_entry {
    uint8_t kind;     // the caller's: a cut, a manifest ..
    uint64_t number;  // 0, 1, 2 .. in the log
    uint64_t height;  // rises from entry to entry
    struct core_hash value_hash;
    struct core_hash previous;  // hash of the entry before; zero for the first
    struct slice value;         // when read: views of the log's bytes
    struct slice certificate;
};

// Bytes of an entry with these sizes.
size_t ledger_entry_size(size_t value, size_t certificate);
// Writes `e` (value_hash is computed from the value) and gives the entry's hash: the next one's `previous`.
struct core_hash ledger_entry_write(struct writer *w, const struct ledger_entry *e);

// Reads a log from its first byte on.
struct ledger_reader {
    struct slice log;
    size_t at;              // bytes of whole entries so far: where to cut a torn tail and append
    uint64_t count;         // entries so far: the number of the one that an error is about
    uint64_t height;        // of the last entry
    struct core_hash last;  // its hash; zero before the first
};
struct ledger_reader ledger_reader_over(struct slice log);
// OK: one more entry. NOT_FOUND: the end. TRUNCATED: a torn tail begins at `at`. MALFORMED, UNKNOWN_VERSION or
// VERIFY_FAILED: entry `count` is wrong, and nothing from `at` on can be trusted.
CORE_MUST_USE enum core_err ledger_reader_next(struct ledger_reader *r, struct ledger_entry *e);

// What its owner says of the log: so many entries, the last of that hash.
struct ledger_head {
    struct core_hash run;
    uint64_t count;
    uint64_t height;
    struct core_hash last;
    struct core_id owner;
    struct core_sig signature;
};
// Signs with `key` and writes LEDGER_HEAD_SIZE bytes.
void ledger_head_write(struct writer *w, struct ledger_head *head, const struct core_key *key);
// MALFORMED, UNKNOWN_VERSION, BAD_SIGNATURE.
CORE_MUST_USE enum core_err ledger_head_read(struct slice bytes, struct ledger_head *head);

// Reads the whole log against its head: an entry that the head counts must be there and lead to its hash. `r` then
// stands at the end of the last whole entry. OK, or TRUNCATED when a torn tail follows whole entries that fulfil the
// head; VERIFY_FAILED when entries are missing or differ; and as ledger_reader_next. `head` may be NULL.
CORE_MUST_USE enum core_err ledger_log_check(struct ledger_reader *r, const struct ledger_head *head);

#endif
