// The sockets behind mesh/upnp.h: one UDP question to the LAN, then one TCP connection to the gateway a step. Loop's
// thread; nothing blocks but `upnp_ask_release`, half a second at a stop.
#ifndef NODE_DISCOVERY_UPNP_H
#define NODE_DISCOVERY_UPNP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

#include "mesh/upnp.h"

struct upnp_ask {
    struct upnp upnp;
    int fd;  // of the step; -1: none
    bool busy, connected;
    uint64_t deadline_ms;
    char request[UPNP_REQUEST_MAX];
    size_t request_size, sent;
    uint8_t *answer;  // UPNP_ANSWER_MAX, while busy
    size_t got;
};

// Begins anew, or, where a port is held, at asking for it again.
void upnp_ask_begin(struct upnp_ask *a, uint16_t port, const uint8_t own[4], const uint8_t gateway[4], uint64_t now_ms);
bool upnp_ask_pollitem(const struct upnp_ask *a, zmq_pollitem_t *item);
// Goes on as far as it can; true once `a->upnp.step` is UPNP_DONE or UPNP_FAILED, then it is no longer busy.
bool upnp_ask_process(struct upnp_ask *a, uint64_t now_ms);
void upnp_ask_close(struct upnp_ask *a);
// Gives the port back.
void upnp_ask_release(struct upnp_ask *a);

#endif
