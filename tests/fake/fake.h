// What a test says to the fake driver. Not under ThreadSanitizer or AddressSanitizer, which don't follow its
// coroutines. A test of the whole program has the environment instead:
//
//   MYCEL_CUDA_LIBRARY=LIBRARY, MYCEL_HIP_LIBRARY=LIBRARY   the fake is that vendor's driver (zig build fake:
//                                zig-out/tests/libfakegpu.so; unit tests find it in MYCEL_FAKE_DRIVER)
//   MYCEL_CUBLASLT_LIBRARY=LIBRARY, MYCEL_HIPBLASLT_LIBRARY=LIBRARY   and that vendor's bfloat16 products ("" for none)
//   MYCEL_FAKE_DEVICES=N         how many devices it shows (2)
//   MYCEL_FAKE_MEMORY=BYTES      of each (2 GiB)
//   MYCEL_FAKE_VERSION=NUMBER    the driver's (12040)
//   MYCEL_FAKE_FAIL=CALL:AFTER[:once]   CALL (a field of hip/driver.h: alloc, launch, stream_wait, module_open ...)
//                                fails after so many that worked, from then on or once
//   MYCEL_FAKE_LOST=PATH         device N is lost while the file PATH.N is there: every call on it fails. On NVIDIA's
//                                side what was open stays broken until the device is closed, as with the real driver
#ifndef TESTS_FAKE_FAKE_H
#define TESTS_FAKE_FAKE_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define FAKE_USABLE (!__has_feature(thread_sanitizer) && !__has_feature(address_sanitizer))

struct fake_control {
    int devices;          // that it shows; 0: "no device"
    size_t memory;        // bytes of all devices together: more gives "out of memory"
    int version;          // of the driver
    const char *fail;     // the call (field of hip/driver.h: "alloc") that fails ..
    unsigned fail_after;  // .. after so many more that work, and from then on
    bool fail_once;       // .. only once
    const char *lost;     // device N is lost while the file called so, with ".N" at its end, is there
    bool late;            // what is queued is done only when somebody waits
    bool guard;           // device memory can't be touched but by kernels and copies
    unsigned long calls;  // counted by the fake
    unsigned long launches;
    unsigned long products;  // of the vendor's library (blas.c)
    size_t live;             // bytes of device memory in use
    const char *last;        // the call made last
};

// Makes the fake both vendors' driver of this process; its control, or NULL (said aloud) where it can't be used.
static inline __attribute__((unused)) struct fake_control *fake_use(void)
{
    const char *library = getenv("MYCEL_FAKE_DRIVER");
    if (!FAKE_USABLE || !library) {
        fprintf(stderr, "SKIPPED: no emulated GPU under this sanitizer, its kernels were NOT tested here\n");
        return NULL;
    }
    setenv("MYCEL_CUDA_LIBRARY", library, 1);
    setenv("MYCEL_HIP_LIBRARY", library, 1);
    setenv("MYCEL_CUBLASLT_LIBRARY", library, 1);
    setenv("MYCEL_HIPBLASLT_LIBRARY", library, 1);
    void *open = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    return open ? dlsym(open, "fake_control") : NULL;
}

#endif
