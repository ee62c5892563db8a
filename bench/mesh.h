// `mycel bench mesh [join|kill|silent|split|cast|load|large|idle] [--nodes N] [--runs R] [--seconds S] [--with-peers]
// [--table]`: a mesh of real processes on this machine, beside other people's programs in the same run. Needs root for
// a network of its own.
#ifndef BENCH_MESH_H
#define BENCH_MESH_H

#include "bench/bench.h"

#define BENCH_MESH_PARTS "join kill silent split cast load large idle"

int bench_mesh(struct bench *b);

#endif
