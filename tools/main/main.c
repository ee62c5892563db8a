// The program: the command line with the two parts that link the modules directly.
#include "bench/bench.h"
#include "tools/call.h"
#include "tools/sim/sim.h"

int main(int argc, char **argv)
{
    static const struct tools_programs programs = {.sim = sim_main, .bench = bench_main};
    return tools_main(argc, argv, &programs);
}
