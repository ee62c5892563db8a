// The wire codec, and docs/wire-format.md: its examples are decoded, its list of messages is compared with the table.
#include "mesh/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/address.h"
#include "mesh/certificate.h"
#include "mesh/charter.h"
#include "mesh/invitation.h"

static struct core_hash mesh_id;
static char *page;

// ---- the page ----

static int read_page(void **state)
{
    (void)state;
    if (sign_start()) return 1;
    memset(mesh_id.bytes, 0xa5, sizeof mesh_id.bytes);
    FILE *f = fopen("docs/wire-format.md", "rb");
    if (!f) return 1;
    page = calloc(1, 65536);
    size_t size = page ? fread(page, 1, 65535, f) : 0;
    fclose(f);
    return size == 0 || size == 65535;
}

static int free_page(void **state)
{
    (void)state;
    free(page);
    return 0;
}

// The block that starts with "```KIND NAME": its lines joined.
static size_t block(const char *kind, const char *name, char *out, size_t capacity)
{
    char head[64];
    snprintf(head, sizeof head, "```%s %s\n", kind, name);
    const char *at = strstr(page, head);
    if (!at) fail_msg("docs/wire-format.md has no block %s", name);
    size_t size = 0;
    for (at += strlen(head); *at && strncmp(at, "```", 3) != 0; at++)
        if (*at != '\n' && size + 1 < capacity) out[size++] = *at;
    out[size] = '\0';
    return size;
}

static size_t hex_block(const char *name, uint8_t *out, size_t capacity)
{
    char text[4096];
    size_t size = block("hex", name, text, sizeof text);
    assert_true(size / 2 <= capacity);
    assert_true(hex_decode(out, size / 2, text));
    return size / 2;
}

static struct core_id id_of(uint8_t seed_byte)
{
    uint8_t seed[CORE_SEED_SIZE];
    memset(seed, seed_byte, sizeof seed);
    return sign_key_from_seed(seed).id;
}

static void the_pages_messages_decode(void **state)
{
    (void)state;
    uint8_t head[256], id[32];
    struct core_hash garden;
    assert_int_equal(hex_block("mesh", id, sizeof id), 32);
    memcpy(garden.bytes, id, sizeof id);
    struct slice frames[2] = {{head, hex_block("ping", head, sizeof head)}, {(const uint8_t *)"abc", 3}};
    struct message m;
    assert_int_equal(wire_decode(frames, 1, &garden, &m), CORE_ERR_OK);
    assert_int_equal(m.type, MESSAGE_PING);
    assert_true(m.ping.nonce == 7 && m.trace == 0x1122334455667788u);

    frames[0].size = hex_block("chunk", head, sizeof head);
    assert_int_equal(wire_decode(frames, 2, &garden, &m), CORE_ERR_OK);
    assert_int_equal(m.type, MESSAGE_CHUNK);
    struct core_hash leaf = hash_leaf("abc", 3);
    assert_true(hash_equal(&m.chunk.hash, &leaf) && m.chunk.found == 1 && m.bulk.size == 3);
}

static void the_pages_objects_verify(void **state)
{
    (void)state;
    uint8_t raw[CHARTER_MAX];
    struct charter charter;
    struct certificate certificate;
    struct revocation revocation;
    struct address_list list;
    struct core_id founder = id_of(1), member = id_of(2);
    size_t size = hex_block("charter", raw, sizeof raw);
    assert_int_equal(charter_decode((struct slice){raw, size}, &charter), CORE_ERR_OK);
    assert_string_equal(charter.name, "garden");
    assert_true(charter.created_s == 1700000000 && charter_is_founder(&charter, &founder));
    assert_int_equal(hex_block("mesh", raw, sizeof raw), 32);
    assert_memory_equal(raw, charter.id.bytes, 32);
    size = hex_block("certificate", raw, sizeof raw);
    assert_int_equal(certificate_verify((struct slice){raw, size}, &charter, NULL, 1750000000, &certificate),
                     CORE_ERR_OK);
    assert_true(id_equal(&certificate.key, &member) && certificate.expires_s == 1800000000);
    assert_string_equal(certificate.name, "p2");
    size = hex_block("revocation", raw, sizeof raw);
    assert_int_equal(revocation_verify((struct slice){raw, size}, &charter, NULL, 1750000000, &revocation),
                     CORE_ERR_OK);
    assert_true(id_equal(&revocation.key, &member));
    size = hex_block("addresses", raw, sizeof raw);
    assert_int_equal(address_list_decode((struct slice){raw, size}, &list), CORE_ERR_OK);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[1].host, "2001:db8::1");
}

