#include "mesh/lan_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READS_A_CALL = 16 };  // what isn't for a group is passed over, but not for ever

// ---- interfaces ----

static struct lan_interface *interface_of(struct lan_interfaces *all, const char *name)
{
    unsigned index = if_nametoindex(name);
    if (index == 0) return NULL;
    for (uint32_t i = 0; i < all->count; i++)
        if (all->items[i].index == index) return &all->items[i];
    if (all->count == LAN_INTERFACES_MAX) return NULL;
    struct lan_interface *made = &all->items[all->count++];
    *made = (struct lan_interface){.index = index};
    snprintf(made->name, sizeof made->name, "%.15s", name);
    return made;
}

static bool literal(const struct sockaddr *from, struct address *out)
{
    *out = (struct address){.v6 = from->sa_family == AF_INET6};
    if (from->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, from, sizeof v4);
        if (ntohl(v4.sin_addr.s_addr) >> 16 == 0xa9fe) return false;  // 169.254.0.0/16
        return inet_ntop(AF_INET, &v4.sin_addr, out->host, sizeof out->host) != NULL;
    }
    struct sockaddr_in6 v6;
    memcpy(&v6, from, sizeof v6);
    return !IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr) &&
           inet_ntop(AF_INET6, &v6.sin6_addr, out->host, sizeof out->host) != NULL;
}

enum core_err lan_interfaces_read(struct lan_interfaces *out)
{
    memset(out, 0, sizeof *out);  // compared as bytes
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0) return core_error_from_errno(errno);
    for (const struct ifaddrs *e = all; e; e = e->ifa_next) {
        const unsigned wanted = IFF_UP | IFF_RUNNING | IFF_MULTICAST;
        if (!e->ifa_addr || (e->ifa_flags & wanted) != wanted || (e->ifa_flags & IFF_LOOPBACK)) continue;
        if (e->ifa_addr->sa_family != AF_INET && e->ifa_addr->sa_family != AF_INET6) continue;
        struct lan_interface *i = interface_of(out, e->ifa_name);
        if (i && i->count < LAN_ADDRESSES_MAX && literal(e->ifa_addr, &i->addresses[i->count])) i->count++;
    }
    freeifaddrs(all);
    return CORE_ERR_OK;
}

bool lan_interfaces_equal(const struct lan_interfaces *a, const struct lan_interfaces *b)
{
    if (a->count != b->count) return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct lan_interface *x = &a->items[i], *y = &b->items[i];
        if (x->index != y->index || x->count != y->count) return false;
        for (uint32_t k = 0; k < x->count; k++)
            if (!address_equal(&x->addresses[k], &y->addresses[k])) return false;
    }
    return true;
}

// ---- sockets ----

static bool set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

// Several peers of a machine share the port: each gets a copy of what comes to the group.
static int open_family(int family)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(LAN_PORT)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(LAN_PORT)};
    bool right = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (family == AF_INET) {
        right = right && inet_pton(AF_INET, LAN_GROUP_4, &v4.sin_addr) == 1 &&
                set_int(fd, IPPROTO_IP, IP_MULTICAST_TTL, 1) && set_int(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0) &&
                bind(fd, (const struct sockaddr *)&v4, sizeof v4) == 0;
    } else {
        // Bound to no address: to a link-scope group one could be bound on a single interface only. So `receive` looks
        // where a datagram was sent to.
        right = right && set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) &&
                set_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1) && set_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0) &&
                set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
                bind(fd, (const struct sockaddr *)&v6, sizeof v6) == 0;
    }
    if (right) return fd;
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

enum core_err lan_socket_open(struct lan_socket *s)
{
    *s = (struct lan_socket){.fds = {-1, -1}};
    s->fds[0] = open_family(AF_INET);
    int number = errno;
    s->fds[1] = open_family(AF_INET6);
    if (s->fds[0] >= 0 || s->fds[1] >= 0) return CORE_ERR_OK;
    return number == EADDRINUSE ? CORE_ERR_IN_USE : CORE_ERR_IO;
}

void lan_socket_close(struct lan_socket *s)
{
    for (int f = 0; f < LAN_FAMILIES; f++) {
        if (s->fds[f] >= 0) close(s->fds[f]);
        s->fds[f] = -1;
    }
}

static bool join(int fd, int family, unsigned index)
{
    if (family == 0) {
        struct ip_mreqn want = {.imr_ifindex = (int)index};
        if (inet_pton(AF_INET, LAN_GROUP_4, &want.imr_multiaddr) != 1) return false;
        return setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &want, sizeof want) == 0 || errno == EADDRINUSE;
    }
    struct ipv6_mreq want = {.ipv6mr_interface = index};
    if (inet_pton(AF_INET6, LAN_GROUP_6, &want.ipv6mr_multiaddr) != 1) return false;
    return setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &want, sizeof want) == 0 || errno == EADDRINUSE;
}

void lan_socket_join(struct lan_socket *s, const struct lan_interfaces *interfaces)
{
    for (int f = 0; f < LAN_FAMILIES; f++) {
        unsigned kept[LAN_INTERFACES_MAX] = {0};
        uint32_t count = 0;
        for (uint32_t i = 0; i < interfaces->count && s->fds[f] >= 0; i++) {
            unsigned index = interfaces->items[i].index;
            bool was = false;
            for (uint32_t k = 0; k < LAN_INTERFACES_MAX; k++) was = was || s->joined[f][k] == index;
            // One that went and came back has another index, and the system has dropped the old membership.
            if (was || join(s->fds[f], f, index)) kept[count++] = index;
        }
        memcpy(s->joined[f], kept, sizeof kept);
    }
}

bool lan_socket_send(struct lan_socket *s, int family, unsigned interface, const uint8_t bytes[LAN_SIZE])
{
    int fd = s->fds[family];
    if (fd < 0) return false;
    if (family == 0) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(LAN_PORT)};
        struct ip_mreqn from = {.imr_ifindex = (int)interface};
        return inet_pton(AF_INET, LAN_GROUP_4, &to.sin_addr) == 1 &&
               setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &from, sizeof from) == 0 &&
               sendto(fd, bytes, LAN_SIZE, MSG_NOSIGNAL, (const struct sockaddr *)&to, sizeof to) == LAN_SIZE;
    }
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(LAN_PORT), .sin6_scope_id = interface};
    return inet_pton(AF_INET6, LAN_GROUP_6, &to.sin6_addr) == 1 &&
           set_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)interface) &&
           sendto(fd, bytes, LAN_SIZE, MSG_NOSIGNAL, (const struct sockaddr *)&to, sizeof to) == LAN_SIZE;
}

// Sent to a multicast group, as far as the system says.
static bool to_group(struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        struct in6_pktinfo info;
        if (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_PKTINFO || c->cmsg_len < CMSG_LEN(sizeof info))
            continue;
        memcpy(&info, CMSG_DATA(c), sizeof info);
        return IN6_IS_ADDR_MULTICAST(&info.ipi6_addr);
    }
    return false;
}

size_t lan_socket_receive(struct lan_socket *s, uint8_t *bytes, size_t capacity)
{
    for (int f = 0; f < LAN_FAMILIES; f++) {
        for (int tries = 0; tries < READS_A_CALL && s->fds[f] >= 0; tries++) {
            _Alignas(struct cmsghdr) uint8_t control[128];
            struct iovec part = {bytes, capacity};
            struct msghdr m = {
                .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
            ssize_t got = recvmsg(s->fds[f], &m, MSG_DONTWAIT);
            if (got < 0) break;
            if (got > 0 && (f == 0 || to_group(&m))) return (size_t)got;
        }
    }
    return 0;
}
