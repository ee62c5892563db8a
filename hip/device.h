// A device that computes: the CPU today, shaped so that GPUs fit. Buffers are device addresses (on a GPU the host must
// not follow them), kernels are launched by number with one struct of arguments, and a stream runs its launches in
// order. A device belongs to one thread at a time: whoever opened it, or whom it was handed to.
#ifndef HIP_DEVICE_H
#define HIP_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/hash.h"
#include "hip/kernels.h"

struct hip_device;
struct hip_stream;
struct hip_event;

enum hip_isa {
    HIP_ISA_AUTO,  // the environment's MYCEL_ISA (avx512, avx2, neon, portable), else the widest that this CPU has
    HIP_ISA_PORTABLE,
    HIP_ISA_AVX2,
    HIP_ISA_AVX512,
    HIP_ISA_NEON,
    HIP_ISA_COUNT,
};

#define HIP_MAX_THREADS 256
#define HIP_MAX_DEVICES 64   // of one vendor
#define HIP_WHY_SIZE    256  // bytes of a sentence that says what is wrong

// By which rules a stream computes.
enum hip_profile {
    HIP_PROFILE_REPRO_FP32,  // hip/kernels.h to the bit, on every device
    HIP_PROFILE_FAST_BF16,   // bits not fixed: a GPU may take products and attention in bfloat16 with fp32 sums; what a
                             // device has nothing faster for, the CPU all of it, it computes as repro-fp32
    HIP_PROFILE_COUNT,
};

struct hip_options {
    uint32_t threads;  // of the CPU, the launching thread among them; 0 means 1. With 1 no thread is made
    enum hip_isa isa;
    // Called once on each thread that the device makes, with its number 1 .. threads - 1 (0 is whoever launches).
    void (*bind)(void *context, uint32_t thread);
    void *bind_context;
};

struct hip_facts {
    char name[64];  // "cpu"; a GPU's as its driver says it
    char isa[16];   // "avx512", "sm_90", "gfx942": the image of kernels that runs
    uint32_t threads;
    uint32_t units;         // multiprocessors, compute units; 0: not known
    uint64_t memory_bytes;  // a GPU's own
    char pci[16];           // "0000:3b:00.0", "" for the CPU
    char driver[32];        // its version, "" for the CPU
};

// A device that was found, or a driver that is there and does not work.
struct hip_found {
    char name[16];  // for hip_device_open: "nvidia:0"
    bool usable;
    char why[HIP_WHY_SIZE];  // where it isn't: what and what to do
    struct hip_facts facts;  // where it is
};

// Opens the device called `name`: "cpu", "nvidia:0", "amd:1" (without a number: 0). `options` NULL: one thread, best
// instruction set. CORE_ERR_NOT_FOUND for another name, or where there is no such device; CORE_ERR_UNSUPPORTED where
// the CPU lacks the instruction set asked for (or MYCEL_ISA names none), or where none of our images fits the GPU; IO
// where its driver fails; NO_MEMORY. GPUs: the vendor's driver is opened by dlopen, MYCEL_CUDA_LIBRARY and
// MYCEL_HIP_LIBRARY name another file.
CORE_MUST_USE enum core_err hip_device_open(const char *name, const struct hip_options *options,
                                            struct hip_device **out);
// The same; an error is explained in `why`.
CORE_MUST_USE enum core_err hip_device_open_told(const char *name, const struct hip_options *options,
                                                 struct hip_device **out, char *why, size_t why_size);
// The GPUs of this machine, usable or not, NVIDIA's first; returns how many (at most `capacity`). Opens each: slow.
uint32_t hip_devices_find(struct hip_found *found, uint32_t capacity);
// Ends its threads. Streams, events and buffers must have been freed. NULL is fine.
void hip_device_close(struct hip_device *d);
void hip_device_facts(const struct hip_device *d, struct hip_facts *out);
// What its driver said when something last went wrong ("NVIDIA H200 (0000:3b:00.0): launch of product_large:
// CUDA_ERROR_ LAUNCH_FAILED"); "" if nothing has. After IO from anything on it the device is lost: close all that is
// open on it.
void hip_device_why(const struct hip_device *d, char *out, size_t size);
// Does this CPU have it? AUTO and PORTABLE are always true. Any thread.
bool hip_isa_available(enum hip_isa isa);
// Is it one of this architecture's, whether or not this very CPU has it?
bool hip_isa_built(enum hip_isa isa);
const char *hip_isa_name(enum hip_isa isa);

// `size` zeroed bytes at an address aligned to 64. Size 0 gives a valid address.
CORE_MUST_USE enum core_err hip_alloc(struct hip_device *d, size_t size, void **out);
void hip_free(struct hip_device *d, void *address);

// A stream runs what it is given in order. Copies and launches may return before they are done; the host's memory of an
// upload or download must stay until `hip_stream_wait`. On the CPU all are done when the call returns.
CORE_MUST_USE enum core_err hip_stream_open(struct hip_device *d, struct hip_stream **out);
void hip_stream_close(struct hip_stream *s);
// By which rules what is launched from now on is computed; repro-fp32 at first.
void hip_stream_profile(struct hip_stream *s, enum hip_profile profile);
// Waits until all is done; the first error of anything launched since the last wait.
CORE_MUST_USE enum core_err hip_stream_wait(struct hip_stream *s);
void hip_upload(struct hip_stream *s, void *device, const void *host, size_t size);
void hip_download(struct hip_stream *s, void *host, const void *device, size_t size);
void hip_copy(struct hip_stream *s, void *to, const void *from, size_t size);  // device to device, no overlap
void hip_zero(struct hip_stream *s, void *device, size_t size);

// An event marks a place in a stream: to wait for it there, and to time what lies between two.
CORE_MUST_USE enum core_err hip_event_open(struct hip_device *d, struct hip_event **out);
void hip_event_close(struct hip_event *e);
void hip_event_record(struct hip_event *e, struct hip_stream *s);
void hip_event_wait(struct hip_event *e);
double hip_event_seconds(const struct hip_event *from, const struct hip_event *to);

// Launches kernel `k` with `args`, its struct of hip/kernels.h (read before the call returns). Shapes out of a kernel's
// limits are a programmer's error. The typed calls below it say the same with the compiler's help: hip_gemm(s, &args).
void hip_launch(struct hip_stream *s, enum hip_kernel k, const void *args);

#define HIP_LAUNCH(NAME, name)                                                         \
    static inline void hip_##name(struct hip_stream *s, const struct hip_##name *args) \
    {                                                                                  \
        hip_launch(s, HIP_KERNEL_##NAME, args);                                        \
    }
HIP_KERNELS(HIP_LAUNCH)
#undef HIP_LAUNCH

// The kernel's name ("gemm"), by which a GPU's code object holds it.
const char *hip_kernel_name(enum hip_kernel k);

// "repro-fp32", "fast-bf16".
const char *hip_profile_name(enum hip_profile profile);
bool hip_profile_named(const char *name, enum hip_profile *out);

// Hash of the profile's rules (for repro-fp32 of what fixes every result's bits: hip/kernels.h, the polynomials'
// coefficients): part of every run, so its profile too.
struct core_hash hip_spec_hash(enum hip_profile profile);
// The profile of these rules; false where they are not this program's: such a run can't be computed here.
bool hip_profile_of(const struct core_hash *spec, enum hip_profile *out);

#endif
