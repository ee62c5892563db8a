// "Can you reach me, and what does your clock say?", between linked peers (CHECK_ASK, CHECK_TELL of core/message.def).
// Who is asked answers with its clock at once, then dials every address of the asker's own, signed member record: a TCP
// connection that ends with the first bytes of a greeting. It dials nothing that the question names, and little:
// DIALBACK_ASKS at a time, four questions a second a link.
//
//   asked --> TELL clock --> connecting --answer or DIALBACK_MS--> TELL results
//
// Loop's thread; nothing blocks.
#ifndef NODE_DOCTOR_DIALBACK_H
#define NODE_DOCTOR_DIALBACK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/message.h"
#include "core/sign.h"
#include "mesh/address.h"

struct node;

enum { DIALBACK_ASKS = 8, DIALBACK_MS = 700 };

enum dialback_result {       // numbers for ever: they go over the wire
    DIALBACK_NOT_TRIED = 0,  // a loopback address of another host
    DIALBACK_ANSWERS = 1,
    DIALBACK_REFUSED = 2,
    DIALBACK_SILENT = 3,
    DIALBACK_OTHER = 4,  // something that is no peer of ours
    DIALBACK_RESULTS
};
const char *dialback_result_text(enum dialback_result r);  // "connection refused"

struct dialback_try {
    struct address address;
    int fd;  // -1: done
    bool connected;
    enum dialback_result result;
};

struct dialback_ask {
    struct core_id from;
    uint64_t nonce, began_ms;
    struct dialback_try tries[ADDRESS_LIST_MAX];
    uint32_t count;
    bool used;
};

struct dialback {
    struct dialback_ask asks[DIALBACK_ASKS];
    uint32_t open;  // asks under way
};

void dialback_asked(struct node *n, const struct core_id *from, uint64_t nonce);
// After every wait of the loop; cheap with nothing under way. `dialback_wait_ms` says when it wants to be called again.
void dialback_tick(struct node *n);
int dialback_wait_ms(const struct node *n, int otherwise_ms);
void dialback_close(struct node *n);

// One address, from any thread, blocking up to `timeout_ms`: does a peer answer there?
enum dialback_result dialback_try_now(const struct address *a, int timeout_ms);

#endif
