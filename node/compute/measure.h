// What a device reaches: its arithmetic rate by matrix products, its memory's by axpy over long vectors. Kept in
// HOME/rates, since a device under the same driver stays as fast as it was.
#ifndef NODE_COMPUTE_MEASURE_H
#define NODE_COMPUTE_MEASURE_H

#include "hip/device.h"
#include "node/home.h"

struct measure_rates {
    double gflops;        // repro-fp32 matrix products, 1e9 operations a second
    double gbytes_per_s;  // from and to the device's memory, 1e9 bytes a second
};

// Takes about `seconds`; sizes grow until a single launch is long enough to time. A device that multiplies wrongly
// gives VERIFY_FAILED; otherwise the device's own errors, NO_MEMORY.
CORE_MUST_USE enum core_err measure_device(struct hip_device *d, double seconds, struct measure_rates *out);

// The rates of the device with these facts as HOME/rates has them; false where it has none.
bool measure_recall(const struct home *h, const char *name, const struct hip_facts *facts, struct measure_rates *out);
CORE_MUST_USE enum core_err measure_keep(const struct home *h, const char *name, const struct hip_facts *facts,
                                         const struct measure_rates *rates);

#endif
