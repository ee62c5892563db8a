// Charters, certificates, revocations and HELLOs from hostile bytes: errors, never more. Signatures keep the fuzzer out
// of what follows them, so the plain decoder runs beside the verifying one.
#include <stdbool.h>
#include <string.h>

#include "core/check.h"
#include "mesh/certificate.h"
#include "mesh/charter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct charter mesh, other;
    static bool ready;
    if (!ready) {
        uint8_t seed[CORE_SEED_SIZE] = {1};
        check(sign_start() == CORE_ERR_OK);
        struct core_key founder = sign_key_from_seed(seed);
        check(charter_create(&founder, "fuzz", FAULT_TRUSTED, 1, seed, &mesh) == CORE_ERR_OK);
        ready = true;
    }
    struct slice bytes = {data, size};
    struct certificate c;
    struct revocation r;
    if (charter_decode(bytes, &other) == CORE_ERR_OK) check(other.founder_count > 0);
    if (certificate_decode(bytes, &c) == CORE_ERR_OK) {
        check(charter_name_valid(c.name));
        // With the mesh set right, the checks behind it run too.
        uint8_t copy[CERTIFICATE_MAX];
        memcpy(copy, data, size);
        memcpy(copy + 1, mesh.id.bytes, CORE_HASH_SIZE);
        check(certificate_verify((struct slice){copy, size}, &mesh, NULL, 1, &c) != CORE_ERR_OK);
    }
    (void)!revocation_verify(bytes, &mesh, NULL, 1, &r);
    return 0;
}
