// `mycel bench aggregate [local] [kill] [hosts]`: the mean of a vector that every peer has one of, by real links, the
// plan and the exact sums of training; with --with-peers beside other people's all-reduce in the same run.
#ifndef BENCH_AGGREGATE_H
#define BENCH_AGGREGATE_H

struct bench;

#define BENCH_AGGREGATE_PARTS "local kill hosts"

int bench_aggregate(struct bench *b);

#endif
