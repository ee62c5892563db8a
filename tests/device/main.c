// Everything that wants a real GPU: see README.md. Without one each test is skipped and a loud line says so.
//
//   test-device [bits|rates]     only the tests of bits, only the rates; both without a word
//
// Run it in the root of the sources (it reads tests/golden). MYCEL_CUDA_LIBRARY, MYCEL_HIP_LIBRARY,
// MYCEL_CUBLAS_LIBRARY and MYCEL_BLAS_LIBRARY name other files than the usual ones.
#include <stdio.h>
#include <string.h>

#include "device/parts.h"

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : "";
    int failed = 0;
    if (strcmp(only, "rates")) failed += gemm_main() + attention_main() + elements_main() + rows_main();
    if (strcmp(only, "rates")) failed += golden_main() + large_tests();
    fflush(stdout);
    if (strcmp(only, "bits")) failed += rates_tests();
    return failed ? 1 : 0;
}
