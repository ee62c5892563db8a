#include "core/message.h"

#include <stddef.h>

#define FIELD_ROW(owner, field_kind, field) \
    {#field, MESSAGE_##field_kind,          \
     (uint32_t)(offsetof(struct message, owner) + offsetof(struct message_##owner, field))},

#define FIELDS_TABLE(number, NAME, name, lane, body_limit, bulk_limit) \
    static const struct message_field fields_of_##name[] = {FIELDS_##name(FIELD_ROW)};

MESSAGES(FIELDS_TABLE)

static const struct message_info infos[] = {
#define INFO_ROW(number, NAME, name, lane, body_limit, bulk_limit) \
    {MESSAGE_##NAME,                                               \
     #name,                                                        \
     LANE_##lane,                                                  \
     body_limit,                                                   \
     bulk_limit,                                                   \
     fields_of_##name,                                             \
     sizeof fields_of_##name / sizeof fields_of_##name[0]},
    MESSAGES(INFO_ROW)
#undef INFO_ROW
};

const struct message_info *message_info_at(uint32_t index)
{
    return index < sizeof infos / sizeof infos[0] ? &infos[index] : NULL;
}

const struct message_info *message_info(uint32_t type)
{
    for (uint32_t i = 0; i < sizeof infos / sizeof infos[0]; i++)
        if ((uint32_t)infos[i].type == type) return &infos[i];
    return NULL;
}
