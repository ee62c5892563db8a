// `mycel bench map`: drawing a mesh of 50, 500 and 5,000 peers beside Graphviz's sfdp, the labels that cover each
// other, and how far the others move when one comes or goes.
#ifndef BENCH_MAP_H
#define BENCH_MAP_H

struct bench;

#define BENCH_MAP_PARTS "draw move 50 500 5000"
int bench_map(struct bench *b);

#endif
