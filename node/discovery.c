#include "node/discovery.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/daemon.h"

enum {
    INTERFACES_MS = 5000,
    DATAGRAMS_A_CALL = 32,
    DIALS_A_TICK = 4,
    DEAF_MS = 1000,
    ROUTES_MAX = 16384,
    UPNP_FOREVER_S = 86400,  // a mapping without end: asked for again all the same
};

// ---- the addresses that others are told ----

static enum core_err advertised(struct node *n, struct address_list *list, struct node_failure *why)
{
    for (uint32_t i = 0; i < n->options->advertise_count; i++) {
        struct address a;
        enum core_err err = settings_listen(n->options->advertise[i], "", &a);
        if (!err && a.port == 0) a.port = n->port;
        if (!err) err = address_list_add(list, &a);
        if (err) {
            node_failure_set(why, "give HOST:PORT", "'%s' is no address to advertise", n->options->advertise[i]);
            return err;
        }
    }
    return CORE_ERR_OK;
}

// The gateway's address and port for this peer.
static void mapped_address(const struct node *n, struct address_list *list)
{
    const struct portmap *p = &n->discovery.portmap;
    struct address a = {.port = p->external_port};
    if (portmap_reachable(p) && inet_ntop(AF_INET, p->external, a.host, sizeof a.host))
        (void)!address_list_add(list, &a);
}

enum core_err discovery_addresses(struct node *n, struct node_failure *why)
{
    struct address_list list = {0};
    enum core_err err = advertised(n, &list, why);
    if (err) return err;
    mapped_address(n, &list);
    if (n->options->advertise_count == 0 && !address_is_any(&n->discovery.listen)) {
        struct address a = n->discovery.listen;
        a.port = n->port;
        err = address_list_add(&list, &a);
    } else if (n->options->advertise_count == 0) {
        err = address_list_local(&list, n->port);
    }
    if (err) {
        node_failure_set(why, "give --advertise HOST:PORT", "cannot tell this machine's addresses: %s",
                         core_error_text(err));
        return err;
    }
    n->addresses = list;
    n->address_size = address_list_encode(&n->addresses, n->address_bytes);
    // A member record has room for so much; the first addresses are the ones that were advertised by hand.
    while (n->address_size > GOSSIP_ADDRESSES_MAX) {
        n->addresses.count--;
        n->address_size = address_list_encode(&n->addresses, n->address_bytes);
    }
    return CORE_ERR_OK;
}

// Tells the mesh where this peer is from now on, if that changed.
static void addresses_renew(struct node *n)
{
    uint8_t before[ADDRESS_LIST_BYTES];
    size_t size = n->address_size;
    memcpy(before, n->address_bytes, size);
    struct node_failure why;
    if (discovery_addresses(n, &why)) return;  // the old ones stay
    if (n->address_size == size && memcmp(before, n->address_bytes, size) == 0) return;
    struct slice now = {n->address_bytes, n->address_size};
    links_set_addresses(n->links, now);
    if (peer_addresses_set(n->peer, now, n->now_ms, &n->out)) return;
    char first[ADDRESS_TEXT_MAX] = "";
    if (n->addresses.count) address_format(&n->addresses.items[0], first);
    event_emit(&n->events, "addresses.changed", EV_U64("count", n->addresses.count), EV_TEXT("first", first));
    if (n->discovery.lan) lan_hurry(n->discovery.lan, n->now_ms);
}

// ---- LAN: what we say ----

static bool linked(const struct node *n)
{
    for (int i = 0; i < NODE_LINKS_MAX; i++)
        if (n->link[i].used) return true;
    return false;
}

// Of an interface's addresses those where this peer listens.
static void own_addresses(const struct node *n, const struct lan_interface *i, struct lan_announcement *a)
{
    const struct address *listen = &n->discovery.listen;
    for (uint32_t k = 0; k < i->count; k++) {
        struct address own = i->addresses[k];
        bool any = address_is_any(listen) && (!own.v6 || strcmp(listen->host, "0.0.0.0") != 0);
        if (!any && strcmp(own.host, listen->host) != 0) continue;
        own.port = n->port;
        a->addresses[a->count++] = own;
    }
}

