// Certificates and signatures in mesh mode. A certificate is a hash that only the world can make. Signatures are real,
// but each is verified once a run: ten thousand peers that are handed the same record would otherwise verify it each.
// What is remembered is the hash of all that was verified, so a forged signature still fails.
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "tools/sim/mesh_world.h"

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

void mesh_verify_open(struct mesh_world *w)
{
    w->verify = NULL;
}

void mesh_verify_close(struct mesh_world *w)
{
    (void)w;
}

void mesh_verify_options(struct mesh_world *w, struct mesh_node *n, struct gossip_options *options)
{
    n->certificate = certificate_of(w, &n->key.id);
    options->certificate = (struct slice){n->certificate.bytes, sizeof n->certificate};
    options->callbacks.certificate_valid = certificate_valid;
    options->callbacks.context = w;
}
