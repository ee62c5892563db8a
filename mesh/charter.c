#include "mesh/charter.h"

#include <string.h>

#include "core/check.h"

static const char domain[] = "mycel charter v1";

static bool name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

bool charter_name_valid(const char *name)
{
    size_t length = strnlen(name, CHARTER_NAME_MAX + 1);
    if (length == 0 || length > CHARTER_NAME_MAX || strchr("._-", name[0])) return false;
    for (size_t i = 0; i < length; i++)
        if (!name_byte(name[i])) return false;
    return true;
}

static void write_body(struct writer *w, const struct charter *c)
{
    size_t length = strlen(c->name);
    write_u8(w, CHARTER_VERSION);
    write_u8(w, (uint8_t)c->fault_model);
    write_u8(w, (uint8_t)c->policy);
    write_u16(w, c->protocol);
    write_u64(w, c->created_s);
    write_bytes(w, c->nonce, sizeof c->nonce);
    write_u8(w, (uint8_t)length);
    write_bytes(w, c->name, length);
    write_u8(w, (uint8_t)c->founder_count);
    for (uint32_t i = 0; i < c->founder_count; i++) write_bytes(w, c->founders[i].bytes, CORE_ID_SIZE);
}

enum core_err charter_create(const struct core_key *founder, const char *name, enum charter_fault_model model,
                             uint64_t created_s, const uint8_t nonce[CHARTER_NONCE_SIZE], struct charter *out)
{
    if (!charter_name_valid(name)) return CORE_ERR_USAGE;
    check(model == FAULT_TRUSTED || model == FAULT_BYZANTINE);
    *out = (struct charter){.fault_model = model,
                            .policy = POLICY_INVITATION,
                            .protocol = CHARTER_PROTOCOL,
                            .created_s = created_s,
                            .founders = {founder->id},
                            .founder_count = 1};
    memcpy(out->name, name, strlen(name));
    memcpy(out->nonce, nonce, CHARTER_NONCE_SIZE);
    uint8_t body[CHARTER_MAX];
    struct writer w = writer_over(body, sizeof body);
    write_body(&w, out);
    check(!w.overflowed);
    out->id = hash_bytes(body, w.size);
    out->signatures[0] = sign_make(founder, domain, body, w.size);
    return CORE_ERR_OK;
}

size_t charter_encode(const struct charter *charter, uint8_t out[CHARTER_MAX])
{
    struct writer w = writer_over(out, CHARTER_MAX);
    write_body(&w, charter);
    for (uint32_t i = 0; i < charter->founder_count; i++) write_bytes(&w, charter->signatures[i].bytes, CORE_SIG_SIZE);
    check(!w.overflowed);
    return w.size;
}

// Reads the body; false where it is not one that `write_body` would have written.
static bool read_body(struct reader *r, struct charter *c)
{
    c->fault_model = read_u8(r);
    c->policy = read_u8(r);
    c->protocol = read_u16(r);
    c->created_s = read_u64(r);
    read_bytes(r, c->nonce, sizeof c->nonce);
    uint32_t length = read_u8(r);
    if (length > CHARTER_NAME_MAX) return false;
    read_bytes(r, c->name, length);
    c->founder_count = read_u8(r);
    if (c->founder_count == 0 || c->founder_count > CHARTER_FOUNDERS_MAX) return false;
    for (uint32_t i = 0; i < c->founder_count; i++) {
        read_bytes(r, c->founders[i].bytes, CORE_ID_SIZE);
        if (i > 0 && id_compare(&c->founders[i - 1], &c->founders[i]) >= 0) return false;  // sorted, no one twice
    }
    return !r->failed && strlen(c->name) == length && charter_name_valid(c->name) &&
           (c->fault_model == FAULT_TRUSTED || c->fault_model == FAULT_BYZANTINE) && c->policy == POLICY_INVITATION;
}

enum core_err charter_decode(struct slice bytes, struct charter *out)
{
    *out = (struct charter){0};
    if (bytes.size == 0 || bytes.size > CHARTER_MAX) return CORE_ERR_MALFORMED;
    struct reader r = reader_over(bytes.data, bytes.size);
    if (read_u8(&r) != CHARTER_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    if (!read_body(&r, out)) return CORE_ERR_MALFORMED;
    size_t body = r.at;
    for (uint32_t i = 0; i < out->founder_count; i++) read_bytes(&r, out->signatures[i].bytes, CORE_SIG_SIZE);
    if (!reader_finished(&r)) return CORE_ERR_MALFORMED;
    if (out->protocol != CHARTER_PROTOCOL) return CORE_ERR_UNKNOWN_VERSION;
    for (uint32_t i = 0; i < out->founder_count; i++)
        if (!sign_valid(&out->founders[i], domain, bytes.data, body, &out->signatures[i]))
            return CORE_ERR_BAD_SIGNATURE;
    out->id = hash_bytes(bytes.data, body);
    return CORE_ERR_OK;
}

bool charter_is_founder(const struct charter *charter, const struct core_id *id)
{
    for (uint32_t i = 0; i < charter->founder_count; i++)
        if (id_equal(&charter->founders[i], id)) return true;
    return false;
}

const char *charter_fault_model_name(enum charter_fault_model model)
{
    return model == FAULT_BYZANTINE ? "byzantine" : "trusted";
}

bool charter_fault_model_from(const char *name, enum charter_fault_model *out)
{
    if (strcmp(name, "trusted") == 0)
        *out = FAULT_TRUSTED;
    else if (strcmp(name, "byzantine") == 0)
        *out = FAULT_BYZANTINE;
    else
        return false;
    return true;
}
