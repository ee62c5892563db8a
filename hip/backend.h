// Inside hip/: what a kind of device brings. A device, its streams and events begin with the structs here; device.c
// passes each call on.
#ifndef HIP_BACKEND_H
#define HIP_BACKEND_H

#include "hip/device.h"

struct hip_backend {
    void (*close)(struct hip_device *d);
    void (*facts)(const struct hip_device *d, struct hip_facts *out);
    void (*why)(const struct hip_device *d, char *out, size_t size);  // NULL: nothing ever goes wrong
    enum core_err (*alloc)(struct hip_device *d, size_t size, void **out);
    void (*free)(struct hip_device *d, void *address);
    enum core_err (*stream_open)(struct hip_device *d, struct hip_stream **out);
    void (*stream_close)(struct hip_stream *s);
    enum core_err (*stream_wait)(struct hip_stream *s);
    void (*upload)(struct hip_stream *s, void *device, const void *host, size_t size);
    void (*download)(struct hip_stream *s, void *host, const void *device, size_t size);
    void (*copy)(struct hip_stream *s, void *to, const void *from, size_t size);
    void (*zero)(struct hip_stream *s, void *device, size_t size);
    enum core_err (*event_open)(struct hip_device *d, struct hip_event **out);
    void (*event_close)(struct hip_event *e);
    void (*event_record)(struct hip_event *e, struct hip_stream *s);
    void (*event_wait)(struct hip_event *e);
    double (*event_seconds)(const struct hip_event *from, const struct hip_event *to);
    void (*launch)(struct hip_stream *s, enum hip_kernel k, const void *args);
};

struct hip_device {
    const struct hip_backend *ops;
};

struct hip_stream {
    struct hip_device *device;
    enum hip_profile profile;
};

struct hip_event {
    struct hip_device *device;
};

enum core_err cpu_device_open(const struct hip_options *options, struct hip_device **out);
// Device number `index` of the vendor's driver. CORE_ERR_NOT_FOUND: no driver or no such device; UNSUPPORTED: a driver
// or a device that we have nothing for; IO: it failed. `why` (may be NULL) gets the sentence.
enum core_err gpu_device_open(bool amd, uint32_t index, struct hip_device **out, char *why, size_t why_size);
// How many devices the vendor's driver shows; 0 with `why` where there is none.
uint32_t gpu_device_count(bool amd, char *why, size_t why_size);

#endif
