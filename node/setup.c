// Makes homes: `init` founds a mesh in one, `join` makes one a member of a mesh that is there.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/check.h"
#include "mesh/admission.h"
#include "mesh/certificate.h"
#include "mesh/charter.h"
#include "mesh/identity.h"
#include "mesh/invitation.h"
#include "node/home.h"
#include "node/node.h"
#include "node/settings.h"

enum { JOIN_TIMEOUT_MS = 30000 };

static enum core_err fail(struct node_failure *why, enum core_err err, const char *what, const char *remedy)
{
    node_failure_set(why, remedy, "%s: %s", what, core_error_text(err));
    return err;
}

// A folder for a new peer, locked, with its name and listen address decided.
static enum core_err open_new(struct home *home, struct settings *s, const char *path, const char *name,
                              const char *listen, struct node_failure *why)
{
    *s = (struct settings){0};
    *home = (struct home){.lock = -1};
    if (name)
        snprintf(s->name, sizeof s->name, "%s", name);
    else
        settings_host_name(s->name);
    if (!charter_name_valid(name ? name : s->name)) {  // the whole of it, not what fits
        node_failure_set(why, "use letters, digits and . _ -, at most 63, starting with a letter or digit",
                         "'%.80s' is no valid name for a peer", name ? name : s->name);
        return CORE_ERR_USAGE;
    }
    struct address address;
    if (settings_listen(listen, "", &address)) {
        node_failure_set(why, "give HOST:PORT, such as 0.0.0.0:6173", "'%s' is no address to listen on", listen);
        return CORE_ERR_USAGE;
    }
    address_format(&address, s->listen);
    enum core_err err = home_create(path);
    if (err == CORE_ERR_EXISTS) {
        node_failure_set(why, "run it with `mycel up`, or give another --home", "a peer lives in %s already", path);
        return err;
    }
    if (!err) err = home_open_new(home, path);
    if (err)
        node_failure_set(why, "check the folder's owner, or give another --home", "cannot make the home %s: %s", path,
                         err == CORE_ERR_IO ? strerror(errno) : core_error_text(err));
    return err;
}

// Everything but the key first: a home is a peer's once its key is there.
static enum core_err write_home(struct home *home, const struct settings *s, const struct core_key *key,
                                struct slice charter, struct slice certificate, struct node_failure *why)
{
    char path[HOME_PATH_SIZE + 256];
    home_file(home, "key", path);
    enum core_err err = home_write(home, "charter", charter);
    if (!err) err = home_write(home, "certificate", certificate);
    if (!err) err = settings_write(home, s);
    if (!err) err = identity_save(path, key);
    if (err) fail(why, err, "cannot write the home", "free some space or check the folder's permissions");
    return err;
}

enum core_err node_init(const struct node_init_options *o, struct node_created *created, struct node_failure *why)
{
    struct home home = {.lock = -1};
    struct settings s;
    enum core_err err = sign_start();
    if (err) return fail(why, err, "libsodium cannot be used", "reinstall it");
    if (!o->mesh_name || !charter_name_valid(o->mesh_name)) {
        node_failure_set(why, "use letters, digits and . _ -, at most 63, starting with a letter or digit",
                         "'%.80s' is no valid name for a mesh", o->mesh_name ? o->mesh_name : "");
        return CORE_ERR_USAGE;
    }
    err = open_new(&home, &s, o->home, o->peer_name, o->listen, why);
    if (err) return err;
    struct core_key key = sign_key_random();
    struct charter charter;
    uint8_t nonce[CHARTER_NONCE_SIZE], encoded[CHARTER_MAX], certificate[CERTIFICATE_MAX];
    size_t certificate_size = 0;
    random_bytes(nonce, sizeof nonce);
    uint64_t now_s = (uint64_t)time(NULL);
    err = charter_create(&key, o->mesh_name, o->byzantine ? FAULT_BYZANTINE : FAULT_TRUSTED, now_s, nonce, &charter);
    if (!err) {
        struct certificate what = {
            .mesh = charter.id, .key = key.id, .roles = ROLE_MEMBER | ROLE_SPONSOR | ROLE_FOUNDER, .issued_s = now_s};
        memcpy(what.name, s.name, sizeof what.name);
        err = certificate_issue(&charter, &key, (struct slice){0}, &what, certificate, &certificate_size);
    }
    if (err) {
        fail(why, err, "cannot make the charter and the first certificate", "this is a defect: please report it");
    } else {
        struct slice charter_bytes = {encoded, charter_encode(&charter, encoded)};
        err = write_home(&home, &s, &key, charter_bytes, (struct slice){certificate, certificate_size}, why);
    }
    *created = (struct node_created){.mesh = charter.id, .id = key.id};
    identity_forget(&key, sizeof key);
    home_close(&home);
    return err;
}

struct join_report {
    const struct node_join_options *options;
    uint32_t tried, answered;
};

static void report(void *context, const char *address, enum core_err err, const char *text)
{
    struct join_report *r = context;
    r->tried++;
    if (!r->options->progress) return;
    char line[512];
    if (err)
        snprintf(line, sizeof line, "%s: %s", address, text && *text ? text : core_error_text(err));
    else
        snprintf(line, sizeof line, "%s: admitted", address);
    r->options->progress(r->options->context, line);
}

