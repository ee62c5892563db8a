#include "node/compute.h"

#include <stdio.h>
#include <string.h>

void compute_open(struct compute *c, const struct sched_share *share, uint64_t memory_limit)
{
    *c = (struct compute){.wanted = *share, .changed = true, .memory_limit = memory_limit};
    pthread_mutex_init(&c->mutex, NULL);
}

static void shut(struct compute *c)
{
    if (c->trainer) trainer_close(c->trainer);
    c->trainer = NULL;
    hip_device_close(c->device);
    c->device = NULL;
}

void compute_close(struct compute *c)
{
    shut(c);
    pthread_mutex_destroy(&c->mutex);
}

void compute_share_set(struct compute *c, const struct sched_share *share)
{
    pthread_mutex_lock(&c->mutex);
    bool same = share->threads == c->wanted.threads && share->bound == c->wanted.bound &&
                (!share->bound || memcmp(share->cpus, c->wanted.cpus, share->threads * sizeof *share->cpus) == 0);
    if (!same) {
        c->wanted = *share;
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

static bool same_model(const struct model_config *a, const struct model_config *b)
{
    uint8_t x[CONFIG_ENCODED_MAX + CONFIG_NAME_SIZE], y[sizeof x];
    struct writer v = writer_over(x, sizeof x), w = writer_over(y, sizeof y);
    config_encode(&v, a);
    config_encode(&w, b);
    return v.size == w.size && memcmp(x, y, v.size) == 0;
}

enum core_err compute_trainer(struct compute *c, const struct model_config *config, struct trainer **out)
{
    *out = NULL;
    pthread_mutex_lock(&c->mutex);
    bool changed = c->changed;
    c->changed = false;
    if (changed) c->share = c->wanted;
    pthread_mutex_unlock(&c->mutex);
    if (changed || !c->device) {
        shut(c);
        if (sched_share_bind(&c->share, 0)) c->share.bound = false;  // slower, not wrong
        struct hip_options options = {
            .threads = c->share.threads, .bind = sched_share_bind_callback, .bind_context = &c->share};
        enum core_err err = hip_device_open("cpu", &options, &c->device);
        if (err) return err;
    }
    if (c->trainer && !same_model(config, &c->config)) {
        trainer_close(c->trainer);
        c->trainer = NULL;
    }
    if (!c->trainer) {
        char why[CONFIG_WHY_SIZE] = "";
        enum core_err err = trainer_open(&c->trainer, c->device, config, c->memory_limit, why);
        pthread_mutex_lock(&c->mutex);
        snprintf(c->why, sizeof c->why, "%s", err ? why : "");
        pthread_mutex_unlock(&c->mutex);
        if (err) return err;
        c->config = *config;
    }
    *out = c->trainer;
    return CORE_ERR_OK;
}