static void announce(struct node *n)
{
    struct discovery *d = &n->discovery;
    struct gossip_member self;
    for (uint32_t i = 0; i < d->interfaces.count; i++) {
        struct lan_announcement a = {.id = n->key.id, .incarnation = n->incarnation, .time_s = node_wall_s()};
        if (gossip_member_find(peer_gossip(n->peer), &n->key.id, &self)) a.incarnation = self.incarnation;
        own_addresses(n, &d->interfaces.items[i], &a);
        for (int family = 0; family < LAN_FAMILIES && a.count > 0; family++) {
            uint8_t nonce[LAN_NONCE_SIZE], bytes[LAN_SIZE];
            random_bytes(nonce, sizeof nonce);
            a.sequence = d->lan_sequence++;
            lan_encode(&d->lan->key, &d->lan->mesh, &n->key, &a, nonce, bytes);
            if (lan_socket_send(&d->lan_socket, family, d->interfaces.items[i].index, bytes)) d->lan_sent++;
        }
    }
}

// ---- LAN: what we hear ----

// Whom we don't hold for alive, or anybody while there is no link at all.
static bool missing(struct node *n, const struct core_id *id)
{
    struct gossip_member member;
    if (links_is_up(n->links, id) || revocations_has(&n->revoked, id)) return false;
    return !gossip_member_find(peer_gossip(n->peer), id, &member) || member.state != GOSSIP_ALIVE || !linked(n);
}

// Whether what was heard is news, of somebody who is missing.
static bool worth_dialling(struct node *n, const struct lan_announcement *a)
{
    struct discovery *d = &n->discovery;
    struct gossip_member member;
    bool known = gossip_member_find(peer_gossip(n->peer), &a->id, &member);
    if (known && a->incarnation < member.incarnation) {
        d->lan->verdicts[LAN_HEARD]--;
        d->lan->verdicts[LAN_REPLAYED]++;
        lan_seen_find(d->lan, &a->id)->count = 0;
        return false;
    }
    return missing(n, &a->id) && (known || lan_unknown_due(d->lan, n->now_ms));
}

static void dial_heard(struct node *n, struct lan_seen *s)
{
    struct address_list list;
    uint8_t bytes[ADDRESS_LIST_BYTES];
    s->wanted_ms = 0;
    if (!missing(n, &s->id) || !lan_heard(n->discovery.lan, &s->id, n->now_ms, &list)) return;
    enum core_err err = links_dial(n->links, &s->id, (struct slice){bytes, address_list_encode(&list, bytes)});
    // A dial of its old addresses may be under way: again when that is over.
    if (err == CORE_ERR_EXISTS) s->wanted_ms = n->now_ms;
    if (err) return;
    char first[ADDRESS_TEXT_MAX];
    address_format(&list.items[0], first);
    n->discovery.lan_dialled++;
    event_emit(&n->events, "lan.dial", EV_ID("peer", &s->id), EV_TEXT("address", first));
}

static void want(struct node *n, struct lan_seen *s)
{
    uint64_t random;
    random_bytes(&random, sizeof random);
    s->wanted_ms = lan_dial_at(linked(n), gossip_member_count(peer_gossip(n->peer)), n->now_ms, random);
    if (s->wanted_ms <= n->now_ms) dial_heard(n, s);
}

static void hear(struct node *n)
{
    struct discovery *d = &n->discovery;
    uint8_t bytes[LAN_SIZE + 1];  // longer ones are seen to be
    struct lan_announcement a;
    for (int i = 0; i < DATAGRAMS_A_CALL; i++) {
        size_t size = lan_socket_receive(&d->lan_socket, bytes, sizeof bytes);
        if (size == 0) return;
        enum lan_verdict v = lan_receive(d->lan, (struct slice){bytes, size}, n->now_ms, node_wall_s(), &a);
        if (v == LAN_LIMITED) {  // a flood: the system may drop what comes, which costs us nothing
            d->lan_deaf_ms = n->now_ms + DEAF_MS;
            return;
        }
        if (v != LAN_HEARD) continue;
        if (worth_dialling(n, &a)) want(n, lan_seen_find(d->lan, &a.id));
    }
}

static void dial_wanted(struct node *n)
{
    uint32_t dials = 0;
    for (uint32_t i = 0; i < LAN_SEEN_MAX && dials < DIALS_A_TICK; i++) {
        struct lan_seen *s = &n->discovery.lan->seen[i];
        if (!s->wanted_ms || n->now_ms < s->wanted_ms) continue;
        dial_heard(n, s);
        dials++;
    }
}

