// The map for Graphviz's users: clusters of sites and hosts, links with round trips; positions as ours, for `neato
// -n2`.
#ifndef ATLAS_DOT_H
#define ATLAS_DOT_H

#include <stdio.h>

#include "atlas/layout.h"

// `l` is laid out with atlas_metrics_svg. Errors of writing stay with `out`.
void atlas_dot_write(const struct atlas_snapshot *s, const struct atlas_layout *l, FILE *out);

#endif
