// The structs of every message, made from core/message.def. A message's BYTES fields and its bulk are views: whoever
// fills them in keeps the bytes alive until the message is sent or copied (`outbox_send` copies).
#ifndef CORE_MESSAGE_H
#define CORE_MESSAGE_H

#include <stdint.h>

#include "core/bytes.h"
#include "core/hash.h"
#include "core/message.def"
#include "core/sign.h"

enum { MESSAGE_VERSION = 2 };

// Control and bulk travel apart, so that a large state never delays a heartbeat.
enum message_lane { LANE_CONTROL, LANE_BULK, LANE_COUNT };

enum message_type {
#define MESSAGE_ENUM(number, NAME, name, lane, body_limit, bulk_limit) MESSAGE_##NAME = number,
    MESSAGES(MESSAGE_ENUM)
#undef MESSAGE_ENUM
};

#define MESSAGE_C_U64                     uint64_t
#define MESSAGE_C_ID                      struct core_id
#define MESSAGE_C_HASH                    struct core_hash
#define MESSAGE_C_SIG                     struct core_sig
#define MESSAGE_C_BYTES                   struct slice
#define MESSAGE_MEMBER(owner, kind, name) MESSAGE_C_##kind name;
#define MESSAGE_STRUCT(number, NAME, name, lane, body_limit, bulk_limit) \
    struct message_##name {                                              \
        FIELDS_##name(MESSAGE_MEMBER)                                    \
    };
MESSAGES(MESSAGE_STRUCT)
#undef MESSAGE_STRUCT

struct message {
    enum message_type type;
    uint64_t trace;     // carried along with what it causes; 0 for none
    struct slice bulk;  // the bulk frame; empty where the type has none
    union {
#define MESSAGE_UNION(number, NAME, name, lane, body_limit, bulk_limit) struct message_##name name;
        MESSAGES(MESSAGE_UNION)
#undef MESSAGE_UNION
    };
};

// A field's kind and place, for codecs and copies.
enum message_field_kind { MESSAGE_U64, MESSAGE_ID, MESSAGE_HASH, MESSAGE_SIG, MESSAGE_BYTES };

struct message_field {
    const char *name;
    enum message_field_kind kind;
    uint32_t offset;  // bytes into struct message
};

struct message_info {
    enum message_type type;
    const char *name;  // "view_join"
    enum message_lane lane;
    uint32_t body_limit;  // bytes of the msgpack body
    uint32_t bulk_limit;  // bytes of the bulk frame; 0: none allowed
    const struct message_field *fields;
    uint32_t count;
};

// What the table says of a type; NULL for a number that isn't in it.
const struct message_info *message_info(uint32_t type);
// Every type in the table's order; NULL from `index` = the number of types on.
const struct message_info *message_info_at(uint32_t index);

#endif