void discovery_prefer(const struct node *n, const struct core_id *peer, struct address_list *list)
{
    struct address_list heard;
    if (!n->discovery.lan || !lan_heard(n->discovery.lan, peer, n->now_ms, &heard)) return;
    for (uint32_t i = 0; i < list->count; i++)
        if (address_list_add(&heard, &list->items[i])) break;
    *list = heard;
}

static void lan_begin(struct node *n)
{
    struct discovery *d = &n->discovery;
    struct address literal = d->listen;
    bool named = !address_is_any(&literal) &&
                 inet_pton(literal.v6 ? AF_INET6 : AF_INET, literal.host, &(struct in6_addr){0}) != 1;
    if (n->options->no_lan)
        d->lan_why = "--no-lan";
    else if (address_is_loopback(&d->listen))
        d->lan_why = "it listens on loopback only";
    else if (named)
        d->lan_why = "it listens on a name, not on an address";
    else if (!(d->lan = calloc(1, sizeof *d->lan)))
        d->lan_why = "no memory";
    if (d->lan_why) return;
    enum core_err err = lan_socket_open(&d->lan_socket);
    if (err) {
        d->lan_why = err == CORE_ERR_IN_USE ? "another program holds UDP port 6173" : "there is no UDP multicast here";
        event_emit(&n->events, "lan.off", EV_TEXT("why", d->lan_why));
        free(d->lan);
        d->lan = NULL;
        return;
    }
    lan_open(d->lan, &n->charter, &n->key.id, n->now_ms);
    lan_socket_join(&d->lan_socket, &d->interfaces);
}

static void lan_tick(struct node *n)
{
    struct discovery *d = &n->discovery;
    uint64_t random;
    bool up = linked(n);
    if (d->lan_linked && !up) lan_hurry(d->lan, n->now_ms);
    d->lan_linked = up;
    random_bytes(&random, sizeof random);
    if (lan_due(d->lan, !up, n->now_ms, random)) announce(n);
    dial_wanted(n);
}

// ---- the gateway's port ----

static void portmap_say(struct node *n)
{
    struct discovery *d = &n->discovery;
    const struct portmap *p = &d->portmap;
    if (p->state == d->portmap_told) return;
    d->portmap_told = p->state;
    char gateway[INET_ADDRSTRLEN] = "", external[INET_ADDRSTRLEN] = "";
    inet_ntop(AF_INET, d->gateway, gateway, sizeof gateway);
    inet_ntop(AF_INET, p->external, external, sizeof external);
    if (p->state == PORTMAP_MAPPED)
        event_emit(&n->events, "port_map.mapped", EV_TEXT("gateway", gateway), EV_TEXT("by", portmap_way_name(p->way)),
                   EV_TEXT("external", external), EV_U64("port", p->external_port),
                   EV_U64("reachable", portmap_reachable(p)));
    if (p->state == PORTMAP_FAILED)
        event_emit(&n->events, "port_map.failed", EV_TEXT("gateway", gateway), EV_TEXT("why", p->why));
}

// What the gateway gave or took back is told to the mesh, too.
static void portmap_follow(struct node *n)
{
    struct discovery *d = &n->discovery;
    const struct portmap *p = &d->portmap;
    uint16_t port = portmap_reachable(p) ? p->external_port : 0;
    portmap_say(n);
    if (port == d->external_port && (!port || memcmp(p->external, d->external, sizeof d->external) == 0)) return;
    d->external_port = port;
    memcpy(d->external, p->external, sizeof d->external);
    addresses_renew(n);
}

static bool read_gateway(uint8_t gateway[4])
{
    char routes[ROUTES_MAX], device[16];
    int fd = open("/proc/net/route", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, routes, sizeof routes - 1) : -1;
    if (fd >= 0) close(fd);
    routes[got > 0 ? got : 0] = '\0';
    return portmap_gateway(routes, gateway, device);
}

// A socket that speaks with the gateway alone, and our address as it sees it.
static int gateway_socket(const uint8_t gateway[4], uint8_t own[4])
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORTMAP_PORT)}, from;
    socklen_t size = sizeof from;
    memcpy(&to.sin_addr, gateway, 4);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) || getsockname(fd, (struct sockaddr *)&from, &size)) {
        close(fd);
        return -1;
    }
    memcpy(own, &from.sin_addr, 4);
    return fd;
}

