// One process of links, plan and sums alone: what `mycel bench aggregate` starts many of. It holds a vector of fp32
// elements, and in each round all of them come to the mean of everybody's: quantise as training does, contributions to
// their shard's owner, exact sums up the plan's levels, the result down to everyone, back to fp32. Real certificates of
// a throw-away charter, real links, the plan and the sums of training.
//
//   mycel bench aggregate-node INDEX COUNT SEED HOST:PORT MACHINES:ELEMENTS:BITS:COPIES
//
// Peer INDEX of COUNT lies on machine INDEX % MACHINES. BITS 8: int8 with error feedback; 32: a grid of 2^-27, sums of
// 32 bits, the bytes of an fp32 all-reduce. COPIES 1: every shard of a contribution lies on two peers before it counts,
// as in training, and an owner that dies is replaced. Steered line by line; times are microseconds of CLOCK_MONOTONIC:
//
//   in   PEERS ADDR...   everybody's addresses by index: link up with all of them
//        ROUND N HOLD    take the mean, for the N-th time (from 0 on); HOLD 1: sum only after GO
//        GO
//        WHAT            tell the last result's hash
//   out  READY ADDR
//        LINKED
//        HELD            every contribution that this peer should hold is here
//        DONE N START END SENT CPU
//                        payload bytes sent; CPU time of the round in microseconds
//        IS HASH WRONG   the result's hash (64 bits of it); elements that are not what the quantised inputs add up to
//                        (of a sample, round 0 alone)
//        ERR TEXT
#ifndef BENCH_AGGREGATE_NODE_H
#define BENCH_AGGREGATE_NODE_H

// argv: INDEX COUNT SEED ADDRESS MACHINES:ELEMENTS:BITS:COPIES. Runs until stdin ends; the exit status.
int aggregate_node_main(int argc, char **argv);

#endif