static const char *join_remedy(enum core_err err)
{
    switch (err) {
    case CORE_ERR_EXPIRED:
        return "ask a member for a new token (`mycel invite`); if this one is new, `date -u` is wrong here or there";
    case CORE_ERR_USED_UP:
    case CORE_ERR_REVOKED:
    case CORE_ERR_NOT_FOUND: return "ask a member for a new token (`mycel invite`)";
    case CORE_ERR_MALFORMED:
    case CORE_ERR_TRUNCATED: return "copy the whole token, or ask for a new one (`mycel invite`)";
    case CORE_ERR_UNREACHABLE:
    case CORE_ERR_TIMED_OUT:
        return "check that the sponsor runs (`mycel status` there) and that its port is open to this machine";
    case CORE_ERR_WRONG_MESH: return "this home belongs to another mesh: give another --home";
    default: return "ask the sponsor to look at its log";
    }
}

// As many as there is room for.
static void add_all(struct address_list *list, const struct address_list *more)
{
    for (uint32_t i = 0; i < more->count; i++)
        if (address_list_add(list, &more->items[i])) return;
}

// Whom to dial at the first start: where it answered first, then where else it may be. Our own loopback leads to it
// only if it answered there.
static void write_sponsor(uint8_t out[CORE_ID_SIZE + ADDRESS_LIST_BYTES], size_t *size, const struct invitation *token,
                          const struct address *answered)
{
    struct address_list list = {.items = {*answered}, .count = 1};
    for (uint32_t i = 0; i < token->addresses.count; i++) {
        const struct address *a = &token->addresses.items[i];
        if (address_is_loopback(a) && !address_is_loopback(answered)) continue;
        if (address_list_add(&list, a)) break;
    }
    memcpy(out, token->sponsor.bytes, CORE_ID_SIZE);
    *size = CORE_ID_SIZE + address_list_encode(&list, out + CORE_ID_SIZE);
}

// Addresses given by hand go before the token's; where there are too many, the token's last ones go.
static enum core_err add_sponsors(const struct node_join_options *o, struct address_list *addresses,
                                  struct node_failure *why)
{
    struct address_list list = {0};
    for (uint32_t i = 0; i < o->sponsor_count; i++) {
        struct address a;
        enum core_err err = address_parse(o->sponsors[i], &a);
        if (!err && (a.port == 0 || address_is_any(&a))) err = CORE_ERR_USAGE;
        if (!err) err = address_list_add(&list, &a);
        if (err) {
            node_failure_set(why, "give HOST:PORT, 8 of them at most", "'%s' is no address of a sponsor",
                             o->sponsors[i]);
            return CORE_ERR_USAGE;
        }
    }
    add_all(&list, addresses);
    *addresses = list;
    return CORE_ERR_OK;
}

enum core_err node_join(const struct node_join_options *o, struct node_created *created, struct node_failure *why)
{
    struct invitation token;
    char reason[INVITATION_WHY_MAX] = "";
    enum core_err err = sign_start();
    if (err) return fail(why, err, "libsodium cannot be used", "reinstall it");
    err = invitation_decode(o->token, &token, reason);
    if (!err) err = invitation_check(&token, (uint64_t)time(NULL), NULL, reason);
    if (err) {
        node_failure_set(why, join_remedy(err), "the token is no good: %s", *reason ? reason : core_error_text(err));
        return err;
    }
    err = add_sponsors(o, &token.addresses, why);
    if (err) return err;
    struct home home = {.lock = -1};
    struct settings s;
    err = open_new(&home, &s, o->home, o->peer_name, o->listen, why);
    if (err) return err;
    struct core_key key = sign_key_random();
    static struct admission_result result;
    struct join_report context = {.options = o};
    int timeout_ms = (int)(o->timeout_ms ? o->timeout_ms : JOIN_TIMEOUT_MS);
    err = admission_join(&token, &key, s.name, timeout_ms, report, &context, &result);
    if (err)
        node_failure_set(why, join_remedy(err), "not admitted (%u of %u addresses tried): %s", context.tried,
                         token.addresses.count, result.why[0] ? result.why : core_error_text(err));
    else
        err = write_home(&home, &s, &key, (struct slice){result.charter, result.charter_size},
                         (struct slice){result.certificate, result.certificate_size}, why);
    if (!err) {
        uint8_t sponsor[CORE_ID_SIZE + ADDRESS_LIST_BYTES];
        size_t size;
        write_sponsor(sponsor, &size, &token, &result.address);
        err = home_write(&home, "sponsor", (struct slice){sponsor, size});
        if (err) fail(why, err, "cannot write the home", "free some space");
    }
    *created = (struct node_created){.mesh = token.mesh, .id = key.id};
    struct charter charter;
    if (!err && charter_decode((struct slice){result.charter, result.charter_size}, &charter) == CORE_ERR_OK)
        snprintf(created->name, sizeof created->name, "%s", charter.name);
    identity_forget(&key, sizeof key);
    home_close(&home);
    return err;
}
