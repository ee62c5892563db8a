// `up --http PORT`: the live page and what lies behind it, on 127.0.0.1 and for reading only. docs/json.md, "HTTP".
//
// libmicrohttpd (node/look/http_library.h) parses; its epoll descriptor is one more thing that the loop waits for, and
// all its callbacks run inside http_process: no other thread, no lock. Requests are answered from views
// (node/look/http_views.h), and a stream sends each view that has changed, so that neither can touch the protocol, and
// a slow reader costs one text.
//
//   request  HEADERS -> refused (Host, method, path) | answered | SUSPENDED until its view is made -> answered
//   stream   SENDING a text -> the next view or event that it has not sent | SUSPENDED until there is one
//
// At most HTTP_CONNECTIONS are open, of which HTTP_STREAMS may be streams: one more is told 503. Loop's thread.
#ifndef NODE_LOOK_HTTP_H
#define NODE_LOOK_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/event.h"

struct http;
struct node;
struct node_failure;
struct zmq_pollitem_t;

enum { HTTP_CONNECTIONS = 128, HTTP_STREAMS = 64 };

// Listens; port 0 takes any that is free. CORE_ERR_IN_USE, CORE_ERR_NOT_FOUND without libmicrohttpd, explained in
// `why`. From now on the node's events go through here, to be shown.
CORE_MUST_USE enum core_err http_open(struct http **out, struct node *n, uint16_t port, struct node_failure *why);
// These take NULL where nobody asked for a page.
void http_close(struct http *h);
uint16_t http_port(const struct http *h);  // 0 for none
uint32_t http_streams(const struct http *h);
size_t http_pollitems(const struct http *h, struct zmq_pollitem_t *items);  // at most one
void http_process(struct http *h, bool readable);
uint64_t http_wait_ms(const struct http *h);

#endif
