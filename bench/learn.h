// `bench learn`: what training in rounds costs in loss. Four peers of a mesh against synchronous data-parallel training
// (as many steps, four times the batch, the best of a sweep of rates) and against one peer alone, on the same text. The
// peers run one after another in this process; scales, sums and outer step are the mesh's own. By default 15 rounds and
// one seed, to see it work; --full takes 150 rounds and three seeds, some 20 minutes on two cores. Smaller is better.
#ifndef BENCH_LEARN_H
#define BENCH_LEARN_H

#include "bench/bench.h"

int bench_learn(struct bench *b);

#endif
