// OpenMPI's all-reduce as `mycel bench aggregate` measures its own: mpi_allreduce ELEMENTS ROUNDS. Two rounds that
// don't count, then "TIME SECONDS" for each: the slowest process's.
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    int rank, size;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    const int elements = (int)strtol(argv[1], NULL, 10), rounds = (int)strtol(argv[2], NULL, 10);
    float *in = malloc(sizeof *in * (size_t)elements), *out = malloc(sizeof *out * (size_t)elements);
    for (int i = 0; i < elements; i++) {
        in[i] = (float)(rank + 1);
        out[i] = 0;
    }
    for (int round = -2; round < rounds; round++) {
        MPI_Barrier(MPI_COMM_WORLD);
        double took = MPI_Wtime(), slowest;
        MPI_Allreduce(in, out, elements, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        for (int i = 0; i < elements; i++) out[i] *= 1.0f / (float)size;  // the mean, as ours
        took = MPI_Wtime() - took;
        MPI_Allreduce(&took, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
        if (out[elements - 1] != (float)(size + 1) / 2) fprintf(stderr, "wrong mean %f\n", (double)out[elements - 1]);
        if (rank == 0 && round >= 0) printf("TIME %.9f\n", slowest);
    }
    MPI_Finalize();
    return 0;
}
