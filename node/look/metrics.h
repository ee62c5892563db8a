// Numbers as Prometheus reads them (text exposition format 0.0.4): families with HELP and TYPE, samples with labels.
// Pure; any thread. https://prometheus.io/docs/instrumenting/exposition_formats/
#ifndef NODE_LOOK_METRICS_H
#define NODE_LOOK_METRICS_H

#include <stdbool.h>
#include <stddef.h>

// The text grows as it is written; `failed` (no memory) leaves it incomplete. Begins zeroed; free `text`.
struct metrics {
    char *text;
    size_t size, capacity;
    bool failed;
};

struct metrics_label {
    const char *name, *value;  // a value may come from a stranger: it is escaped, and bytes that are no UTF-8 replaced
};

// Begins a family: `type` is "gauge" or "counter" (whose name ends in _total).
void metrics_family(struct metrics *m, const char *name, const char *type, const char *help);
// A sample of the family begun last.
void metrics_sample(struct metrics *m, const char *name, double value, const struct metrics_label *labels,
                    size_t count);

#define metrics_plain(m, name, value) metrics_sample((m), (name), (double)(value), NULL, 0)
#define metrics_with(m, name, value, ...)                                   \
    do {                                                                    \
        const struct metrics_label metrics_labels_[] = {__VA_ARGS__};       \
        metrics_sample((m), (name), (double)(value), metrics_labels_,       \
                       sizeof metrics_labels_ / sizeof metrics_labels_[0]); \
    } while (0)

struct node;
// Everything that this peer counts (docs/json.md, "metrics"). How many series there are is bounded by the links, the
// runs and the lanes that a peer can have, whatever the size of the mesh. `problems` as `status` counts them.
// Loop's thread.
void metrics_of_node(struct metrics *m, struct node *n, size_t problems);

#endif
