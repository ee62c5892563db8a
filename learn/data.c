#include "learn/data.h"

#include <stdio.h>
#include <string.h>

#include "core/check.h"
#include "learn/streams.h"

struct dataset data_split(const uint8_t *text, uint64_t size)
{
    uint64_t held = size / 10;
    return (struct dataset){
        .train = text, .train_size = size - held, .held_out = text + (size - held), .held_out_size = held};
}

enum core_err data_check(const struct dataset *data, const struct model_config *config, char *why)
{
    uint64_t window = (uint64_t)config->context + 1;
    bool train = data->train_size < window;
    if (!train && data->held_out_size >= window) return CORE_ERR_OK;
    snprintf(why, CONFIG_WHY_SIZE, "the %s part of the text has %llu bytes; a sequence of this model needs %llu",
             train ? "training" : "held-out", (unsigned long long)(train ? data->train_size : data->held_out_size),
             (unsigned long long)window);
    return CORE_ERR_TOO_SHORT;
}

void data_batch(const struct dataset *data, const struct model_config *config, uint64_t seed, uint32_t round,
                uint32_t step, uint32_t slot, uint8_t *tokens)
{
    uint64_t window = (uint64_t)config->context + 1;
    check(data->train_size >= window && slot < 1u << 31);
    uint64_t starts = data->train_size - window + 1;
    for (uint32_t i = 0; i < config->batch; i++) {
        // `batch` is below 2^16, a slot below 2^31: together below the stream's 2^56.
        struct philox_block b = stream_block(seed, STREAM_DATA, (uint64_t)round << 32 | step, (uint64_t)slot << 16 | i);
        uint64_t random = (uint64_t)b.word[1] << 32 | b.word[0];
        // The high half of the product: uniform but for a bias below starts / 2^64.
        uint64_t start = (uint64_t)((unsigned __int128)random * starts >> 64);
        memcpy(tokens + i * window, data->train + start, window);
    }
}

uint64_t data_held_out_windows(const struct dataset *data, const struct model_config *config, uint64_t wanted)
{
    if (data->held_out_size < (uint64_t)config->context + 1) return 0;
    uint64_t all = (data->held_out_size - 1) / config->context;
    return wanted == 0 || wanted > all ? all : wanted;
}

uint64_t data_held_out_start(const struct dataset *data, const struct model_config *config, uint64_t windows,
                             uint64_t index)
{
    uint64_t all = data_held_out_windows(data, config, 0);
    check(windows > 0 && windows <= all && index < windows);
    return (uint64_t)((unsigned __int128)index * all / windows) * config->context;
}
