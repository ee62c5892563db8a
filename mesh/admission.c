#include "mesh/admission.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "mesh/links_internal.h"

static const char proof_domain[] = "mycel admit proof v1";
static const char domain[] = "mycel admit v1";

enum {
    SIGNED_MAX = 4 * 32 + CHARTER_NAME_MAX,
    PROBE_MS = 300,
    STAGGER_MS = 250,  // before the next address is tried, too
    SILENT_MS = 4000,  // without a connection
    LOOK_MS = 50,
    GRACE_MS = 2000,
};

// ---- what both sides compute ----

// Knows the secret, for this joiner and this sponsor: of no use to anyone else, even where somebody reads it.
static struct core_hash proof_of(const uint8_t secret[INVITATION_SECRET_SIZE], const struct core_hash *mesh,
                                 const struct core_id *joiner, const struct core_id *sponsor)
{
    struct hash_state s;
    hash_begin(&s);
    hash_add(&s, proof_domain, sizeof proof_domain);
    hash_add(&s, secret, INVITATION_SECRET_SIZE);
    hash_add(&s, mesh->bytes, sizeof mesh->bytes);
    hash_add(&s, joiner->bytes, sizeof joiner->bytes);
    hash_add(&s, sponsor->bytes, sizeof sponsor->bytes);
    return hash_end(&s);
}

static size_t signed_bytes(const struct message_admit *a, uint8_t out[SIGNED_MAX])
{
    struct writer w = writer_over(out, SIGNED_MAX);
    write_bytes(&w, a->mesh.bytes, CORE_HASH_SIZE);
    write_bytes(&w, a->token_id.bytes, CORE_HASH_SIZE);
    write_bytes(&w, a->secret.bytes, CORE_HASH_SIZE);
    write_bytes(&w, a->joiner.bytes, CORE_ID_SIZE);
    write_bytes(&w, a->name.data, a->name.size);
    check(!w.overflowed);
    return w.size;
}

void admission_request(const struct invitation *token, const struct core_key *key, const char *name,
                       struct message *out)
{
    check(charter_name_valid(name));
    *out = (struct message){.type = MESSAGE_ADMIT};
    out->admit = (struct message_admit){.mesh = token->mesh,
                                        .token_id = invitation_id(token->secret),
                                        .secret = proof_of(token->secret, &token->mesh, &key->id, &token->sponsor),
                                        .joiner = key->id,
                                        .name = {(const uint8_t *)name, strlen(name)}};
    uint8_t bytes[SIGNED_MAX];
    size_t size = signed_bytes(&out->admit, bytes);
    out->admit.signature = sign_make(key, domain, bytes, size);
}

// ---- the sponsor ----

static bool take_name(struct slice name, char out[CHARTER_NAME_MAX + 1])
{
    if (name.size == 0 || name.size > CHARTER_NAME_MAX) return false;
    memcpy(out, name.data, name.size);
    out[name.size] = '\0';
    return strlen(out) == name.size && charter_name_valid(out);
}

// Who asks, and may it ask this? Everything but the ledger.
static enum core_err check_request(const struct admission_sponsor *sponsor, const struct message_admit *a,
                                   const uint8_t curve[32], char name[CHARTER_NAME_MAX + 1])
{
    uint8_t own[IDENTITY_CURVE_SIZE], bytes[SIGNED_MAX];
    if (!hash_equal(&a->mesh, &sponsor->charter->id)) return CORE_ERR_WRONG_MESH;
    if (!take_name(a->name, name)) return CORE_ERR_MALFORMED;
    if (identity_curve_public(&a->joiner, own) || memcmp(own, curve, sizeof own) != 0) return CORE_ERR_VERIFY_FAILED;
    size_t size = signed_bytes(a, bytes);
    if (!sign_valid(&a->joiner, domain, bytes, size, &a->signature)) return CORE_ERR_BAD_SIGNATURE;
    if (sponsor->revoked && revocations_has(sponsor->revoked, &a->joiner)) return CORE_ERR_REVOKED;
    return CORE_ERR_OK;
}

static enum core_err check_token(struct admission_sponsor *sponsor, const struct message_admit *a, uint32_t *roles)
{
    const struct invitation_entry *e = invitations_find(sponsor->ledger, &a->token_id);
    if (!e) return CORE_ERR_REFUSED;
    struct core_hash proof = proof_of(e->secret, &a->mesh, &a->joiner, &sponsor->key->id);
    if (sodium_memcmp(proof.bytes, a->secret.bytes, sizeof proof.bytes) != 0) return CORE_ERR_VERIFY_FAILED;
    *roles = e->roles;
    return CORE_ERR_OK;
}

