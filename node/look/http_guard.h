// What the page's server lets in: names of this machine's loopback only, so that no web page elsewhere can lead a
// browser here under a name of its own (DNS rebinding), and the paths there are. Pure; texts come from strangers.
#ifndef NODE_LOOK_HTTP_GUARD_H
#define NODE_LOOK_HTTP_GUARD_H

#include <stdbool.h>
#include <stdint.h>

enum http_target {
    HTTP_NOTHING,
    HTTP_PAGE,
    HTTP_STATUS,
    HTTP_PEERS,
    HTTP_MAP,
    HTTP_RUNS,
    HTTP_RUN,  // /api/v1/runs/ID
    HTTP_EVENTS,
    HTTP_HEALTHZ,
    HTTP_READYZ,
    HTTP_METRICS,
};

enum { HTTP_RUN_SIZE = 65 };

// Whether a Host header (NULL for none) names this server: localhost, 127.0.0.1 or [::1], with its port.
bool http_host_allowed(const char *host, uint16_t port);
// What a path asks for; a run's id, or its beginning, in lower-case hex goes to `run`.
enum http_target http_target_of(const char *path, char run[HTTP_RUN_SIZE]);
// Whether an Accept-Encoding header (NULL for none) takes gzip.
bool http_gzip_allowed(const char *accept);

#endif
