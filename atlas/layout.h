// Where everything of a snapshot lies, for any medium: peers in their hosts, hosts in rows in their sites, sites (and
// hosts without one) at distances that tell round trips. One engine for the map, the terminal and the page; the medium
// says how large a letter is. Pure; the same snapshot and metrics give the same layout on every machine.
#ifndef ATLAS_LAYOUT_H
#define ATLAS_LAYOUT_H

#include "atlas/snapshot.h"

struct atlas_metrics {
    double letter_width, line_height;  // of a label
    double mark;                       // width that a peer's mark takes before its label
    double pad_x, pad_y;               // inside a box; pad_x between peers, too
    double gap_x, gap_y;               // between boxes
    double aspect;                     // of the picture (atlas/arrange.h)
    uint32_t label_columns;            // labels are cut to so many letters
    bool devices;                      // each peer's devices stand below it, a line each
    uint32_t collapse_above;           // with more peers, a site of more than ATLAS_FOLD is one box; 0: never
};

enum { ATLAS_FOLD = 12 };

extern const struct atlas_metrics atlas_metrics_svg;   // pixels
extern const struct atlas_metrics atlas_metrics_text;  // columns and lines of a terminal

struct atlas_box {
    double x, y, width, height;  // upper left corner
    uint32_t first, count;       // its peers: a range of the snapshot's
    uint32_t first_host, hosts;  // a site's hosts: a range of the layout's
    bool drawn;                  // false: holds one peer or has no name, it is only there to hold
    bool folded;                 // its peers are not drawn one by one
};

struct atlas_place {
    double x, y;   // centre of a peer's mark; of its site's box when that is folded
    double width;  // mark and label
    double height;
};

struct atlas_layout {
    double width, height;
    struct atlas_place *peers;  // as the snapshot's
    struct atlas_box *hosts;
    uint32_t host_count;
    struct atlas_box *sites;
    uint32_t site_count;
    bool devices;  // as the metrics say
};

// `s` must be settled. CORE_ERR_NO_MEMORY. Free the result in any case.
CORE_MUST_USE enum core_err atlas_layout_make(const struct atlas_snapshot *s, const struct atlas_metrics *m,
                                              struct atlas_layout *out);
void atlas_layout_free(struct atlas_layout *l);
// The place in `sites` of the one that holds peer `peer`.
uint32_t atlas_layout_site(const struct atlas_layout *l, uint32_t peer);

// All links between two sites as one: for pictures of many peers.
struct atlas_bundle {
    uint32_t a, b;  // sites, a < b
    uint32_t links;
    uint64_t bytes_s;  // of all of them
    uint64_t rtt_us;   // the least measured, 0: none
};

// Fills `out` (room for as many as there are links) in their order; returns how many. Links within a site are none.
uint32_t atlas_layout_bundles(const struct atlas_snapshot *s, const struct atlas_layout *l, struct atlas_bundle *out);

#endif
