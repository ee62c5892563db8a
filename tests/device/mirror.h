// The kernel tests' memory on a device of its own: what they take with malloc is known here, and a launch gets copies
// of what its arguments point to, brought back when it is done. Included before hip/device.h, so that every launch
// comes here.
#ifndef TESTS_DEVICE_MIRROR_H
#define TESTS_DEVICE_MIRROR_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define hip_launch mirror_launch
#include "hip/device.h"
#undef hip_launch

void *mirror_malloc(size_t size);
void mirror_free(void *p);

// A launch on a CPU's stream.
void mirror_launch_host(struct hip_stream *s, enum hip_kernel k, const void *args);

// The usable GPUs, found once; says aloud what is not usable, and that there are none.
uint32_t mirror_devices(const struct hip_found **found);
// Runs `test` on a stream of each. With none the test is skipped.
void mirror_each(void (*test)(struct hip_stream *s));

#endif