static const char *why_of(enum core_err err)
{
    switch (err) {
    case CORE_ERR_WRONG_MESH: return "the token is for another mesh than this sponsor's";
    case CORE_ERR_MALFORMED: return "the name is not valid: letters, digits and ._- only, 63 at most";
    case CORE_ERR_VERIFY_FAILED: return "the key or the secret is not what the request says";
    case CORE_ERR_BAD_SIGNATURE: return "the request's signature does not verify";
    case CORE_ERR_EXPIRED: return "the token expired: ask for a new one";
    case CORE_ERR_USED_UP: return "the token was used up: ask for a new one";
    case CORE_ERR_REVOKED: return "the token or the key was revoked";
    default: return "this sponsor knows no such token";
    }
}

static enum core_err decide(struct admission_sponsor *sponsor, const struct message_admit *a, const uint8_t curve[32],
                            uint64_t now_s, struct admission_answer *out, size_t *size)
{
    struct certificate c = {.mesh = sponsor->charter->id, .key = a->joiner, .issued_s = now_s};
    enum core_err err = check_request(sponsor, a, curve, c.name);
    if (!err) err = check_token(sponsor, a, &c.roles);
    if (err) return err;
    if (sponsor->certificate_ttl_s) c.expires_s = now_s + sponsor->certificate_ttl_s;
    // Issued before the use is spent: a sponsor that may not issue spends none.
    err = certificate_issue(sponsor->charter, sponsor->key, sponsor->certificate, &c, out->certificate, size);
    if (!err) err = invitations_use(sponsor->ledger, &a->token_id, &a->joiner, now_s);
    out->issued = c;
    out->issued.issuer = sponsor->key->id;
    return err;
}

void admission_decide(struct admission_sponsor *sponsor, const struct message *admit, const uint8_t curve[32],
                      uint64_t now_s, struct admission_answer *out)
{
    check(admit->type == MESSAGE_ADMIT);
    *out = (struct admission_answer){0};
    size_t size = 0;
    out->err = decide(sponsor, &admit->admit, curve, now_s, out, &size);
    out->message.trace = admit->trace;
    if (out->err) {
        snprintf(out->why, sizeof out->why, "%s", why_of(out->err));
        out->message.type = MESSAGE_REFUSED;
        out->message.refused.error = out->err;
        out->message.refused.why = (struct slice){(const uint8_t *)out->why, strlen(out->why)};
        return;
    }
    out->message.type = MESSAGE_ADMITTED;
    out->message.admitted.charter = (struct slice){out->charter, charter_encode(sponsor->charter, out->charter)};
    out->message.admitted.certificate = (struct slice){out->certificate, size};
    out->message.admitted.sponsor_certificate = sponsor->certificate;
}

// ---- the joiner ----

struct join {
    const struct invitation *token;
    const struct core_key *key;
    const char *name;
    void *context;
    struct socket_options sockets;
    uint8_t server[IDENTITY_CURVE_SIZE];
    int timeout_ms;
    struct admission_result *out;
};

static bool keep(uint8_t *out, size_t capacity, size_t *size, struct slice from)
{
    if (from.size == 0 || from.size > capacity) return false;
    memcpy(out, from.data, from.size);
    *size = from.size;
    return true;
}

// Everything that ADMITTED brings, against the token and our own key.
static enum core_err take_admitted(struct join *j, const struct message_admitted *a)
{
    struct admission_result *out = j->out;
    struct charter charter;
    struct certificate own, sponsor;
    if (!keep(out->charter, sizeof out->charter, &out->charter_size, a->charter) ||
        !keep(out->certificate, sizeof out->certificate, &out->certificate_size, a->certificate) ||
        !keep(out->sponsor_certificate, sizeof out->sponsor_certificate, &out->sponsor_certificate_size,
              a->sponsor_certificate))
        return CORE_ERR_MALFORMED;
    enum core_err err = charter_decode(a->charter, &charter);
    if (err) return err;
    if (!hash_equal(&charter.id, &j->token->mesh)) return CORE_ERR_WRONG_MESH;
    uint64_t now_s = links_clock_s();
    err = certificate_verify(a->sponsor_certificate, &charter, NULL, now_s, &sponsor);
    if (!err) err = certificate_verify(a->certificate, &charter, NULL, now_s, &own);
    if (err) return err;
    bool fits = id_equal(&sponsor.key, &j->token->sponsor) && id_equal(&own.key, &j->key->id) &&
                id_equal(&own.issuer, &j->token->sponsor) && strcmp(own.name, j->name) == 0;
    return fits ? CORE_ERR_OK : CORE_ERR_VERIFY_FAILED;
}

