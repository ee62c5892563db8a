// The map for a terminal: boxes of sites and hosts, roughly where they lie, as wide as the terminal and as high as it
// takes; below it the ways between sites (between peers, in a small mesh), with round trips and traffic.
#ifndef ATLAS_TEXT_H
#define ATLAS_TEXT_H

#include <stdio.h>

#include "atlas/layout.h"

struct atlas_text_options {
    uint32_t columns;  // 40 at least is what it takes; less is treated as 40
    bool utf8;         // box-drawing letters and round marks; otherwise plain ASCII
    bool color;        // ANSI colours
    bool devices;      // each peer's devices below it
    bool all;          // no site is folded
};

// CORE_ERR_NO_MEMORY; errors of writing stay with `out`.
CORE_MUST_USE enum core_err atlas_text_write(const struct atlas_snapshot *s, const struct atlas_text_options *o,
                                             FILE *out);

#endif
