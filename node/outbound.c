#include "node/outbound.h"

#include <stdlib.h>

#include "node/daemon.h"

enum { DIAL_AGAIN_MS = 1000 };

static struct blob *bulk_of(struct node *n, const struct message *m)
{
    struct blob_key key;
    if (blob_key_of_data(&key, &m->data)) return NULL;
    return blobs_find(&n->blobs, &key);
}

static enum core_err send_linked(struct node *n, const struct core_id *to, const struct message *m)
{
    if (m->type != MESSAGE_DATA || m->bulk.size) return links_send(n->links, to, m);
    struct blob *blob = bulk_of(n, m);
    if (!blob) return CORE_ERR_OK;  // dropped meanwhile: nobody needs it any more
    struct message full = *m;
    full.bulk = (struct slice){blob->data, blob->size};
    return links_send_buffer(n->links, to, &full, blob->buffer);
}

static void send_now(struct node *n, const struct core_id *to, const struct message *m)
{
    enum core_err err = send_linked(n, to, m);
    if (err && err != CORE_ERR_UNREACHABLE)
        event_emit(&n->events, "link.not_sent", EV_ID("peer", to), EV_TEXT("type", message_info(m->type)->name),
                   EV_TEXT("why", core_error_name(err)));
}

static size_t views_size(const struct message *m)
{
    const struct message_info *info = message_info(m->type);
    size_t size = m->bulk.size + 64;
    for (uint32_t i = 0; i < info->count; i++) {
        if (info->fields[i].kind != MESSAGE_BYTES) continue;
        size += ((const struct slice *)(const void *)((const uint8_t *)m + info->fields[i].offset))->size + 16;
    }
    return size;
}

static void free_message(struct outbound *o, uint32_t index)
{
    struct outbound_message *item = o->items[index];
    o->bytes -= item->arena.size;
    arena_close(&item->arena);
    free(item);
    for (uint32_t i = index; i + 1 < o->count; i++) o->items[i] = o->items[i + 1];
    o->count--;
}

static bool failed_lately(const struct node *n, const struct core_id *peer)
{
    for (int i = 0; i < OUTBOUND_FAILURES; i++)
        if (n->outbound.failures[i].at_ms && id_equal(&n->outbound.failures[i].id, peer) &&
            n->now_ms < n->outbound.failures[i].at_ms + DIAL_AGAIN_MS)
            return true;
    return false;
}

static void keep(struct node *n, const struct core_id *to, const struct message *m)
{
    struct outbound *o = &n->outbound;
    size_t size = views_size(m);
    if (o->count == OUTBOUND_MAX || o->bytes + size > OUTBOUND_BYTES) {
        n->dropped.outbound++;
        return;
    }
    struct outbound_message *item = calloc(1, sizeof *item);
    if (!item || arena_open(&item->arena, size)) {
        free(item);
        return;
    }
    item->to = *to;
    item->since_ms = n->now_ms;
    if (!message_copy(&item->arena, &item->message, m)) {
        arena_close(&item->arena);
        free(item);
        return;
    }
    o->bytes += item->arena.size;
    o->items[o->count++] = item;
}

void outbound_send(struct node *n, const struct core_id *to, const struct message *m)
{
    struct node_link *link = node_link_find(n, to);
    if (link && m->type >= MESSAGE_DATA) node_link_works(n, link);
    if (links_is_up(n->links, to)) {
        send_now(n, to, m);
        return;
    }
    if (failed_lately(n, to)) return;
    if (outbound_dial(n, to, (struct slice){0})) keep(n, to, m);
}

void outbound_link_up(struct node *n, const struct core_id *peer)
{
    struct outbound *o = &n->outbound;
    for (uint32_t i = 0; i < o->count;) {
        if (!id_equal(&o->items[i]->to, peer)) {
            i++;
            continue;
        }
        send_now(n, peer, &o->items[i]->message);
        free_message(o, i);
    }
}

void outbound_dial_failed(struct node *n, const struct core_id *peer)
{
    struct outbound *o = &n->outbound;
    o->failures[o->failure_next].id = *peer;
    o->failures[o->failure_next].at_ms = n->now_ms ? n->now_ms : 1;
    o->failure_next = (o->failure_next + 1) % OUTBOUND_FAILURES;
    for (uint32_t i = 0; i < o->count;)
        if (id_equal(&o->items[i]->to, peer))
            free_message(o, i);
        else
            i++;
}

void outbound_tick(struct node *n)
{
    struct outbound *o = &n->outbound;
    for (uint32_t i = 0; i < o->count;)
        if (n->now_ms >= o->items[i]->since_ms + OUTBOUND_MS)
            free_message(o, i);
        else
            i++;
}

void outbound_close(struct outbound *o)
{
    while (o->count) free_message(o, o->count - 1);
}

// Peers of this machine are reached by loopback first, those of this LAN where they were heard; nobody else's loopback
// is any use.
static size_t order_addresses(const struct node *n, const struct core_id *peer, struct slice addresses, bool same_host,
                              uint8_t out[ADDRESS_LIST_BYTES])
{
    struct address_list all, list = {0};
    if (address_list_decode(addresses, &all)) return 0;
    discovery_prefer(n, peer, &all);
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < all.count; i++) {
            bool loopback = address_is_loopback(&all.items[i]);
            if (loopback != (pass == 0) || (loopback && !same_host && all.count > 1)) continue;
            if (address_list_add(&list, &all.items[i])) break;
        }
    }
    return list.count ? address_list_encode(&list, out) : 0;
}

bool outbound_dial(struct node *n, const struct core_id *peer, struct slice addresses)
{
    struct gossip_member member;
    bool known = gossip_member_find(peer_gossip(n->peer), peer, &member);
    if (addresses.size == 0 && known) addresses = member.addresses;
    uint8_t ordered[ADDRESS_LIST_BYTES];
    bool same_host = !known || hash_equal(&member.host, &n->host);
    size_t size = order_addresses(n, peer, addresses, same_host, ordered);
    if (size == 0) return false;
    enum core_err err = links_dial(n->links, peer, (struct slice){ordered, size});
    return err == CORE_ERR_OK || err == CORE_ERR_EXISTS;
}