static void printable(struct slice from, char *out, size_t size)
{
    size_t count = from.size < size ? from.size : size - 1;
    for (size_t i = 0; i < count; i++) out[i] = from.data[i] >= 0x20 && from.data[i] < 0x7f ? (char)from.data[i] : '?';
    out[count] = '\0';
}

// The sponsor's answer. `final`: no other address will answer differently.
static enum core_err take_answer(struct join *j, struct socket_message *raw, bool *final)
{
    struct message m;
    *final = true;
    enum core_err err = CORE_ERR_MALFORMED;
    if (raw->count == 1) {
        struct slice head = socket_part(raw, 0);
        err = wire_decode(&head, 1, &j->token->mesh, &m);
    }
    if (!err && m.type == MESSAGE_REFUSED) {
        enum core_err said =
            m.refused.error > 0 && m.refused.error < CORE_ERR_COUNT ? (enum core_err)m.refused.error : CORE_ERR_REFUSED;
        printable(m.refused.why, j->out->why, sizeof j->out->why);
        j->out->refusal = said;
        return said;
    }
    if (!err && m.type != MESSAGE_ADMITTED) err = CORE_ERR_MALFORMED;
    if (!err) err = take_admitted(j, &m.admitted);
    if (err)
        snprintf(j->out->why, sizeof j->out->why, "what the sponsor sent does not verify: %s", core_error_text(err));
    return err ? CORE_ERR_VERIFY_FAILED : CORE_ERR_OK;
}

// libzmq doesn't say why a connection failed: one plain attempt of our own does.
static const char *probe(const struct address *a)
{
    char port[8];
    snprintf(port, sizeof port, "%u", a->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(a->host, port, &hints, &found) != 0) return "the host name is not known";
    int number = 0;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || (connect(fd, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS)) number = errno;
    if (fd >= 0 && number == 0) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        socklen_t size = sizeof number;
        if (poll(&p, 1, PROBE_MS) <= 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size) != 0) number = ETIMEDOUT;
    }
    if (fd >= 0) close(fd);
    freeaddrinfo(found);
    switch (number) {
    case ECONNREFUSED: return "connection refused: no peer listens there";
    case EHOSTUNREACH:
    case ENETUNREACH: return "no route to it from here";
    case ETIMEDOUT: return "no answer: a firewall, or the machine is down";
    default: return "the connection failed";
    }
}

struct attempt {
    const struct address *at;  // NULL: not begun
    void *socket, *monitor;
    uint64_t begun_ms;
    bool connected, secured, over, told;
    const char *ended;  // the sentence, once the connection is over
    enum core_err err;
};

static void read_monitor(struct attempt *t, const struct address *at)
{
    struct socket_event e;
    while (socket_monitor_next(t->monitor, &e)) {
        switch (e.event) {
        case ZMQ_EVENT_CONNECTED: t->connected = true; break;
        case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: t->secured = true; break;
        case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: t->ended = "it turned our key away: too many tries, wait a minute"; break;
        case ZMQ_EVENT_CLOSED:
            if (!t->connected && !t->ended) t->ended = probe(at);
            break;
        case ZMQ_EVENT_DISCONNECTED:
            if (t->ended) break;
            t->ended = t->secured ? "it closed the connection without an answer"
                                  : "the handshake failed: another key answers there, or it is no mycel peer";
            break;
        default: break;
        }
    }
}

static const char *silence(const struct attempt *t)
{
    if (!t->connected) return "no answer: a firewall, or the machine is down";
    return t->secured ? "it did not answer the request in time" : "it did not complete the handshake in time";
}

static bool send_request(struct join *j, void *socket)
{
    uint8_t head[WIRE_HEADER_MAX + 2048];
    size_t size;
    struct message m;
    admission_request(j->token, j->key, j->name, &m);
    if (wire_encode(&m, &j->token->mesh, head, sizeof head, &size)) return false;
    return zmq_send(socket, head, size, ZMQ_DONTWAIT) >= 0;
}

// What has come of an attempt by now; true once it is over.
static bool attempt_over(struct join *j, struct attempt *t, uint64_t now_ms, bool *final)
{
    struct socket_message raw;
    read_monitor(t, t->at);
    uint64_t limit_ms = (uint64_t)j->timeout_ms;
    if (!t->connected && limit_ms > SILENT_MS) limit_ms = SILENT_MS;
    t->over = true;
    if (socket_receive(t->socket, &raw)) {
        t->err = take_answer(j, &raw, final);
        socket_message_close(&raw);
    } else if (t->ended) {
        t->err = CORE_ERR_UNREACHABLE;
    } else if (now_ms >= t->begun_ms + limit_ms) {
        t->ended = silence(t);
        t->err = CORE_ERR_TIMED_OUT;
    } else {
        t->over = false;
    }
    return t->over;
}

