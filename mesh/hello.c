#include "mesh/hello.h"

#include <string.h>

#include "core/check.h"
#include "mesh/address.h"
#include "mesh/identity.h"

static const char domain[] = "mycel hello v1";

enum { SIGNED_MAX = 5 * 32 + 3 * 8 };

// Long fields enter by their hash, so that what is signed has a fixed size.
static size_t signed_bytes(const struct message_hello *h, uint8_t out[SIGNED_MAX])
{
    struct core_hash certificate = hash_bytes(h->certificate.data, h->certificate.size);
    struct core_hash addresses = hash_bytes(h->addresses.data, h->addresses.size);
    struct writer w = writer_over(out, SIGNED_MAX);
    write_bytes(&w, h->mesh.bytes, CORE_HASH_SIZE);
    write_bytes(&w, certificate.bytes, CORE_HASH_SIZE);
    write_bytes(&w, h->to.bytes, CORE_ID_SIZE);
    write_u64(&w, h->lane);
    write_bytes(&w, h->host.bytes, CORE_HASH_SIZE);
    write_bytes(&w, addresses.bytes, CORE_HASH_SIZE);
    write_u64(&w, h->incarnation);
    write_u64(&w, h->nonce);
    check(!w.overflowed);
    return w.size;
}

void hello_make(const struct hello_self *self, const struct core_id *to, enum message_lane lane, uint64_t nonce,
                struct message *out)
{
    *out = (struct message){.type = MESSAGE_HELLO};
    out->hello = (struct message_hello){.mesh = self->charter->id,
                                        .certificate = self->certificate,
                                        .to = *to,
                                        .lane = lane,
                                        .host = self->host,
                                        .addresses = self->addresses,
                                        .incarnation = self->incarnation,
                                        .nonce = nonce};
    uint8_t bytes[SIGNED_MAX];
    size_t size = signed_bytes(&out->hello, bytes);
    out->hello.signature = sign_make(self->key, domain, bytes, size);
}

static enum link_reason reason_of(enum core_err err)
{
    switch (err) {
    case CORE_ERR_OK: return LINK_NONE;
    case CORE_ERR_WRONG_MESH: return LINK_WRONG_MESH;
    case CORE_ERR_BAD_SIGNATURE: return LINK_BAD_SIGNATURE;
    case CORE_ERR_EXPIRED: return LINK_EXPIRED;
    case CORE_ERR_REVOKED: return LINK_REVOKED;
    case CORE_ERR_REFUSED: return LINK_NOT_ALLOWED;
    case CORE_ERR_UNKNOWN_VERSION: return LINK_UNKNOWN_VERSION;
    default: return LINK_MALFORMED;
    }
}

enum link_reason hello_verify(const struct hello_self *self, const struct message *m, const uint8_t curve[32],
                              const struct revocations *revoked, uint64_t now_s, struct certificate *certificate)
{
    check(m->type == MESSAGE_HELLO);
    const struct message_hello *h = &m->hello;
    if (!hash_equal(&h->mesh, &self->charter->id)) return LINK_WRONG_MESH;
    if (!id_equal(&h->to, &self->key->id)) return LINK_WRONG_KEY;
    if (h->lane >= LANE_COUNT) return LINK_MALFORMED;
    struct address_list list;
    if (h->addresses.size && address_list_decode(h->addresses, &list)) return LINK_MALFORMED;
    enum link_reason reason = reason_of(certificate_verify(h->certificate, self->charter, revoked, now_s, certificate));
    if (reason) return reason;
    // The certificate is for the key that the connection proved, not merely a valid one.
    uint8_t own[IDENTITY_CURVE_SIZE];
    if (identity_curve_public(&certificate->key, own)) return LINK_MALFORMED;
    if (memcmp(own, curve, sizeof own) != 0 || id_equal(&certificate->key, &self->key->id)) return LINK_WRONG_KEY;
    uint8_t bytes[SIGNED_MAX];
    size_t size = signed_bytes(h, bytes);
    return sign_valid(&certificate->key, domain, bytes, size, &h->signature) ? LINK_NONE : LINK_BAD_SIGNATURE;
}
