// Inside hip/: NVIDIA's and AMD's drivers, opened at run time. Both have the same calls with the same arguments under
// two sets of names, so one table of functions serves both; what they return is 0 for success, or their own number.
#ifndef HIP_DRIVER_H
#define HIP_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

// X(field, NVIDIA's symbol, AMD's symbol, arguments)
#define DRIVER_CALLS(X)                                                                                               \
    X(init, cuInit, hipInit, (unsigned flags))                                                                        \
    X(version, cuDriverGetVersion, hipDriverGetVersion, (int *version))                                               \
    X(count, cuDeviceGetCount, hipGetDeviceCount, (int *count))                                                       \
    X(get, cuDeviceGet, hipDeviceGet, (int *device, int index))                                                       \
    X(name, cuDeviceGetName, hipDeviceGetName, (char *name, int size, int device))                                    \
    X(memory, cuDeviceTotalMem_v2, hipDeviceTotalMem, (size_t * bytes, int device))                                   \
    X(pci, cuDeviceGetPCIBusId, hipDeviceGetPCIBusId, (char *text, int size, int device))                             \
    X(alloc, cuMemAlloc_v2, hipMalloc, (void **address, size_t size))                                                 \
    X(free, cuMemFree_v2, hipFree, (void *address))                                                                   \
    X(upload, cuMemcpyHtoDAsync_v2, hipMemcpyHtoDAsync, (void *to, const void *from, size_t size, void *stream))      \
    X(download, cuMemcpyDtoHAsync_v2, hipMemcpyDtoHAsync, (void *to, const void *from, size_t size, void *stream))    \
    X(copy, cuMemcpyDtoDAsync_v2, hipMemcpyDtoDAsync, (void *to, const void *from, size_t size, void *stream))        \
    X(set, cuMemsetD8Async, hipMemsetD8Async, (void *to, unsigned char value, size_t size, void *stream))             \
    X(stream_open, cuStreamCreate, hipStreamCreateWithFlags, (void **stream, unsigned flags))                         \
    X(stream_close, cuStreamDestroy_v2, hipStreamDestroy, (void *stream))                                             \
    X(stream_wait, cuStreamSynchronize, hipStreamSynchronize, (void *stream))                                         \
    X(event_open, cuEventCreate, hipEventCreateWithFlags, (void **event, unsigned flags))                             \
    X(event_close, cuEventDestroy_v2, hipEventDestroy, (void *event))                                                 \
    X(event_record, cuEventRecord, hipEventRecord, (void *event, void *stream))                                       \
    X(event_wait, cuEventSynchronize, hipEventSynchronize, (void *event))                                             \
    X(event_ms, cuEventElapsedTime, hipEventElapsedTime, (float *ms, void *from, void *to))                           \
    X(module_open, cuModuleLoadData, hipModuleLoadData, (void **module, const void *image))                           \
    X(module_close, cuModuleUnload, hipModuleUnload, (void *module))                                                  \
    X(function, cuModuleGetFunction, hipModuleGetFunction, (void **function, void *module, const char *name))         \
    X(launch, cuLaunchKernel, hipModuleLaunchKernel,                                                                  \
      (void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, \
       void *stream, void **args, void **extra))

// Those that only one of them has.
#define DRIVER_CALLS_NVIDIA(X)                                                  \
    X(attribute, cuDeviceGetAttribute, (int *value, int attribute, int device)) \
    X(context_hold, cuDevicePrimaryCtxRetain, (void **context, int device))     \
    X(context_release, cuDevicePrimaryCtxRelease_v2, (int device))              \
    X(context_set, cuCtxSetCurrent, (void *context))                            \
    X(error_text, cuGetErrorName, (int error, const char **text))
#define DRIVER_CALLS_AMD(X) X(device_set, hipSetDevice, (int device))

struct driver {
    bool amd;
    void *library;
#define DRIVER_FIELD(field, nvidia, amd, arguments) int(*field) arguments;
    DRIVER_CALLS(DRIVER_FIELD)
#undef DRIVER_FIELD
#define DRIVER_FIELD(field, symbol, arguments) int(*field) arguments;
    DRIVER_CALLS_NVIDIA(DRIVER_FIELD)
    DRIVER_CALLS_AMD(DRIVER_FIELD)
#undef DRIVER_FIELD
};

// Opens and initialises the vendor's driver. CORE_ERR_NOT_FOUND: it isn't installed, or shows no device (`why` stays
// empty); UNSUPPORTED: a call is missing, so it is too old; IO: it fails. Any thread.
CORE_MUST_USE enum core_err driver_open(bool amd, struct driver *d, char *why, size_t why_size);
void driver_close(struct driver *d);
// The driver's own name of an error, or its number in `text`.
const char *driver_error(const struct driver *d, int error, char text[32]);

#endif