static void attempt_begin(struct join *j, struct attempt *t, uint32_t index, uint64_t now_ms)
{
    char name[32];
    snprintf(name, sizeof name, "join-%u", index);
    *t = (struct attempt){.at = &j->token->addresses.items[index], .begun_ms = now_ms};
    t->err = socket_dial(j->context, &j->sockets, t->at, j->server, name, &t->socket, &t->monitor);
    if (!t->err && !send_request(j, t->socket)) t->err = CORE_ERR_IO;
    t->over = t->err != CORE_ERR_OK;
}

static void attempt_end(struct join *j, struct attempt *t, bool final, admission_report *report, void *context)
{
    char text[ADDRESS_TEXT_MAX];
    address_format(t->at, text);
    const char *sentence = final ? j->out->why : t->ended ? t->ended : core_error_text(t->err);
    if (report) report(context, text, t->err, t->err ? sentence : "admitted");
    if (!t->err) j->out->address = *t->at;
    socket_close(t->socket, t->monitor);
    t->socket = t->monitor = NULL;
    t->told = true;
}

static void wait_any(const struct attempt *tries, uint32_t count)
{
    zmq_pollitem_t items[2 * ADDRESS_LIST_MAX];
    int open = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!tries[i].socket) continue;
        items[open++] = (zmq_pollitem_t){.socket = tries[i].socket, .events = ZMQ_POLLIN};
        items[open++] = (zmq_pollitem_t){.socket = tries[i].monitor, .events = ZMQ_POLLIN};
    }
    if (zmq_poll(items, open, LOOK_MS) < 0) return;  // a signal: looked at again
}

// Every address, the next one begun when an earlier one failed or has been silent for STAGGER_MS (as RFC 8305 does),
// until one brings a final answer. CORE_ERR_OK, or the error of the first address that had one.
static enum core_err try_addresses(struct join *j, admission_report *report, void *context, bool *final)
{
    struct attempt tries[ADDRESS_LIST_MAX] = {0};
    uint32_t count = j->token->addresses.count, begun = 0, over = 0;
    uint64_t next_ms = 0;
    enum core_err answer = CORE_ERR_UNREACHABLE;
    while (!*final && over < count) {
        uint64_t now_ms = links_clock_ms();
        if (begun < count && now_ms >= next_ms) {
            attempt_begin(j, &tries[begun], begun, now_ms);
            begun++;
            next_ms = now_ms + STAGGER_MS;
        }
        for (uint32_t i = 0; i < begun && !*final; i++) {
            struct attempt *t = &tries[i];
            if (t->told || (!t->over && !attempt_over(j, t, now_ms, final))) continue;
            attempt_end(j, t, *final, report, context);
            if (*final) answer = t->err;
            over++;
            next_ms = now_ms;
        }
        if (!*final && over < count && now_ms < next_ms) wait_any(tries, begun);
    }
    for (uint32_t i = 0; i < begun; i++) socket_close(tries[i].socket, tries[i].monitor);
    return *final || count == 0 ? answer : tries[0].err;
}

enum core_err admission_join(const struct invitation *token, const struct core_key *key, const char *name,
                             int timeout_ms, admission_report *report, void *context, struct admission_result *out)
{
    *out = (struct admission_result){0};
    if (!charter_name_valid(name)) {
        snprintf(out->why, sizeof out->why, "%s", why_of(CORE_ERR_MALFORMED));
        return CORE_ERR_USAGE;
    }
    struct identity_curve curve;
    struct join j = {.token = token, .key = key, .name = name, .timeout_ms = timeout_ms, .out = out};
    if (identity_curve_public(&token->sponsor, j.server) || identity_curve_pair(key, &curve)) return CORE_ERR_MALFORMED;
    // libzmq's own limits come after ours, which know what the silence was about.
    j.sockets = (struct socket_options){.curve = &curve,
                                        .handshake_ms = timeout_ms + GRACE_MS,
                                        .connect_ms = timeout_ms + GRACE_MS,
                                        .heartbeat_ms = timeout_ms,
                                        .linger_ms = 0};
    j.context = zmq_ctx_new();
    if (!j.context) return CORE_ERR_NO_MEMORY;
    bool final = false;
    enum core_err err = try_addresses(&j, report, context, &final);
    zmq_ctx_term(j.context);
    identity_forget(&curve, sizeof curve);
    if (err && !final)
        snprintf(out->why, sizeof out->why, "none of the sponsor's %u addresses answered", token->addresses.count);
    return err;
}
