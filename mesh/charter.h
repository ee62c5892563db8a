// A mesh's charter: name, founders, admission policy, fault model, protocol version, signed by every founder. The hash
// of its body is the mesh id. Byte table: docs/wire-format.md. Pure; any thread.
#ifndef MESH_CHARTER_H
#define MESH_CHARTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/sign.h"

enum {
    CHARTER_VERSION = 1,
    CHARTER_PROTOCOL = 1,
    CHARTER_NAME_MAX = 63,
    CHARTER_FOUNDERS_MAX = 16,
    CHARTER_NONCE_SIZE = 16,
    CHARTER_MAX = 2048,  // bytes of the encoded object
};

enum charter_fault_model { FAULT_TRUSTED = 1, FAULT_BYZANTINE = 2 };
// Invitations by founders and by the members they delegated to; the only policy so far.
enum charter_policy { POLICY_INVITATION = 1 };

struct charter {
    struct core_hash id;  // the mesh id: hash of the body
    char name[CHARTER_NAME_MAX + 1];
    enum charter_fault_model fault_model;
    enum charter_policy policy;
    uint16_t protocol;
    uint64_t created_s;  // seconds since 1970
    uint8_t nonce[CHARTER_NONCE_SIZE];
    struct core_id founders[CHARTER_FOUNDERS_MAX];
    struct core_sig signatures[CHARTER_FOUNDERS_MAX];
    uint32_t founder_count;
};

// Letters, digits and "._-", 1 to 63 of them, the first a letter or digit: names of meshes and of peers.
bool charter_name_valid(const char *name);

// A new mesh with one founder, signed. CORE_ERR_USAGE where the name isn't valid.
CORE_MUST_USE enum core_err charter_create(const struct core_key *founder, const char *name,
                                           enum charter_fault_model model, uint64_t created_s,
                                           const uint8_t nonce[CHARTER_NONCE_SIZE], struct charter *out);

// Returns the encoded size.
size_t charter_encode(const struct charter *charter, uint8_t out[CHARTER_MAX]);
// Also verifies every signature. CORE_ERR_MALFORMED, CORE_ERR_UNKNOWN_VERSION, CORE_ERR_BAD_SIGNATURE.
CORE_MUST_USE enum core_err charter_decode(struct slice bytes, struct charter *out);

bool charter_is_founder(const struct charter *charter, const struct core_id *id);
const char *charter_fault_model_name(enum charter_fault_model model);  // "trusted", "byzantine"
// False for a name that isn't one.
bool charter_fault_model_from(const char *name, enum charter_fault_model *out);

#endif
