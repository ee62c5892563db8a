// Configurations from anyone: what decodes is canonical and passes its own check; a model file never does harm.
#include <string.h>

#include "core/check.h"
#include "learn/compress.h"
#include "learn/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model_config config;
    struct hyper_parameters hyper;
    uint8_t raw[CONFIG_ENCODED_MAX + HYPER_ENCODED_MAX];
    char why[CONFIG_WHY_SIZE];
    int8_t elements[64];
    struct reader r = reader_over(data, size);
    struct writer w = writer_over(raw, sizeof raw);
    if (config_decode(&r, &config) == CORE_ERR_OK) {
        config_encode(&w, &config);
        if (hyper_decode(&r, &hyper) == CORE_ERR_OK) hyper_encode(&w, &hyper);
        check(!w.overflowed && w.size <= r.at && memcmp(raw, data, w.size) == 0);
    }
    if (config_parse((const char *)data, size, &config, why) == CORE_ERR_OK)
        check(config_check(&config, why) == CORE_ERR_OK);
    if (size < 2) return 0;
    uint8_t bits = (uint8_t)(2 + data[0] % 7);
    if (compress_unpack((struct slice){data + 2, size - 2}, data[1] % 65, bits, elements) == CORE_ERR_OK) {
        compress_pack(elements, data[1] % 65, bits, raw);
        check(memcmp(raw, data + 2, size - 2) == 0);
    }
    return 0;
}
