#include "mesh/upnp.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/check.h"

enum { CONFLICT = 718, PERMANENT_ONLY = 725 };  // WANIPConnection:1, 2.4.16

static const char *const services[] = {"urn:schemas-upnp-org:service:WANIPConnection:1",
                                       "urn:schemas-upnp-org:service:WANIPConnection:2",
                                       "urn:schemas-upnp-org:service:WANPPPConnection:1"};

void upnp_start(struct upnp *u, uint16_t port, const uint8_t own[4], const uint8_t gateway[4])
{
    *u = (struct upnp){.port = port, .external_port = port, .lease_s = UPNP_LEASE_S};
    memcpy(u->own, own, sizeof u->own);
    memcpy(u->gateway, gateway, sizeof u->gateway);
}

void upnp_failed(struct upnp *u, const char *why)
{
    u->step = UPNP_FAILED;
    snprintf(u->why, sizeof u->why, "%s", why);
}

static size_t sized(int length)
{
    check(length > 0 && length < UPNP_REQUEST_MAX);
    return (size_t)length;
}

static const char *dotted(const uint8_t address[4], char out[INET_ADDRSTRLEN])
{
    check(inet_ntop(AF_INET, address, out, INET_ADDRSTRLEN));
    return out;
}

// ---- requests ----

size_t upnp_search(char out[UPNP_REQUEST_MAX])
{
    return sized(snprintf(out, UPNP_REQUEST_MAX,
                          "M-SEARCH * HTTP/1.1\r\nHOST: %s:%d\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n"
                          "ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n",
                          UPNP_SEARCH_GROUP, UPNP_SEARCH_PORT));
}

