// HOME/settings: what `init` and `join` fixed and `up` may override. Text, one `key = value` a line. Pure but for the
// file.
#ifndef NODE_SETTINGS_H
#define NODE_SETTINGS_H

#include "mesh/address.h"
#include "node/home.h"
#include "node/node.h"

struct settings {
    char name[64];                  // this peer's
    char listen[ADDRESS_TEXT_MAX];  // "host:port"
};

CORE_MUST_USE enum core_err settings_read(const struct home *h, struct settings *out);
CORE_MUST_USE enum core_err settings_write(const struct home *h, const struct settings *s);

// "HOST:PORT", "HOST", ":PORT" or "PORT"; NULL gives `fallback` (may be "").
CORE_MUST_USE enum core_err settings_listen(const char *text, const char *fallback, struct address *out);

// This machine's name made into one that is valid for a peer.
void settings_host_name(char out[64]);
// A hash that is the same for every process of this machine, and for no other (machine-id, network name space).
struct core_hash settings_host_hash(void);

// Writes the sentences of a failure.
__attribute__((format(printf, 3, 4))) void node_failure_set(struct node_failure *why, const char *remedy,
                                                            const char *format, ...);

#endif