static void the_pages_token_decodes(void **state)
{
    (void)state;
    char text[INVITATION_TEXT_MAX], why[INVITATION_WHY_MAX];
    uint8_t raw[32];
    struct invitation in;
    block("text", "token", text, sizeof text);
    assert_int_equal(invitation_decode(text, &in, why), CORE_ERR_OK);
    struct core_id founder = id_of(1);
    struct core_hash id = invitation_id(in.secret);
    assert_true(id_equal(&in.sponsor, &founder) && in.uses == 1 && in.expires_s == 1700086400 &&
                in.addresses.count == 2);
    assert_int_equal(hex_block("token id", raw, sizeof raw), 32);
    assert_memory_equal(raw, id.bytes, 32);
}

static void the_page_lists_every_message(void **state)
{
    (void)state;
    const struct message_info *info;
    for (uint32_t i = 0; (info = message_info_at(i)); i++) {
        char row[128];
        snprintf(row, sizeof row, "| 0x%02x | %s | %s | %u | %u | ", (unsigned)info->type, info->name,
                 info->lane == LANE_BULK ? "bulk" : "control", info->body_limit, info->bulk_limit);
        const char *at = strstr(page, row);
        if (!at) fail_msg("docs/wire-format.md has no row \"%s\"", row);
        assert_true(at[strlen(row)] != '|');  // it says what for
    }
}

// ---- the codec ----

// A message of every type with fields that differ, and text in every BYTES.
static struct message message_of(const struct message_info *info)
{
    static const uint8_t text[300] = {1, 2, 3};
    struct message m = {.type = info->type, .trace = 0xfeedfacecafebeefu};
    for (uint32_t i = 0; i < info->count; i++) {
        uint8_t *at = (uint8_t *)&m + info->fields[i].offset;
        uint64_t number = (uint64_t)0x9e3779b97f4a7c15u >> (7 * i % 64);
        // Sizes on both sides of msgpack's one-byte lengths, within the smallest body limit that has BYTES.
        struct slice s = {text, info->body_limit >= 8192 ? 300 : i};
        switch (info->fields[i].kind) {
        case MESSAGE_U64: memcpy(at, &number, sizeof number); break;
        case MESSAGE_BYTES: memcpy(at, &s, sizeof s); break;
        case MESSAGE_SIG: memset(at, (int)(0x40 + i), CORE_SIG_SIZE); break;
        default: memset(at, (int)(0x80 + i), 32); break;
        }
    }
    if (info->bulk_limit) m.bulk = (struct slice){text, sizeof text};
    return m;
}

