#include "mesh/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/check.h"

// What may stand in a host name or a literal IPv4 address; '*' alone means every address.
static bool host_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_';
}

static bool host_valid(const char *host, bool v6)
{
    if (v6) return inet_pton(AF_INET6, host, &(struct in6_addr){0}) == 1;
    if (strcmp(host, "*") == 0) return true;
    if (!host[0] || host[0] == '-' || host[0] == '.') return false;
    for (const char *c = host; *c; c++)
        if (!host_byte(*c)) return false;
    return true;
}

static bool port_parse(const char *text, uint16_t *out)
{
    uint32_t port = 0;
    size_t digits = strlen(text);
    if (digits == 0 || digits > 5) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        port = port * 10 + (uint32_t)(*text - '0');
    }
    *out = (uint16_t)port;
    return port <= 65535;
}

enum core_err address_parse(const char *text, struct address *out)
{
    *out = (struct address){.port = ADDRESS_DEFAULT_PORT};
    const char *host = text, *end;
    if (text[0] == '[') {
        host = text + 1;
        end = strchr(host, ']');
        if (!end || (end[1] != ':' && end[1] != '\0')) return CORE_ERR_MALFORMED;
        out->v6 = true;
        if (end[1] == ':' && !port_parse(end + 2, &out->port)) return CORE_ERR_MALFORMED;
    } else {
        end = strrchr(text, ':');
        if (end && !port_parse(end + 1, &out->port)) return CORE_ERR_MALFORMED;
        if (!end) end = text + strlen(text);
    }
    size_t length = (size_t)(end - host);
    if (length == 0 || length > ADDRESS_HOST_MAX) return CORE_ERR_MALFORMED;
    memcpy(out->host, host, length);
    return host_valid(out->host, out->v6) ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

void address_format(const struct address *a, char out[ADDRESS_TEXT_MAX])
{
    snprintf(out, ADDRESS_TEXT_MAX, a->v6 ? "[%s]:%u" : "%s:%u", a->host, a->port);
}

bool address_equal(const struct address *a, const struct address *b)
{
    return a->port == b->port && a->v6 == b->v6 && strcasecmp(a->host, b->host) == 0;
}

bool address_is_loopback(const struct address *a)
{
    struct in_addr v4;
    if (a->v6) return strcmp(a->host, "::1") == 0;
    if (strcasecmp(a->host, "localhost") == 0) return true;
    return inet_pton(AF_INET, a->host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

bool address_is_any(const struct address *a)
{
    return a->v6 ? strcmp(a->host, "::") == 0 : strcmp(a->host, "0.0.0.0") == 0 || strcmp(a->host, "*") == 0;
}

enum core_err address_list_add(struct address_list *list, const struct address *a)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (address_equal(&list->items[i], a)) return CORE_ERR_OK;
    if (list->count == ADDRESS_LIST_MAX) return CORE_ERR_LIMIT;
    list->items[list->count++] = *a;
    return CORE_ERR_OK;
}

size_t address_list_encode(const struct address_list *list, uint8_t out[ADDRESS_LIST_BYTES])
{
    struct writer w = writer_over(out, ADDRESS_LIST_BYTES);
    write_u8(&w, (uint8_t)list->count);
    for (uint32_t i = 0; i < list->count; i++) {
        char text[ADDRESS_TEXT_MAX];
        address_format(&list->items[i], text);
        size_t length = strlen(text);
        write_u8(&w, (uint8_t)length);
        write_bytes(&w, text, length);
    }
    check(!w.overflowed);
    return w.size;
}

enum core_err address_list_decode(struct slice bytes, struct address_list *out)
{
    *out = (struct address_list){0};
    struct reader r = reader_over(bytes.data, bytes.size);
    uint32_t count = read_u8(&r);
    if (count > ADDRESS_LIST_MAX) return CORE_ERR_MALFORMED;
    for (uint32_t i = 0; i < count; i++) {
        char text[ADDRESS_TEXT_MAX] = {0};
        uint32_t length = read_u8(&r);
        if (length >= ADDRESS_TEXT_MAX) return CORE_ERR_MALFORMED;
        read_bytes(&r, text, length);
        if (r.failed || strlen(text) != length) return CORE_ERR_MALFORMED;
        struct address a;
        if (address_parse(text, &a) || a.port == 0 || address_is_any(&a)) return CORE_ERR_MALFORMED;
        out->items[out->count++] = a;
    }
    return reader_finished(&r) ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

// The literal of an interface's address; false for what a peer cannot use (loopback, link-local, another family).
static bool usable(const struct ifaddrs *entry, struct address *out)
{
    if (!entry->ifa_addr || !(entry->ifa_flags & IFF_UP) || (entry->ifa_flags & IFF_LOOPBACK)) return false;
    if (entry->ifa_addr->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, entry->ifa_addr, sizeof v4);
        if (ntohl(v4.sin_addr.s_addr) >> 16 == 0xa9fe) return false;  // 169.254.0.0/16
        return inet_ntop(AF_INET, &v4.sin_addr, out->host, sizeof out->host) != NULL;
    }
    if (entry->ifa_addr->sa_family != AF_INET6) return false;
    struct sockaddr_in6 v6;
    memcpy(&v6, entry->ifa_addr, sizeof v6);
    if (IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr)) return false;
    out->v6 = true;
    return inet_ntop(AF_INET6, &v6.sin6_addr, out->host, sizeof out->host) != NULL;
}

enum core_err address_list_local(struct address_list *list, uint16_t port)
{
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0) return core_error_from_errno(errno);
    for (const struct ifaddrs *entry = all; entry; entry = entry->ifa_next) {
        struct address a = {.port = port};
        // One place stays free for loopback, which peers of this host take.
        if (list->count + 1 < ADDRESS_LIST_MAX && usable(entry, &a)) (void)!address_list_add(list, &a);
    }
    freeifaddrs(all);
    return address_list_add(list, &(struct address){.host = "127.0.0.1", .port = port});
}
