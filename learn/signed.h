// The frame of every signed object of a run: version byte, fields, signature over all before it. Numbers that are
// floating-point travel as their IEEE bits. Pure; any thread.
#ifndef LEARN_SIGNED_H
#define LEARN_SIGNED_H

#include "core/bytes.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/sign.h"

void write_id(struct writer *w, const struct core_id *id);
void write_hash(struct writer *w, const struct core_hash *hash);
void write_f64(struct writer *w, double value);
struct core_id read_id(struct reader *r);
struct core_hash read_hash(struct reader *r);
double read_f64(struct reader *r);  // fails unless finite
bool read_bool(struct reader *r);   // fails unless 0 or 1

// Signs what `w` holds from `start` on, and appends the signature.
void signed_close(struct writer *w, size_t start, const char *domain, const struct core_key *key);
// A reader over the bytes before the signature, `version` read and checked. UNKNOWN_VERSION, TRUNCATED.
CORE_MUST_USE enum core_err signed_open(struct slice bytes, uint8_t version, struct reader *r);
// Everything was read, and `signer` signed it. MALFORMED, BAD_SIGNATURE.
CORE_MUST_USE enum core_err signed_check(struct slice bytes, const struct reader *r, const char *domain,
                                         const struct core_id *signer);
// Everything was read. MALFORMED.
CORE_MUST_USE enum core_err signed_finished(const struct reader *r);

#endif
