// Names of reasons, classes and ways, and what links count.
#include <string.h>

#include "mesh/links_internal.h"

// ---- reasons ----

const char *link_reason_text(enum link_reason reason)
{
    static const char *const texts[] = {
#define LINK_REASON_TEXT(name, text) text,
        LINK_REASONS(LINK_REASON_TEXT)
#undef LINK_REASON_TEXT
    };
    return reason < LINK_REASON_COUNT ? texts[reason] : "unknown";
}

const char *link_reason_name(enum link_reason reason)
{
    static const char *const names[] = {
#define LINK_REASON_NAME(name, text) #name,
        LINK_REASONS(LINK_REASON_NAME)
#undef LINK_REASON_NAME
    };
    return reason < LINK_REASON_COUNT ? names[reason] : "UNKNOWN";
}

const char *link_class_name(enum link_class c)
{
    static const char *const names[LINK_CLASS_COUNT] = {"control", "cast", "bulk"};
    return c < LINK_CLASS_COUNT ? names[c] : "unknown";
}

const char *link_way_name(enum link_way way)
{
    static const char *const names[LINK_WAY_COUNT] = {"none", "curve", "sealed", "shared"};
    return way < LINK_WAY_COUNT ? names[way] : "unknown";
}

// Both ways: what a reason is as an error (REFUSED carries it), and what an error is as a reason.
static const struct {
    enum link_reason reason;
    enum core_err err;
} error_of[] = {
    {LINK_NONE, CORE_ERR_OK},
    {LINK_MALFORMED, CORE_ERR_MALFORMED},
    {LINK_UNKNOWN_VERSION, CORE_ERR_UNKNOWN_VERSION},
    {LINK_UNKNOWN_TYPE, CORE_ERR_UNKNOWN_TYPE},
    {LINK_TOO_LARGE, CORE_ERR_TOO_LARGE},
    {LINK_WRONG_MESH, CORE_ERR_WRONG_MESH},
    {LINK_WRONG_KEY, CORE_ERR_VERIFY_FAILED},
    {LINK_BAD_SIGNATURE, CORE_ERR_BAD_SIGNATURE},
    {LINK_EXPIRED, CORE_ERR_EXPIRED},
    {LINK_REVOKED, CORE_ERR_REVOKED},
    {LINK_LIMIT, CORE_ERR_LIMIT},
    {LINK_TIMED_OUT, CORE_ERR_TIMED_OUT},
    {LINK_NO_HELLO, CORE_ERR_TIMED_OUT},
    {LINK_SILENT, CORE_ERR_TIMED_OUT},
    {LINK_REFUSED_CONNECTION, CORE_ERR_UNREACHABLE},
    {LINK_HANDSHAKE, CORE_ERR_UNREACHABLE},
    {LINK_CLOSED, CORE_ERR_UNREACHABLE},
};

enum core_err link_reason_error(enum link_reason reason)
{
    for (size_t i = 0; i < sizeof error_of / sizeof error_of[0]; i++)
        if (error_of[i].reason == reason) return error_of[i].err;
    return CORE_ERR_REFUSED;
}

enum link_reason links_reason_of(enum core_err err)
{
    for (size_t i = 0; i < sizeof error_of / sizeof error_of[0]; i++)
        if (error_of[i].err == err) return error_of[i].reason;
    return err == CORE_ERR_REFUSED ? LINK_NOT_ALLOWED : LINK_MALFORMED;
}

void links_refusal(enum link_reason reason, struct message *out)
{
    const char *why = link_reason_text(reason);
    *out = (struct message){.type = MESSAGE_REFUSED};
    out->refused.error = link_reason_error(reason);
    out->refused.why = (struct slice){(const uint8_t *)why, strlen(why)};
}

enum link_reason links_refusal_read(const struct message *m, char text[REFUSAL_TEXT])
{
    size_t size = m->refused.why.size < REFUSAL_TEXT ? m->refused.why.size : REFUSAL_TEXT - 1;
    for (size_t i = 0; i < size; i++) {
        uint8_t c = m->refused.why.data[i];
        text[i] = c >= 0x20 && c < 0x7f ? (char)c : '?';
    }
    text[size] = '\0';
    return links_reason_of(m->refused.error < CORE_ERR_COUNT ? (enum core_err)m->refused.error : CORE_ERR_REFUSED);
}

// ---- statistics ----

bool links_is_up(const struct links *links, const struct core_id *id)
{
    const struct link *link = links_find(links, id);
    return link && link->state == LINK_STATE_UP && !link->closing;
}

static enum link_way way_of(const struct link *link)
{
    if (link->lanes[LANE_BULK].state != LANE_OPEN) return LINK_WAY_NONE;
    return link->bulk.lane ? bulk_way(link->bulk.lane) : LINK_WAY_CURVE;
}

static void stats_of(const struct link *link, struct link_stats *out)
{
    *out = (struct link_stats){.id = link->id,
                               .up = link->state == LINK_STATE_UP,
                               .dialled_by_us = link->ours,
                               .bulk_open = link->lanes[LANE_BULK].state == LANE_OPEN,
                               .way = way_of(link),
                               .up_since_ms = link->up_since_ms,
                               .bulk_credit = link->credit};
    memcpy(out->address, link->address, sizeof out->address);
    for (uint32_t i = 0; i < LANE_COUNT; i++) {
        const struct lane *lane = &link->lanes[i];
        out->tx_bytes[i] = lane->tx_bytes;
        out->rx_bytes[i] = lane->rx_bytes;
        out->tx_messages[i] = lane->tx_messages;
        out->rx_messages[i] = lane->rx_messages;
        out->would_block[i] = lane->would_block;
    }
    for (uint32_t i = 0; i < LINK_CLASS_COUNT; i++) {
        out->queued_bytes[i == LINK_CLASS_BULK ? LANE_BULK : LANE_CONTROL] += link->queues[i].bytes;
        out->waiting[i] = link->queues[i].count;
        out->dropped[i] = link->dropped[i];
        out->flooded[i] = link->flooded[i];
    }
}

bool links_stats_at(const struct links *links, uint32_t index, struct link_stats *out)
{
    for (uint32_t i = 0; i < links->options.max_links; i++) {
        if (links->links[i].state == LINK_STATE_FREE || index-- > 0) continue;
        stats_of(&links->links[i], out);
        return true;
    }
    return false;
}

bool links_stats_of(const struct links *links, const struct core_id *id, struct link_stats *out)
{
    const struct link *link = links_find(links, id);
    if (link) stats_of(link, out);
    return link != NULL;
}

void links_stats(const struct links *links, struct links_stats *out)
{
    *out = links->totals;
    for (uint32_t i = 0; i < links->options.max_links; i++) {
        if (links->links[i].state == LINK_STATE_UP) out->ways[way_of(&links->links[i])]++;
        out->up += links->links[i].state == LINK_STATE_UP;
        out->dialling += links->links[i].state == LINK_STATE_DIALLING;
    }
    for (uint32_t i = 0; i < links->conn_count; i++) {
        out->strangers += links->conns[i].state == CONN_STRANGER;
        out->parked += links->conns[i].state == CONN_PARKED;
    }
}
