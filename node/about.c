#include "node/about.h"

#include <hwloc.h>
#include <jansson.h>
#include <msgpack.h>
#include <sodium.h>
#include <stdio.h>
#include <zmq.h>

#include "hip/device.h"

void node_about(struct node_about *about)
{
#ifdef __OPTIMIZE__
    about->build = "release";
#else
    about->build = "debug";
#endif
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    snprintf(about->zmq, sizeof about->zmq, "%d.%d.%d", major, minor, patch);
    unsigned api = hwloc_get_api_version();
    snprintf(about->hwloc, sizeof about->hwloc, "%u.%u.%u", api >> 16, api >> 8 & 255, api & 255);
    snprintf(about->sodium, sizeof about->sodium, "%s", sodium_version_string());
    snprintf(about->jansson, sizeof about->jansson, "%s", jansson_version_str());
    snprintf(about->msgpack, sizeof about->msgpack, "%s", msgpack_version());
    struct hip_device *device = NULL;
    snprintf(about->kernels, sizeof about->kernels, "none");
    if (hip_device_open("cpu", NULL, &device)) return;
    struct hip_facts facts;
    hip_device_facts(device, &facts);
    snprintf(about->kernels, sizeof about->kernels, "%s", facts.isa);
    hip_device_close(device);
}