// Begins anew with the gateway of now. Without one the state is FAILED, and it is looked for again.
static void portmap_begin(struct node *n)
{
    struct discovery *d = &n->discovery;
    uint8_t nonce[PORTMAP_NONCE_SIZE];
    upnp_ask_close(&d->upnp);
    if (d->portmap_fd >= 0) close(d->portmap_fd);
    bool found = read_gateway(d->gateway);
    d->portmap_fd = found ? gateway_socket(d->gateway, d->own) : -1;
    if (d->portmap_fd < 0) {
        memset(d->gateway, 0, sizeof d->gateway);
        d->portmap = (struct portmap){.state = PORTMAP_FAILED, .due_ms = n->now_ms + PORTMAP_AGAIN_MS};
        snprintf(d->portmap.why, sizeof d->portmap.why, "no gateway: this machine has no default route (IPv4)");
    } else {
        random_bytes(nonce, sizeof nonce);
        portmap_start(&d->portmap, n->port, d->own, nonce, n->now_ms);
    }
    portmap_say(n);
}

static void portmap_hear(struct node *n)
{
    struct discovery *d = &n->discovery;
    uint8_t bytes[1104];
    for (int i = 0; i < DATAGRAMS_A_CALL && d->portmap_fd >= 0; i++) {
        ssize_t got = recv(d->portmap_fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got < 0 && errno == ECONNREFUSED) portmap_unreachable(&d->portmap, n->now_ms);
        if (got < 0) break;
        if (portmap_receive(&d->portmap, (struct slice){bytes, (size_t)got}, n->now_ms))
            event_emit(&n->events, "port_map.refused", EV_U64("bytes", (uint64_t)got));
    }
    portmap_follow(n);
}

// The part of it that UPnP does.
static void upnp_work(struct node *n)
{
    struct discovery *d = &n->discovery;
    struct upnp *u = &d->upnp.upnp;
    if (!d->upnp.busy && portmap_wants_upnp(&d->portmap))
        upnp_ask_begin(&d->upnp, n->port, d->own, d->gateway, n->now_ms);
    if (!upnp_ask_process(&d->upnp, n->now_ms)) return;
    if (u->step == UPNP_DONE)
        portmap_given(&d->portmap, u->external, u->external_port, u->lease_s ? u->lease_s : UPNP_FOREVER_S, n->now_ms);
    else
        portmap_not_given(&d->portmap, u->why, n->now_ms);
    portmap_follow(n);
}

static void portmap_work(struct node *n)
{
    struct discovery *d = &n->discovery;
    uint8_t bytes[PORTMAP_REQUEST_MAX];
    if (!n->options->map_port) return;
    upnp_work(n);
    if (n->now_ms < portmap_next_ms(&d->portmap)) return;
    if (d->portmap_fd < 0) {
        portmap_begin(n);
        return;
    }
    size_t size = portmap_tick(&d->portmap, n->now_ms, bytes);
    if (size && send(d->portmap_fd, bytes, size, MSG_NOSIGNAL) < 0 && errno == ECONNREFUSED)
        portmap_unreachable(&d->portmap, n->now_ms);
    portmap_follow(n);
    upnp_work(n);
}

// ---- all of it ----

void discovery_open(struct node *n, const struct address *listen)
{
    struct discovery *d = &n->discovery;
    *d = (struct discovery){.listen = *listen,
                            .lan_socket = {.fds = {-1, -1}},
                            .portmap_fd = -1,
                            .upnp = {.fd = -1},
                            .interfaces_ms = n->now_ms + INTERFACES_MS};
    if (lan_interfaces_read(&d->interfaces)) d->interfaces.count = 0;
    lan_begin(n);
    if (n->options->map_port) portmap_begin(n);
}

