#include "node/compute/compute.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { PAUSE_US = 20000 };

void compute_open(struct compute *c, const char *name, const struct sched_topology *topology,
                  const struct sched_lane *place)
{
    *c = (struct compute){.topology = topology, .wanted = *place, .changed = true};
    snprintf(c->name, sizeof c->name, "%s", name);
    pthread_mutex_init(&c->mutex, NULL);
}

void compute_shut(struct compute *c)
{
    if (c->trainer) trainer_close(c->trainer);
    c->trainer = NULL;
    hip_device_close(c->device);
    c->device = NULL;
}

void compute_close(struct compute *c)
{
    if (!c->topology) return;
    compute_shut(c);
    pthread_mutex_destroy(&c->mutex);
    c->topology = NULL;
}

void compute_place_set(struct compute *c, const struct sched_lane *place)
{
    pthread_mutex_lock(&c->mutex);
    if (!sched_lane_equal(place, &c->wanted)) {
        c->wanted = *place;
        c->changed = true;
    }
    pthread_mutex_unlock(&c->mutex);
}

void compute_why(struct compute *c, char out[CONFIG_WHY_SIZE])
{
    pthread_mutex_lock(&c->mutex);
    memcpy(out, c->why, CONFIG_WHY_SIZE);
    pthread_mutex_unlock(&c->mutex);
}

uint32_t compute_threads(struct compute *c)
{
    pthread_mutex_lock(&c->mutex);
    uint32_t threads = c->wanted.threads;
    pthread_mutex_unlock(&c->mutex);
    return threads;
}

double compute_gflop(const struct model_config *config, uint64_t steps)
{
    return 6e-9 * (double)tensors_parameters(config) * config->batch * config->context * (double)steps;
}

// ---- the lane's thread ----

static void explain(struct compute *c, const char *why)
{
    pthread_mutex_lock(&c->mutex);
    snprintf(c->why, sizeof c->why, "%s", why);
    pthread_mutex_unlock(&c->mutex);
}

void compute_begin(struct compute *c)
{
    pthread_mutex_lock(&c->mutex);
    bool changed = c->changed;
    c->changed = false;
    if (changed) c->place = c->wanted;
    pthread_mutex_unlock(&c->mutex);
    c->failed = false;
    if (!changed) return;
    compute_shut(c);
    c->binding = (struct sched_lane_binding){.topology = c->topology, .lane = &c->place};
    sched_lane_bind_callback(&c->binding, 0);
}

enum core_err compute_judge(struct compute *c, enum core_err err)
{
    if (!c->place.gpu || c->failed) return err;
    if (err != CORE_ERR_IO && err != CORE_ERR_NO_MEMORY && err != CORE_ERR_UNSUPPORTED && err != CORE_ERR_NOT_FOUND &&
        err != CORE_ERR_VERIFY_FAILED)
        return err;
    char why[HIP_WHY_SIZE] = "";
    if (c->device) hip_device_why(c->device, why, sizeof why);
    if (err == CORE_ERR_VERIFY_FAILED) snprintf(why, sizeof why, "it multiplies wrongly");
    if (!why[0] && !c->why[0])
        snprintf(why, sizeof why, "%s", err == CORE_ERR_NO_MEMORY ? "its memory ran out" : "it does not answer");
    if (why[0]) explain(c, why);
    c->failed = true;
    return err;
}

enum core_err compute_device(struct compute *c, struct hip_device **out)
{
    *out = NULL;
    if (!c->device) {
        char why[HIP_WHY_SIZE] = "";
        struct hip_options options = {.threads = c->place.threads};
        if (!c->place.gpu) {
            options.bind = sched_lane_bind_callback;
            options.bind_context = &c->binding;
        }
        enum core_err err = hip_device_open_told(c->name, &options, &c->device, why, sizeof why);
        explain(c, why);
        if (err) return compute_judge(c, err);
    }
    *out = c->device;
    return CORE_ERR_OK;
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static bool same_model(const struct model_config *a, const struct model_config *b)
{
    uint8_t x[CONFIG_ENCODED_MAX + CONFIG_NAME_SIZE], y[sizeof x];
    struct writer v = writer_over(x, sizeof x), w = writer_over(y, sizeof y);
    config_encode(&v, a);
    config_encode(&w, b);
    return v.size == w.size && memcmp(x, y, v.size) == 0;
}

enum core_err compute_trainer(struct compute *c, const struct model_config *config, enum hip_profile profile,
                              struct trainer **out)
{
    *out = NULL;
    struct hip_device *device;
    enum core_err err = compute_device(c, &device);
    if (err) return err;
    if (c->trainer && !same_model(config, &c->config)) {
        trainer_close(c->trainer);
        c->trainer = NULL;
    }
    if (!c->trainer) {
        char why[CONFIG_WHY_SIZE] = "";
        err = trainer_open(&c->trainer, device, config, c->place.memory_bytes, why);
        explain(c, err ? why : "");
        if (err) {
            c->trainer = NULL;
            return compute_judge(c, err);
        }
        c->config = *config;
    }
    trainer_set_profile(c->trainer, profile);
    c->step_end_us = now_us();
    *out = c->trainer;
    return CORE_ERR_OK;
}

void compute_pace(struct compute *c, const _Atomic bool *cancelled)
{
    if (c->place.duty_percent == 0 || c->place.duty_percent >= 100) return;
    uint64_t now = now_us(), busy = now - c->step_end_us;
    uint64_t until = now + busy * (100 - c->place.duty_percent) / c->place.duty_percent;
    while ((now = now_us()) < until && !atomic_load(cancelled)) {
        uint64_t left = until - now < PAUSE_US ? until - now : PAUSE_US;
        nanosleep(&(struct timespec){.tv_nsec = (long)left * 1000}, NULL);
    }
    c->step_end_us = now_us();
}
