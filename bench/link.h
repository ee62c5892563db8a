// `mycel bench link`: one link's bulk lane between two processes, each way that it can go, beside plain libzmq.
#ifndef BENCH_LINK_H
#define BENCH_LINK_H

struct bench;

#define BENCH_LINK_PARTS "curve sealed shared"
int bench_link(struct bench *b);

#endif