// A call of the service. HTTP/1.0: the answer then ends with the connection, in one piece.
static size_t call(const struct upnp *u, const char *action, const char *arguments, char out[UPNP_REQUEST_MAX])
{
    char body[UPNP_REQUEST_MAX / 2], host[INET_ADDRSTRLEN];
    size_t size = sized(snprintf(body, sizeof body,
                                 "<?xml version=\"1.0\"?>\r\n<s:Envelope "
                                 "xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" "
                                 "s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>"
                                 "<u:%s xmlns:u=\"%s\">%s</u:%s></s:Body></s:Envelope>\r\n",
                                 action, u->service, arguments, action));
    check(size < sizeof body);
    return sized(snprintf(out, UPNP_REQUEST_MAX,
                          "POST %s HTTP/1.0\r\nHost: %s:%u\r\nContent-Type: text/xml; charset=\"utf-8\"\r\n"
                          "SOAPAction: \"%s#%s\"\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                          u->control, dotted(u->gateway, host), u->http_port, u->service, action, size, body));
}

size_t upnp_request(const struct upnp *u, char out[UPNP_REQUEST_MAX])
{
    char host[INET_ADDRSTRLEN], arguments[512];
    if (u->step == UPNP_DESCRIBE)
        return sized(snprintf(out, UPNP_REQUEST_MAX, "GET %s HTTP/1.0\r\nHost: %s:%u\r\nConnection: close\r\n\r\n",
                              u->path, dotted(u->gateway, host), u->http_port));
    if (u->step == UPNP_ADDRESS) return call(u, "GetExternalIPAddress", "", out);
    check(u->step == UPNP_MAP);
    snprintf(arguments, sizeof arguments,
             "<NewRemoteHost></NewRemoteHost><NewExternalPort>%u</NewExternalPort><NewProtocol>TCP</NewProtocol>"
             "<NewInternalPort>%u</NewInternalPort><NewInternalClient>%s</NewInternalClient><NewEnabled>1</NewEnabled>"
             "<NewPortMappingDescription>mycel</NewPortMappingDescription><NewLeaseDuration>%u</NewLeaseDuration>",
             u->external_port, u->port, dotted(u->own, host), u->lease_s);
    return call(u, "AddPortMapping", arguments, out);
}

size_t upnp_release(const struct upnp *u, char out[UPNP_REQUEST_MAX])
{
    char arguments[256];
    check(u->service);
    snprintf(arguments, sizeof arguments,
             "<NewRemoteHost></NewRemoteHost><NewExternalPort>%u</NewExternalPort><NewProtocol>TCP</NewProtocol>",
             u->external_port);
    return call(u, "DeletePortMapping", arguments, out);
}

// ---- texts of strangers ----

// The answer as a string of its own: NUL bytes end it. NULL without memory or where it is too large.
static char *text_of(struct slice s)
{
    char *text = s.size <= UPNP_ANSWER_MAX ? malloc(s.size + 1) : NULL;
    if (!text) return NULL;
    if (s.size) memcpy(text, s.data, s.size);
    text[s.size] = '\0';
    return text;
}

static bool path_take(const char *from, size_t size, char out[UPNP_PATH_MAX])
{
    if (size == 0 || size + 2 > UPNP_PATH_MAX) return false;
    for (size_t i = 0; i < size; i++)
        if (from[i] <= ' ' || from[i] >= 0x7f || strchr("\"<>\\^`{|}", from[i])) return false;
    snprintf(out, UPNP_PATH_MAX, "%s%.*s", from[0] == '/' ? "" : "/", (int)size, from);
    return true;
}

// "http://GATEWAY:PORT/path" of `size` characters; the host must be the gateway.
static bool url_take(const struct upnp *u, const char *url, size_t size, uint16_t *port, char path[UPNP_PATH_MAX])
{
    char host[INET_ADDRSTRLEN];
    const char *at = url, *end = url + size;
    size_t length = strlen(dotted(u->gateway, host));
    if (size < 7 || strncasecmp(at, "http://", 7) != 0) return false;
    at += 7;
    if ((size_t)(end - at) < length || strncmp(at, host, length) != 0) return false;
    at += length;
    unsigned long number = 80;
    if (at < end && *at == ':') {
        char digits[6] = {0};
        size_t count = strspn(at + 1, "0123456789");
        if (count == 0 || count >= sizeof digits || at + 1 + count > end) return false;
        memcpy(digits, at + 1, count);
        number = strtoul(digits, NULL, 10);
        at += 1 + count;
    }
    if (number == 0 || number > UINT16_MAX || (at < end && *at != '/')) return false;
    *port = (uint16_t)number;
    return at == end ? path_take("/", 1, path) : path_take(at, (size_t)(end - at), path);
}

// What stands between <name> and </name> from `at` on and before `end`; NULL for nothing.
static const char *element(const char *at, const char *end, const char *name, size_t *size)
{
    char open[64], close[64];
    snprintf(open, sizeof open, "<%s>", name);
    snprintf(close, sizeof close, "</%s>", name);
    const char *begin = strstr(at, open);
    if (!begin || begin >= end) return NULL;
    begin += strlen(open);
    const char *over = strstr(begin, close);
    if (!over || over > end) return NULL;
    while (begin < over && strchr(" \t\r\n", *begin)) begin++;
    while (over > begin && strchr(" \t\r\n", over[-1])) over--;
    *size = (size_t)(over - begin);
    return begin;
}

// ---- answers ----

enum core_err upnp_found(struct upnp *u, struct slice datagram)
{
    char *text = u->step == UPNP_SEARCH ? text_of(datagram) : NULL;
    enum core_err err = CORE_ERR_MALFORMED;
    for (char *line = text && strncmp(text, "HTTP/1.1 200", 12) == 0 ? strchr(text, '\n') : NULL; line;
         line = strchr(line + 1, '\n')) {
        if (strncasecmp(line + 1, "location:", 9) != 0) continue;
        const char *url = line + 10 + strspn(line + 10, " \t");
        if (url_take(u, url, strcspn(url, " \t\r\n"), &u->http_port, u->path)) {
            u->step = UPNP_DESCRIBE;
            err = CORE_ERR_OK;
        }
        break;
    }
    free(text);
    return err;
}

static bool take_control(struct upnp *u, const char *url, size_t size)
{
    uint16_t port;
    if (size < 7 || strncasecmp(url, "http://", 7) != 0) return path_take(url, size, u->control);
    return url_take(u, url, size, &port, u->control) && port == u->http_port;
}

static void take_description(struct upnp *u, const char *body)
{
    for (const char *at = strstr(body, "<service>"); at; at = strstr(at + 1, "<service>")) {
        const char *end = strstr(at, "</service>");
        size_t type_size, url_size;
        const char *type = end ? element(at, end, "serviceType", &type_size) : NULL;
        const char *url = end ? element(at, end, "controlURL", &url_size) : NULL;
        for (size_t i = 0; type && url && i < sizeof services / sizeof *services; i++) {
            if (type_size != strlen(services[i]) || strncmp(type, services[i], type_size) != 0) continue;
            if (!take_control(u, url, url_size)) continue;
            u->service = services[i];
            u->step = UPNP_ADDRESS;
            return;
        }
    }
    upnp_failed(u, "the gateway's UPnP description names no WAN connection");
}

static void take_address(struct upnp *u, const char *body)
{
    size_t size;
    char text[INET_ADDRSTRLEN] = "";
    const char *address = element(body, body + strlen(body), "NewExternalIPAddress", &size);
    if (address && size < sizeof text) memcpy(text, address, size);
    if (inet_pton(AF_INET, text, u->external) == 1)
        u->step = UPNP_MAP;
    else
        upnp_failed(u, "the gateway tells no outer address by UPnP");
}

static void take_mapping(struct upnp *u, const char *body, long status)
{
    size_t size;
    const char *error = element(body, body + strlen(body), "errorCode", &size);
    unsigned long code = error ? strtoul(error, NULL, 10) : 0;
    if (status == 200) {
        u->step = UPNP_DONE;
    } else if (code == CONFLICT && ++u->tries < UPNP_TRIES) {
        u->external_port = (uint16_t)(20000 + (u->external_port * 7u + 1) % 40000);
    } else if (code == PERMANENT_ONLY && u->lease_s && ++u->tries < UPNP_TRIES) {
        u->lease_s = 0;
    } else {
        char why[sizeof u->why];
        snprintf(why, sizeof why, "the gateway refuses (upnp %lu)", code ? code % 100000 : (unsigned long)status);
        upnp_failed(u, why);
    }
}

void upnp_answer(struct upnp *u, struct slice answer)
{
    char *text = text_of(answer);
    char *body = text ? strstr(text, "\r\n\r\n") : NULL;
    bool http = body && strncmp(text, "HTTP/1.", 7) == 0 && text[7] && text[8] == ' ';
    long status = http ? strtol(text + 9, NULL, 10) : 0;
    if (status < 100 || status > 599)
        upnp_failed(u, "the gateway's UPnP answer is no HTTP");
    else if (u->step == UPNP_MAP)
        take_mapping(u, body, status);
    else if (status != 200)
        upnp_failed(u, "the gateway refuses to describe itself by UPnP");
    else if (u->step == UPNP_DESCRIBE)
        take_description(u, body);
    else if (u->step == UPNP_ADDRESS)
        take_address(u, body);
    free(text);
}
