#include "node/doctor/doctor_known.h"

#include <stdlib.h>

#include "gossip/gossip.h"
#include "gossip/record.h"
#include "gossip/sync.h"
#include "mesh/certificate.h"
#include "node/home.h"
#include "node/settings.h"

enum { MEMBERS_FILE_MAX = 64 << 20 };

static json_t *text_of(struct slice s)
{
    json_t *text = json_stringn((const char *)s.data, s.size);
    return text ? text : json_string("");
}

static json_t *hex_of(const void *bytes, size_t size)
{
    char hex[2 * CORE_HASH_SIZE + 1];
    hex_encode(hex, bytes, size);
    return json_string(hex);
}

static json_t *addresses_of(struct slice bytes)
{
    struct address_list list;
    json_t *out = json_array();
    if (address_list_decode(bytes, &list)) list.count = 0;
    for (uint32_t i = 0; i < list.count; i++) {
        char text[ADDRESS_TEXT_MAX];
        address_format(&list.items[i], text);
        json_array_append_new(out, json_string(text));
    }
    return out;
}

static json_t *peers_of(const struct home *h)
{
    json_t *list = json_array();
    uint8_t *bytes = NULL;
    size_t size;
    if (home_read(h, "members", MEMBERS_FILE_MAX, &bytes, &size)) return list;
    struct reader r = reader_over(bytes, size);
    while (!r.failed && r.at < r.size) {
        struct slice entry = read_slice(&r, GOSSIP_ENTRY_MAX), record, accusations;
        struct reader fields = reader_over(entry.data, entry.size);
        struct member_record m;
        if (r.failed || !sync_entry_next(&fields, &record, &accusations) || record_read(&m, record)) continue;
        json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o}", "id", hex_of(m.id.bytes, sizeof m.id.bytes),
                                              "name", text_of(m.name), "site", text_of(m.site), "addresses",
                                              addresses_of(m.addresses)));
    }
    free(bytes);
    return list;
}

static void put_charter(const struct home *h, json_t *o)
{
    uint8_t *bytes = NULL;
    size_t size;
    struct charter charter;
    if (home_read(h, "charter", CHARTER_MAX, &bytes, &size)) return;
    if (!charter_decode((struct slice){bytes, size}, &charter)) {
        json_object_set_new(o, "mesh", hex_of(charter.id.bytes, sizeof charter.id.bytes));
        json_object_set_new(o, "mesh_name", json_string(charter.name));
    }
    free(bytes);
}

static void put_certificate(const struct home *h, json_t *o)
{
    uint8_t *bytes = NULL;
    size_t size;
    struct certificate own;
    if (home_read(h, "certificate", CERTIFICATE_MAX, &bytes, &size)) return;
    if (!certificate_decode((struct slice){bytes, size}, &own)) {
        json_object_set_new(o, "id", hex_of(own.key.bytes, sizeof own.key.bytes));
        json_object_set_new(o, "name", json_string(own.name));
    }
    free(bytes);
}

json_t *doctor_known(const char *home)
{
    struct home h = {.lock = -1};
    struct settings settings;
    json_t *o = json_object();
    if (!o) return NULL;
    snprintf(h.path, sizeof h.path, "%s", home);
    put_charter(&h, o);
    put_certificate(&h, o);
    if (!settings_read(&h, &settings)) {
        json_object_set_new(o, "site", json_string(settings.site));
        json_object_set_new(o, "addresses", json_pack("[s]", settings.listen));
        if (!json_object_get(o, "name")) json_object_set_new(o, "name", json_string(settings.name));
    }
    json_object_set_new(o, "peers", peers_of(&h));
    return o;
}
