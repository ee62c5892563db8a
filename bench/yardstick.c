#include "bench/yardstick.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peers.h"
#include "core/check.h"

static bool functions(struct yardstick *yardstick, const char *set_threads)
{
    void *sgemm = dlsym(yardstick->library, "cblas_sgemm"), *set = dlsym(yardstick->library, set_threads);
    memcpy(&yardstick->sgemm, &sgemm, sizeof sgemm);
    memcpy(&yardstick->set_threads, &set, sizeof set);
    return sgemm && set;
}

// An OpenBLAS older than the CPU falls back to its slowest kernels: it is told which ones the machine can run.
static bool open_openblas(enum hip_isa isa, struct yardstick *out)
{
    const char *core = isa == HIP_ISA_AVX512 ? "SkylakeX" : isa == HIP_ISA_AVX2 ? "Haswell" : NULL;
    if (core) (void)setenv("OPENBLAS_CORETYPE", core, 1);
    *out = (struct yardstick){.name = "OpenBLAS", .library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL)};
    return out->library && functions(out, "openblas_set_num_threads");
}

// Its package brings no link named libmkl_rt.so, only the numbered library.
static bool open_mkl(enum hip_isa isa, struct yardstick *out)
{
    char pattern[PEERS_PATH_MAX + 32], folder[PEERS_PATH_MAX];
    const char *given = getenv("MYCEL_MKL");
    glob_t found = {0};
    (void)setenv("MKL_ENABLE_INSTRUCTIONS", isa == HIP_ISA_AVX512 ? "AVX512" : "AVX2", 1);
    *out = (struct yardstick){.name = "MKL"};
    peers_folder(folder);
    snprintf(pattern, sizeof pattern, "%s/mkl/lib/libmkl_rt.so.*", folder);
    if (given)
        out->library = dlopen(given, RTLD_NOW | RTLD_LOCAL);
    else if (glob(pattern, 0, NULL, &found) == 0)
        out->library = dlopen(found.gl_pathv[0], RTLD_NOW | RTLD_LOCAL);
    globfree(&found);
    return out->library && functions(out, "MKL_Set_Num_Threads");
}

// Makes its threads.
static void warm_up(struct yardstick *yardstick, uint32_t threads)
{
    enum { SIDE = 512 };
    float *x = calloc((size_t)2 * SIDE * SIDE, sizeof *x);
    check(x);
    struct hip_gemm g = {.m = SIDE, .n = SIDE, .k = SIDE, .a = x, .b = x, .lda = SIDE, .ldb = SIDE, .ldc = SIDE};
    yardstick->set_threads((int)threads);
    for (int i = 0; i < 3; i++) yardstick_product(yardstick, &g, x + SIDE * SIDE);
    free(x);
}

uint32_t yardstick_open(struct bench *b, enum hip_isa isa, uint32_t threads, struct yardstick out[YARDSTICKS_MAX])
{
    uint32_t count = 0;
    bool x86 = isa == HIP_ISA_AVX512 || isa == HIP_ISA_AVX2;
    if (open_openblas(isa, &out[count]))
        count++;
    else
        bench_say(b, "OpenBLAS is left out: no libopenblas.so.0 (bench/peers/compute.sh)");
    if (bench_with_peers(b) && x86) {
        if (open_mkl(isa, &out[count]))
            count++;
        else
            bench_say(b, "MKL is left out: no libmkl_rt.so (bench/peers/compute.sh, or MYCEL_MKL=FILE)");
    }
    for (uint32_t i = 0; i < count; i++) warm_up(&out[i], threads);
    return count;
}

void yardstick_product(const struct yardstick *yardstick, const struct hip_gemm *g, float *c)
{
    enum { ROW_MAJOR = 101, AS_IT_IS = 111, TRANSPOSED = 112 };
    yardstick->sgemm(ROW_MAJOR, g->transpose_a ? TRANSPOSED : AS_IT_IS, g->transpose_b ? TRANSPOSED : AS_IT_IS,
                     (int)g->m, (int)g->n, (int)g->k, 1, g->a, (int)g->lda, g->b, (int)g->ldb, 0, c, (int)g->ldc);
}