static bool same_bytes(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static void assert_same(const struct message *a, const struct message *b)
{
    const struct message_info *info = message_info(a->type);
    assert_int_equal(a->type, b->type);
    assert_true(a->trace == b->trace && same_bytes(a->bulk, b->bulk));
    for (uint32_t i = 0; i < info->count; i++) {
        const uint8_t *x = (const uint8_t *)a + info->fields[i].offset,
                      *y = (const uint8_t *)b + info->fields[i].offset;
        static const size_t sizes[] = {8, 32, 32, 64, sizeof(struct slice)};
        if (info->fields[i].kind == MESSAGE_BYTES) {
            struct slice s, t;
            memcpy(&s, x, sizeof s);
            memcpy(&t, y, sizeof t);
            assert_true(same_bytes(s, t));
        } else {
            assert_memory_equal(x, y, sizes[info->fields[i].kind]);
        }
    }
}

static uint8_t head[WIRE_HEAD_MAX];

static size_t encode(const struct message *m, struct slice frames[2])
{
    size_t size;
    assert_int_equal(wire_encode(m, &mesh_id, head, sizeof head, &size), CORE_ERR_OK);
    assert_true(size <= wire_head_bound(m));
    frames[0] = (struct slice){head, size};
    frames[1] = m->bulk;
    return m->bulk.size ? 2 : 1;
}

static void every_type_round_trips(void **state)
{
    (void)state;
    const struct message_info *info;
    for (uint32_t i = 0; (info = message_info_at(i)); i++) {
        struct slice frames[2];
        struct message m = message_of(info), back;
        for (int traced = 0; traced < 2; traced++) {
            if (!traced) m.trace = 0;
            size_t count = encode(&m, frames);
            assert_int_equal(wire_decode(frames, count, &mesh_id, &back), CORE_ERR_OK);
            assert_same(&m, &back);
            // Cut short by one byte or one frame, or one too many: malformed, whichever type.
            frames[0].size--;
            assert_int_equal(wire_decode(frames, count, &mesh_id, &back), CORE_ERR_MALFORMED);
            frames[0].size++;
            assert_int_equal(wire_decode(frames, count - 1, &mesh_id, &back), CORE_ERR_MALFORMED);
            assert_int_equal(wire_decode(frames, count + 1, &mesh_id, &back), CORE_ERR_MALFORMED);
            m.trace = 0xfeedfacecafebeefu;
        }
    }
}

static enum core_err with_header_byte(size_t at, uint8_t value)
{
    struct slice frames[2];
    struct message m = message_of(message_info(MESSAGE_CHUNK)), back;
    size_t count = encode(&m, frames);
    head[at] = value;
    return wire_decode(frames, count, &mesh_id, &back);
}

static void headers_that_lie_are_named(void **state)
{
    (void)state;
    assert_int_equal(with_header_byte(0, 'M'), CORE_ERR_OK);
    assert_int_equal(with_header_byte(0, 'm'), CORE_ERR_MALFORMED);
    assert_int_equal(with_header_byte(2, MESSAGE_VERSION + 1), CORE_ERR_UNKNOWN_VERSION);
    assert_int_equal(with_header_byte(2, 1), CORE_ERR_UNKNOWN_VERSION);
    assert_int_equal(with_header_byte(3, WIRE_FLAG_TRACE), CORE_ERR_MALFORMED);  // a bulk frame without its flag
    assert_int_equal(with_header_byte(3, WIRE_FLAG_BULK), CORE_ERR_MALFORMED);   // the trace is read as the body
    assert_int_equal(with_header_byte(3, 7), CORE_ERR_MALFORMED);                // a flag that doesn't exist
    assert_int_equal(with_header_byte(4, 0xfe), CORE_ERR_UNKNOWN_TYPE);
    assert_int_equal(with_header_byte(5, 1), CORE_ERR_UNKNOWN_TYPE);
    assert_int_equal(with_header_byte(4, MESSAGE_PING), CORE_ERR_TOO_LARGE);  // PING has no bulk
    assert_int_equal(with_header_byte(6, 0), CORE_ERR_WRONG_MESH);
    assert_int_equal(with_header_byte(9, 0), CORE_ERR_WRONG_MESH);
    struct slice nothing = {NULL, 0};
    struct message m;
    assert_int_equal(wire_decode(&nothing, 0, &mesh_id, &m), CORE_ERR_MALFORMED);
    assert_int_equal(wire_decode(&nothing, 1, &mesh_id, &m), CORE_ERR_MALFORMED);
}

// A body above the type's limit, bulk above it, and a trace id of zero.
static void what_is_too_large_or_not_canonical(void **state)
{
    (void)state;
    static uint8_t bulk[(1 << 20) + 1];
    struct slice frames[2];
    struct message m = message_of(message_info(MESSAGE_CHUNK)), back;
    encode(&m, frames);
    frames[1] = (struct slice){bulk, 1 << 20};
    assert_int_equal(wire_decode(frames, 2, &mesh_id, &back), CORE_ERR_OK);
    frames[1].size++;
    assert_int_equal(wire_decode(frames, 2, &mesh_id, &back), CORE_ERR_TOO_LARGE);
    frames[1].size = 0;
    assert_int_equal(wire_decode(frames, 2, &mesh_id, &back), CORE_ERR_MALFORMED);
    memset(head + 10, 0, 8);
    frames[1].size = 1;
    assert_int_equal(wire_decode(frames, 2, &mesh_id, &back), CORE_ERR_MALFORMED);
    m = (struct message){.type = MESSAGE_PING};
    encode(&m, frames);
    frames[0].size = WIRE_HEADER_MIN + 64;
    assert_int_equal(wire_decode(frames, 1, &mesh_id, &back), CORE_ERR_MALFORMED);
    frames[0].size++;
    assert_int_equal(wire_decode(frames, 1, &mesh_id, &back), CORE_ERR_TOO_LARGE);
}

static enum core_err decode_ping(const uint8_t *bytes, size_t size)
{
    struct slice frames[2];
    struct message m = {.type = MESSAGE_PING}, back;
    encode(&m, frames);
    memcpy(head + WIRE_HEADER_MIN, bytes, size);
    frames[0].size = WIRE_HEADER_MIN + size;
    return wire_decode(frames, 1, &mesh_id, &back);
}

// Bodies by hand (msgpack's specification), for a message of one U64.
static void bodies_that_lie_are_malformed(void **state)
{
    (void)state;
#define PING(...) decode_ping((const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[]){__VA_ARGS__})
    assert_int_equal(PING(0x91, 7), CORE_ERR_OK);
    assert_int_equal(PING(0x91, 0xcf, 0, 0, 0, 0, 0, 0, 0, 7), CORE_ERR_OK);         // wider than needed
    assert_int_equal(PING(0x91), CORE_ERR_MALFORMED);                                // item missing
    assert_int_equal(PING(0x92, 7, 7), CORE_ERR_MALFORMED);                          // one item more
    assert_int_equal(PING(0x91, 7, 7), CORE_ERR_MALFORMED);                          // a byte behind
    assert_int_equal(PING(0x90), CORE_ERR_MALFORMED);                                // no item
    assert_int_equal(PING(0xdd, 0xff, 0xff, 0xff, 0xff, 7), CORE_ERR_MALFORMED);     // four thousand million items
    assert_int_equal(PING(0x91, 0xdd, 0xff, 0xff, 0xff, 0xff), CORE_ERR_MALFORMED);  // an item that is such an array
    assert_int_equal(PING(0x91, 0xc6, 0xff, 0xff, 0xff, 0xff), CORE_ERR_MALFORMED);  // four gigabytes of bin
    assert_int_equal(PING(0x91, 0xc4, 1, 7), CORE_ERR_MALFORMED);                    // bin for a number
    assert_int_equal(PING(0x91, 0xff), CORE_ERR_MALFORMED);                          // -1
    assert_int_equal(PING(0x91, 0xd0, 7), CORE_ERR_MALFORMED);                       // a signed 7
    assert_int_equal(PING(0x91, 0xc0), CORE_ERR_MALFORMED);                          // nil
    assert_int_equal(PING(0x91, 0xa1, '7'), CORE_ERR_MALFORMED);                     // text
    assert_int_equal(PING(0x91, 0xcf, 0, 0, 0, 0, 0, 0, 0), CORE_ERR_MALFORMED);     // cut within the number
    assert_int_equal(PING(0x81, 7, 7), CORE_ERR_MALFORMED);                          // a map
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pages_messages_decode),     cmocka_unit_test(the_pages_objects_verify),
        cmocka_unit_test(the_pages_token_decodes),       cmocka_unit_test(the_page_lists_every_message),
        cmocka_unit_test(every_type_round_trips),        cmocka_unit_test(headers_that_lie_are_named),
        cmocka_unit_test(bodies_that_lie_are_malformed), cmocka_unit_test(what_is_too_large_or_not_canonical),
    };
    return cmocka_run_group_tests(tests, read_page, free_page);
}
