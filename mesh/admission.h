// Admission: a joiner dials the sponsor that its token names with its own fresh key, and CURVE proves the sponsor
// before anything is said; ADMIT carries a proof that knows the token's secret, ADMITTED brings charter and
// certificates.
#ifndef MESH_ADMISSION_H
#define MESH_ADMISSION_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/message.h"
#include "core/sign.h"
#include "mesh/certificate.h"
#include "mesh/charter.h"
#include "mesh/invitation.h"
#include "mesh/links.h"

// ---- the joiner ----

struct admission_result {
    uint8_t charter[CHARTER_MAX];
    size_t charter_size;
    uint8_t certificate[CERTIFICATE_MAX];  // ours
    size_t certificate_size;
    uint8_t sponsor_certificate[CERTIFICATE_MAX];
    size_t sponsor_certificate_size;
    struct address address;  // of the sponsor, where it answered
    enum core_err refusal;   // what the sponsor answered instead, when the error is its REFUSED
    char why[256];           // a sentence for a person, on an error
};

// What one address of the sponsor answered: `err` OK for the one that admitted. `text` is a sentence ("connection
// refused", "another key answers there, or no mycel peer").
typedef void admission_report(void *context, const char *address, enum core_err err, const char *text);

// Blocks for at most `timeout_ms` an address (own sockets, any thread; no daemon yet), 4 s where it doesn't even take a
// connection. Tries every address of the token, the next one after 250 ms of silence or at once after a failure,
// until one admits; a sponsor's REFUSED ends it with that error. Verifies charter, chain, name and key of what comes
// back. Errors: CORE_ERR_UNREACHABLE (no address answered), CORE_ERR_TIMED_OUT, CORE_ERR_EXPIRED, CORE_ERR_USED_UP,
// CORE_ERR_REVOKED, CORE_ERR_WRONG_MESH, CORE_ERR_REFUSED (no such token, no invitation open), CORE_ERR_VERIFY_FAILED.
CORE_MUST_USE enum core_err admission_join(const struct invitation *token, const struct core_key *key, const char *name,
                                           int timeout_ms, admission_report *report, void *context,
                                           struct admission_result *out);

// ---- the sponsor (called by `node` on LINK_ADMIT, one thread) ----

struct admission_sponsor {
    const struct charter *charter;
    const struct core_key *key;
    struct slice certificate;  // our own
    const struct revocations *revoked;
    struct invitations *ledger;
    uint64_t certificate_ttl_s;  // of what we issue; 0: never expires
};

// Bytes that an answer's views point to.
struct admission_answer {
    struct message message;  // ADMITTED or REFUSED
    enum core_err err;       // OK, or why it was refused
    struct certificate issued;
    uint8_t charter[CHARTER_MAX];
    uint8_t certificate[CERTIFICATE_MAX];
    char why[160];
};

// Decides on an ADMIT that came over a connection whose CURVE key was `curve`. Fills `out` with what to send; on OK the
// ledger has spent a use: persist it BEFORE sending (then `links_answer(links, ticket, &out->message)`).
void admission_decide(struct admission_sponsor *sponsor, const struct message *admit, const uint8_t curve[32],
                      uint64_t now_s, struct admission_answer *out);

// The ADMIT message that proves `token` for `key`; views point to `name` and `token`. For `admission_join` and tests.
void admission_request(const struct invitation *token, const struct core_key *key, const char *name,
                       struct message *out);

#endif
