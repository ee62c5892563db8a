#include "node/look/http_guard.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

bool http_host_allowed(const char *host, uint16_t port)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    char text[32];
    for (size_t i = 0; host && i < sizeof names / sizeof *names; i++) {
        snprintf(text, sizeof text, "%s:%u", names[i], port);
        if (strcasecmp(host, text) == 0) return true;
        if (port == 80 && strcasecmp(host, names[i]) == 0) return true;  // browsers leave it out
    }
    return false;
}

static bool take_run(const char *text, char run[HTTP_RUN_SIZE])
{
    const size_t size = strlen(text);
    if (size < 4 || size >= HTTP_RUN_SIZE || strspn(text, "0123456789abcdef") != size) return false;
    memcpy(run, text, size + 1);
    return true;
}

enum http_target http_target_of(const char *path, char run[HTTP_RUN_SIZE])
{
    static const struct {
        const char *path;
        enum http_target target;
    } known[] = {
        {"/", HTTP_PAGE},           {"/api/v1/status", HTTP_STATUS}, {"/api/v1/peers", HTTP_PEERS},
        {"/api/v1/map", HTTP_MAP},  {"/api/v1/runs", HTTP_RUNS},     {"/api/v1/events", HTTP_EVENTS},
        {"/healthz", HTTP_HEALTHZ}, {"/readyz", HTTP_READYZ},        {"/metrics", HTTP_METRICS},
    };
    static const char runs[] = "/api/v1/runs/";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(path, known[i].path) == 0) return known[i].target;
    if (strncmp(path, runs, sizeof runs - 1) == 0 && take_run(path + sizeof runs - 1, run)) return HTTP_RUN;
    return HTTP_NOTHING;
}

bool http_gzip_allowed(const char *accept)
{
    const char *at = accept ? strstr(accept, "gzip") : NULL;
    if (!at) return false;
    at += strlen("gzip");
    at += strspn(at, " ");
    if (*at != ';') return true;
    at += 1 + strspn(at + 1, " ");
    // "gzip;q=0" refuses it, "gzip;q=0.5" doesn't.
    return strncmp(at, "q=0", 3) != 0 || strspn(at + 3, ".0") != strcspn(at + 3, ", ;");
}
