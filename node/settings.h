// HOME/settings: what `init` and `join` fixed and `up` may override. Text, one `key = value` a line. Pure but for the
// file.
#ifndef NODE_SETTINGS_H
#define NODE_SETTINGS_H

#include "gossip/gossip.h"
#include "mesh/address.h"
#include "node/home.h"
#include "node/node.h"

struct settings {
    char name[64];                  // this peer's
    char listen[ADDRESS_TEXT_MAX];  // "host:port"
    char site[64];                  // where it stands, such as a data centre's name; "" for nowhere in particular
};

CORE_MUST_USE enum core_err settings_read(const struct home *h, struct settings *out);
CORE_MUST_USE enum core_err settings_write(const struct home *h, const struct settings *s);

// "HOST:PORT", "HOST", ":PORT" or "PORT"; NULL gives `fallback` (may be "").
CORE_MUST_USE enum core_err settings_listen(const char *text, const char *fallback, struct address *out);

// This machine's name made into one that is valid for a peer.
void settings_host_name(char out[64]);
// A hash that is the same for every process that shares this kernel's run and this network namespace, and for no other:
// that is exactly who can reach our loopback and our abstract Unix sockets. Two namespaces (containers) of one machine
// differ by the namespace's inode, two machines by the boot id, which a kernel draws at random when it starts (a
// machine id, which cloned images share, would not do). Containers that share the host's network count as the host.
struct core_hash settings_host_hash(void);
// A site's name is formed as a mesh's: letters, digits and . _ -, at most GOSSIP_SITE_MAX.
bool settings_site_valid(const char *site);

// Writes the sentences of a failure.
__attribute__((format(printf, 3, 4))) void node_failure_set(struct node_failure *why, const char *remedy,
                                                            const char *format, ...);

#endif
