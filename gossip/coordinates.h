// Where a peer lies in the network: Vivaldi coordinates (Dabek, Cox, Kaashoek, Morris, SIGCOMM 2004) with three
// dimensions and a height (the access link), as Serf uses them (Ledlie, Gardner, Seltzer, NSDI 2007: bounded steps).
// The distance of two points predicts the round-trip time between their peers, also where none was ever measured.
//
// Doubles live inside `struct coordinates` only. What goes over the wire, into records and into plans is a
// `struct coordinates_point`: rounded microseconds, with a distance of whole numbers that is the same on every machine.
//
// Hostile values: a point outside the limits is refused; a round trip outside them is not counted; one sample moves
// this peer by at most COORDINATES_STEP_US, and by the less the more wrong the other says it is. Pure; one owner.
#ifndef GOSSIP_COORDINATES_H
#define GOSSIP_COORDINATES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/philox.h"

enum {
    COORDINATES_DIMENSIONS = 3,
    COORDINATES_SIZE = 20,          // bytes on the wire
    COORDINATES_MAX_US = 10000000,  // of any component, and of a round trip that counts
    COORDINATES_STEP_US = 50000,    // one sample moves a peer no further
};

// i32 x, y, z | u32 height | u32 error, little-endian.
struct coordinates_point {
    int32_t at_us[COORDINATES_DIMENSIONS];
    uint32_t height_us;
    uint32_t error;  // thousandths of what it predicts: 1000 knows nothing, 50 is well settled
};

struct coordinates {
    double at_us[COORDINATES_DIMENSIONS];
    double height_us;
    double error;      // 0 to 1
    uint64_t samples;  // that counted
    struct rng rng;    // parts two peers that lie at one point
};

void coordinates_open(struct coordinates *c, uint64_t seed);
// A round trip to a peer that says it lies at `remote`. False if the sample is not believed (outside the limits).
bool coordinates_update(struct coordinates *c, const struct coordinates_point *remote, uint64_t rtt_us);
struct coordinates_point coordinates_rounded(const struct coordinates *c);

// The predicted round trip. Whole numbers only: every machine gets the same.
uint64_t coordinates_distance_us(const struct coordinates_point *a, const struct coordinates_point *b);

void coordinates_write(uint8_t out[COORDINATES_SIZE], const struct coordinates_point *point);
// CORE_ERR_MALFORMED for another size or a component outside the limits.
CORE_MUST_USE enum core_err coordinates_read(struct coordinates_point *point, struct slice bytes);

#endif
