// Where a peer can be dialled: HOST:PORT or [v6]:PORT, and lists of them. Pure except for `address_list_local`.
#ifndef MESH_ADDRESS_H
#define MESH_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"

enum {
    ADDRESS_DEFAULT_PORT = 6173,
    ADDRESS_HOST_MAX = 127,
    ADDRESS_TEXT_MAX = 160,  // with brackets, port and NUL
    ADDRESS_LIST_MAX = 8,
    ADDRESS_LIST_BYTES = 1 + ADDRESS_LIST_MAX * (1 + ADDRESS_TEXT_MAX),
};

struct address {
    char host[ADDRESS_HOST_MAX + 1];  // without brackets
    uint16_t port;                    // 0 only where the caller allows it (listen on any free port)
    bool v6;                          // a literal IPv6 address
};

struct address_list {
    struct address items[ADDRESS_LIST_MAX];
    uint32_t count;
};

// "host:6173", "10.0.0.1:0", "[::1]:6173"; without ":PORT" the default port. CORE_ERR_MALFORMED.
CORE_MUST_USE enum core_err address_parse(const char *text, struct address *out);
// "host:port" or "[v6]:port".
void address_format(const struct address *a, char out[ADDRESS_TEXT_MAX]);
bool address_equal(const struct address *a, const struct address *b);
// 127.0.0.0/8, ::1 or "localhost": of use within one host only.
bool address_is_loopback(const struct address *a);
// 0.0.0.0, :: or "*": every address of the machine.
bool address_is_any(const struct address *a);

// CORE_ERR_LIMIT when full; adding one that is there already is fine.
CORE_MUST_USE enum core_err address_list_add(struct address_list *list, const struct address *a);
// u8 count, then for each u8 length and its text. Returns the size.
size_t address_list_encode(const struct address_list *list, uint8_t out[ADDRESS_LIST_BYTES]);
CORE_MUST_USE enum core_err address_list_decode(struct slice bytes, struct address_list *out);

// Adds this machine's addresses with `port`: the non-loopback ones first, then 127.0.0.1 (peers of the same host take
// it). Link-local addresses are left out. CORE_ERR_IO when the system won't say.
CORE_MUST_USE enum core_err address_list_local(struct address_list *list, uint16_t port);

#endif
