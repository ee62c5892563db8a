// What this machine is and has, as JSON (docs/json.md, hw): told by the daemon, or found out without one.
#ifndef NODE_COMPUTE_HW_H
#define NODE_COMPUTE_HW_H

#include <jansson.h>
#include <stdbool.h>

#include "node/node.h"

struct node;
struct sched_topology;

// Without a daemon: reads the topology, opens every device (slow), and, with `measure`, times each (a second or so);
// else the rates are those that the home keeps. Blocks; CORE_ERR_IO where the machine can't be read.
CORE_MUST_USE enum core_err node_hw(const char *home, bool measure, json_t **out, struct node_failure *why);
// What the machine described in the file at `path` (hwloc's XML) is, and what each of `peers` on it would use; its GPUs
// are taken to work. USAGE for a number of peers that no machine has; the file's errors (sched_topology_open_file).
CORE_MUST_USE enum core_err node_hw_plan(const char *path, uint64_t peers, json_t **out, struct node_failure *why);

// ---- within node/ ----
json_t *hw_machine_json(const struct sched_topology *t);
// The devices that were found, and what this peer makes of them.
json_t *hw_devices_json(const struct node *n);
json_t *hw_lanes_json(struct node *n);
json_t *hw_peer_json(struct node *n);

#endif
