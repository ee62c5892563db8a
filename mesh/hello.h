// HELLO, the first message of a lane from each side: who I am in this mesh (certificate), for whom it is meant, which
// lane, where I can be dialled. Signed, although CURVE already proves the key, so that a certificate, its key and what
// is said about them are bound in one object. Pure; any thread.
#ifndef MESH_HELLO_H
#define MESH_HELLO_H

#include "core/error.h"
#include "core/message.h"
#include "mesh/certificate.h"
#include "mesh/links.h"

struct hello_self {
    const struct core_key *key;
    const struct charter *charter;
    struct slice certificate;
    struct slice addresses;
    struct core_hash host;
    uint64_t incarnation;
};

// Fills in a HELLO for `to`; views point to what `self` points to.
void hello_make(const struct hello_self *self, const struct core_id *to, enum message_lane lane, uint64_t nonce,
                struct message *out);
// Verifies one that came from the holder of the X25519 key `curve` at `now_s`. LINK_NONE when all is well; then
// `certificate` holds the sender's.
enum link_reason hello_verify(const struct hello_self *self, const struct message *m, const uint8_t curve[32],
                              const struct revocations *revoked, uint64_t now_s, struct certificate *certificate);

#endif