void discovery_close(struct node *n)
{
    struct discovery *d = &n->discovery;
    uint8_t bytes[PORTMAP_REQUEST_MAX];
    if (!d->listen.host[0]) return;  // never opened
    bool by_upnp = d->portmap.state == PORTMAP_MAPPED && d->portmap.way == PORTMAP_UPNP;
    size_t size = portmap_release(&d->portmap, bytes);
    if (d->portmap_fd >= 0 && size) (void)!send(d->portmap_fd, bytes, size, MSG_NOSIGNAL);
    if (d->portmap_fd >= 0) close(d->portmap_fd);
    if (by_upnp) upnp_ask_release(&d->upnp);
    upnp_ask_close(&d->upnp);
    lan_socket_close(&d->lan_socket);
    free(d->lan);
    d->lan = NULL;
}

size_t discovery_pollitems(struct node *n, zmq_pollitem_t *items)
{
    const struct discovery *d = &n->discovery;
    bool deaf = n->now_ms < d->lan_deaf_ms;
    const int fds[] = {deaf ? -1 : d->lan_socket.fds[0], deaf ? -1 : d->lan_socket.fds[1], d->portmap_fd};
    size_t count = 0;
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0) items[count++] = (zmq_pollitem_t){.fd = fds[i], .events = ZMQ_POLLIN};
    if (upnp_ask_pollitem(&d->upnp, items + count)) count++;
    return count;
}

void discovery_process(struct node *n)
{
    if (n->discovery.lan && n->now_ms >= n->discovery.lan_deaf_ms) hear(n);
    if (n->discovery.portmap_fd >= 0) portmap_hear(n);
    portmap_work(n);
}

static void interfaces_tick(struct node *n)
{
    struct discovery *d = &n->discovery;
    if (n->now_ms < d->interfaces_ms) return;
    d->interfaces_ms = n->now_ms + INTERFACES_MS;
    addresses_renew(n);
    struct lan_interfaces now;
    if (lan_interfaces_read(&now) || lan_interfaces_equal(&now, &d->interfaces)) return;
    d->interfaces = now;
    if (d->lan) lan_socket_join(&d->lan_socket, &now);
    if (d->lan) lan_hurry(d->lan, n->now_ms);
    if (!n->options->map_port) return;
    portmap_begin(n);
    portmap_follow(n);
}

void discovery_tick(struct node *n)
{
    interfaces_tick(n);
    portmap_work(n);
    if (n->discovery.lan) lan_tick(n);
}

uint64_t discovery_next_ms(const struct node *n)
{
    return n->options->map_port ? portmap_next_ms(&n->discovery.portmap) : UINT64_MAX;
}

// ---- for the status ----

json_t *discovery_lan_json(const struct node *n)
{
    const struct discovery *d = &n->discovery;
    json_t *o = json_pack("{s:b,s:s,s:I,s:I,s:i}", "on", d->lan != NULL, "why", d->lan_why ? d->lan_why : "", "sent",
                          (json_int_t)d->lan_sent, "dialled", (json_int_t)d->lan_dialled, "interfaces",
                          (int)d->interfaces.count);
    for (int v = 0; v < LAN_VERDICT_COUNT; v++)
        json_object_set_new(o, lan_verdict_key((enum lan_verdict)v),
                            json_integer(d->lan ? (json_int_t)d->lan->verdicts[v] : 0));
    return o;
}

json_t *discovery_portmap_json(const struct node *n)
{
    static const char *const states[] = {"off", "asking", "mapped", "failed"};
    const struct discovery *d = &n->discovery;
    const struct portmap *p = &d->portmap;
    bool mapped = p->state == PORTMAP_MAPPED;
    char gateway[INET_ADDRSTRLEN] = "", external[INET_ADDRSTRLEN] = "", text[32] = "";
    inet_ntop(AF_INET, d->gateway, gateway, sizeof gateway);
    inet_ntop(AF_INET, p->external, external, sizeof external);
    if (mapped) snprintf(text, sizeof text, "%s:%u", external, p->external_port);
    const char *why =
        mapped && !portmap_reachable(p) ? "its outer address is private: another NAT lies beyond" : p->why;
    return json_pack("{s:s,s:s,s:s,s:s,s:b,s:i,s:I,s:s}", "state", states[p->state], "gateway",
                     d->portmap_fd >= 0 ? gateway : "", "by", mapped ? portmap_way_name(p->way) : "", "external", text,
                     "reachable", portmap_reachable(p), "lifetime_s", mapped ? (int)p->lifetime_s : 0, "refused",
                     (json_int_t)p->refused, "why", why);
}
