#include "gossip/coordinates.h"

#include <math.h>
#include <string.h>

// Vivaldi's constants, as in the paper and Serf: how fast errors and coordinates follow a sample.
static const double error_gain = 0.25, step_gain = 0.25, height_min_us = 10, error_max = 1.0;

void coordinates_open(struct coordinates *c, uint64_t seed)
{
    *c = (struct coordinates){.height_us = height_min_us, .error = error_max, .rng = rng_from(seed, 0x636f6f72)};
}

static double bounded(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

static bool is_sane(const struct coordinates_point *p)
{
    for (uint32_t i = 0; i < COORDINATES_DIMENSIONS; i++)
        if (p->at_us[i] < -COORDINATES_MAX_US || p->at_us[i] > COORDINATES_MAX_US) return false;
    return p->height_us <= COORDINATES_MAX_US && p->error <= 1000;
}

// The unit vector from `remote` to this peer; where they lie at one point, any.
static double direction(struct coordinates *c, const struct coordinates_point *remote, double unit[])
{
    double square = 0;
    for (uint32_t i = 0; i < COORDINATES_DIMENSIONS; i++) {
        unit[i] = c->at_us[i] - remote->at_us[i];
        square += unit[i] * unit[i];
    }
    const double length = sqrt(square);
    if (length >= 1) {
        for (uint32_t i = 0; i < COORDINATES_DIMENSIONS; i++) unit[i] /= length;
        return length;
    }
    square = 0;
    for (uint32_t i = 0; i < COORDINATES_DIMENSIONS; i++) {
        unit[i] = (double)rng_below(&c->rng, 2001) - 1000 + 0.5;
        square += unit[i] * unit[i];
    }
    for (uint32_t i = 0; i < COORDINATES_DIMENSIONS; i++) unit[i] /= sqrt(square);
    return 0;
}

bool coordinates_update(struct coordinates *c, const struct coordinates_point *remote, uint64_t rtt_us)
{
    if (!is_sane(remote) || rtt_us == 0 || rtt_us > COORDINATES_MAX_US) return false;
    double unit[COORDINATES_DIMENSIONS];
    const double apart = direction(c, remote, unit), rtt = (double)rtt_us;
    const double predicted = apart + c->height_us + remote->height_us;
    // Who claims to be certain is believed no more than who is settled in fact.
    const double other = bounded(remote->error / 1000.0, 0.02, error_max);
    const double weight = c->error / (c->error + other);
    const double wrong = fmin(fabs(predicted - rtt) / rtt, error_max);
    c->error = bounded(wrong * error_gain * weight + c->error * (1 - error_gain * weight), 0.01, error_max);
    const double force = bounded(step_gain * weight * (rtt - predicted), -COORDINATES_STEP_US, COORDINATES_STEP_US);
    for (uint32_t i = 0; i < COORDINATES_DIMENSIONS; i++)
        c->at_us[i] = bounded(c->at_us[i] + unit[i] * force, -COORDINATES_MAX_US, COORDINATES_MAX_US);
    if (apart > 0) {
        const double height = c->height_us + (c->height_us + remote->height_us) * force / apart;
        c->height_us = bounded(height, height_min_us, fmin(rtt_us, COORDINATES_MAX_US));
    }
    c->samples++;
    return true;
}

struct coordinates_point coordinates_rounded(const struct coordinates *c)
{
    struct coordinates_point p;
    for (uint32_t i = 0; i < COORDINATES_DIMENSIONS; i++) p.at_us[i] = (int32_t)lround(c->at_us[i]);
    p.height_us = (uint32_t)lround(c->height_us);
    p.error = (uint32_t)lround(c->error * 1000);
    return p;
}

static uint64_t square_root(uint64_t n)
{
    uint64_t root = 0;
    for (uint64_t bit = 1ull << 62; bit > 0; bit >>= 2) {
        if (n >= root + bit) {
            n -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    return root;
}

uint64_t coordinates_distance_us(const struct coordinates_point *a, const struct coordinates_point *b)
{
    uint64_t square = 0;
    for (uint32_t i = 0; i < COORDINATES_DIMENSIONS; i++) {
        const int64_t d = (int64_t)a->at_us[i] - b->at_us[i];
        square += (uint64_t)(d * d);
    }
    return square_root(square) + a->height_us + b->height_us;
}

void coordinates_write(uint8_t out[COORDINATES_SIZE], const struct coordinates_point *point)
{
    struct writer w = writer_over(out, COORDINATES_SIZE);
    for (uint32_t i = 0; i < COORDINATES_DIMENSIONS; i++) write_u32(&w, (uint32_t)point->at_us[i]);
    write_u32(&w, point->height_us);
    write_u32(&w, point->error);
}

enum core_err coordinates_read(struct coordinates_point *point, struct slice bytes)
{
    struct reader r = reader_over(bytes.data, bytes.size);
    for (uint32_t i = 0; i < COORDINATES_DIMENSIONS; i++) point->at_us[i] = (int32_t)read_u32(&r);
    point->height_us = read_u32(&r);
    point->error = read_u32(&r);
    return reader_finished(&r) && is_sane(point) ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}
