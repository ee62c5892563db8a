// Certificates and signatures in mesh mode. A certificate is a hash that only the world can make. Signatures are real,
// but each is verified once a run: ten thousand peers that are handed the same record would otherwise verify it each.
// What is remembered is the hash of all that was verified, so a forged signature still fails.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "gossip/pool.h"
#include "tools/sim/mesh_world.h"

enum { FIRST_VERDICTS = 1024 };

static struct core_hash certificate_of(const struct mesh_world *w, const struct core_id *id)
{
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, "certificate", 11);
    hash_add(&s, &w->options.seed, sizeof w->options.seed);
    hash_add(&s, id->bytes, sizeof id->bytes);
    return hash_end(&s);
}

static bool certificate_valid(void *context, const struct core_id *id, struct slice name, struct slice certificate)
{
    (void)name;
    const struct core_hash want = certificate_of(context, id);
    return certificate.size == sizeof want && memcmp(certificate.data, want.bytes, sizeof want) == 0;
}

struct verdict {
    uint64_t key[2];  // of the hash of everything that was verified; 0: free
    bool valid;
};

struct mesh_verify {
    struct record_pool *pool;
    struct verdict *verdicts;  // open addressing
    uint32_t count, mask;
    bool blind;
};

void mesh_verify_open(struct mesh_world *w)
{
    struct mesh_verify *v = calloc(1, sizeof *v);
    check(v);
    v->mask = FIRST_VERDICTS - 1;
    v->verdicts = calloc(FIRST_VERDICTS, sizeof *v->verdicts);
    const enum core_err err = record_pool_open(&v->pool);
    check(v->verdicts && !err);
    v->blind = w->options.broken == MESH_BREAK_FORGE;
    w->verify = v;
}

void mesh_verify_close(struct mesh_world *w)
{
    record_pool_close(w->verify->pool);
    free(w->verify->verdicts);
    free(w->verify);
}

static struct verdict *place(struct mesh_verify *v, const uint64_t key[2])
{
    uint32_t at = (uint32_t)key[0] & v->mask;
    while (v->verdicts[at].key[0] && (v->verdicts[at].key[0] != key[0] || v->verdicts[at].key[1] != key[1]))
        at = (at + 1) & v->mask;
    return &v->verdicts[at];
}

static void grow(struct mesh_verify *v)
{
    struct verdict *old = v->verdicts;
    const uint32_t size = v->mask + 1;
    v->mask = 2 * size - 1;
    v->verdicts = calloc(2 * (size_t)size, sizeof *v->verdicts);
    check(v->verdicts);
    for (uint32_t i = 0; i < size; i++)
        if (old[i].key[0]) *place(v, old[i].key) = old[i];
    free(old);
}

static bool valid(void *context, const struct core_id *id, const char *domain, struct slice bytes,
                  const struct core_sig *sig)
{
    struct mesh_verify *v = context;
    if (v->blind) return true;
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, id->bytes, sizeof id->bytes);
    hash_add(&s, domain, strlen(domain) + 1);
    hash_add(&s, sig->bytes, sizeof sig->bytes);
    hash_add(&s, bytes.data, bytes.size);
    const struct core_hash h = hash_end(&s);
    uint64_t key[2];
    memcpy(key, h.bytes, sizeof key);
    key[0] |= 1;
    if (2 * v->count > v->mask) grow(v);
    struct verdict *known = place(v, key);
    if (known->key[0]) return known->valid;
    v->count++;
    memcpy(known->key, key, sizeof key);
    known->valid = sign_valid(id, domain, bytes.data, bytes.size, sig);
    return known->valid;
}

void mesh_verify_options(struct mesh_world *w, struct mesh_node *n, struct gossip_options *options)
{
    n->certificate = certificate_of(w, &n->key.id);
    options->certificate = (struct slice){n->certificate.bytes, sizeof n->certificate};
    options->callbacks.certificate_valid = certificate_valid;
    options->callbacks.context = w;
    options->pool = w->verify->pool;
    options->signatures = (struct signature_check){valid, w->verify};
}
