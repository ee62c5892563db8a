#include "learn/config.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_VERSION = 1, HYPER_VERSION = 1, LINE_MAX_SIZE = 200 };

enum kind { KIND_COUNT, KIND_BYTE, KIND_REAL, KIND_FLAG };

// One field of a struct: its name in a model file, where it lies and what it may be. Flags are 0 or 1.
struct field {
    const char *name;
    enum kind kind;
    size_t offset;
    double low, high;
};

#define CONFIG_FIELD(name, kind, low, high)                         \
    {                                                               \
#name, kind, offsetof(struct model_config, name), low, high \
    }
static const struct field config_fields[] = {
    CONFIG_FIELD(layers, KIND_COUNT, 1, CONFIG_LAYERS_MAX),
    CONFIG_FIELD(width, KIND_COUNT, 2, 8192),
    CONFIG_FIELD(heads, KIND_COUNT, 1, 128),
    CONFIG_FIELD(inner, KIND_COUNT, 1, 32768),
    CONFIG_FIELD(vocab, KIND_COUNT, CONFIG_VOCAB, CONFIG_VOCAB),
    CONFIG_FIELD(context, KIND_COUNT, 2, 4096),
    CONFIG_FIELD(batch, KIND_COUNT, 1, 4096),
    CONFIG_FIELD(tied, KIND_FLAG, 0, 1),
    CONFIG_FIELD(rope_base, KIND_REAL, 1, 1e8),
    CONFIG_FIELD(norm_epsilon, KIND_REAL, 1e-12, 1),
};
enum { CONFIG_FIELDS = sizeof config_fields / sizeof config_fields[0] };

#define HYPER_FIELD(name, kind, low, high)                              \
    {                                                                   \
#name, kind, offsetof(struct hyper_parameters, name), low, high \
    }
static const struct field hyper_fields[] = {
    HYPER_FIELD(inner_steps, KIND_COUNT, 1, 100000),
    HYPER_FIELD(warmup_steps, KIND_COUNT, 0, 1000000000),
    HYPER_FIELD(inner_rate, KIND_REAL, 0, 10),
    HYPER_FIELD(final_fraction, KIND_REAL, 0, 1),
    HYPER_FIELD(weight_decay, KIND_REAL, 0, 10),
    HYPER_FIELD(beta1, KIND_REAL, 0, 0.99999),
    HYPER_FIELD(beta2, KIND_REAL, 0, 0.999999),
    HYPER_FIELD(epsilon, KIND_REAL, 1e-20, 1),
    HYPER_FIELD(clip, KIND_REAL, 0, 1e9),
    HYPER_FIELD(carry_state, KIND_FLAG, 0, 1),
    HYPER_FIELD(bits, KIND_BYTE, 2, 8),
    HYPER_FIELD(residual_decay, KIND_REAL, 0, 1),
    HYPER_FIELD(outer_rate, KIND_REAL, 0, 100),
    HYPER_FIELD(outer_momentum, KIND_REAL, 0, 0.9999),
};
enum { HYPER_FIELDS = sizeof hyper_fields / sizeof hyper_fields[0] };

static uint32_t *count_at(void *base, const struct field *f)
{
    return (uint32_t *)(void *)((char *)base + f->offset);
}

static uint8_t *byte_at(void *base, const struct field *f)
{
    return (uint8_t *)base + f->offset;
}

static float *real_at(void *base, const struct field *f)
{
    return (float *)(void *)((char *)base + f->offset);
}

static bool *flag_at(void *base, const struct field *f)
{
    return (bool *)(void *)((char *)base + f->offset);
}

const struct model_config *config_preset(const char *name)
{
    static const struct model_config presets[] = {
        {"small", 4, 128, 4, 344, CONFIG_VOCAB, 64, 12, true, 10000, 1e-5f},
        {"baby", 6, 384, 6, 1024, CONFIG_VOCAB, 256, 64, true, 10000, 1e-5f},
    };
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++)
        if (strcmp(presets[i].name, name) == 0) return &presets[i];
    return NULL;
}

struct hyper_parameters hyper_defaults(void)
{
    return (struct hyper_parameters){
        .inner_steps = 10,
        .warmup_steps = 100,
        .inner_rate = 2e-3f,
        .final_fraction = 0.1f,
        .weight_decay = 0.1f,
        .beta1 = 0.9f,
        .beta2 = 0.95f,
        .epsilon = 1e-8f,
        .clip = 1,
        .carry_state = true,
        .bits = 8,
        .residual_decay = 0.95f,
        .outer_rate = 1,
        .outer_momentum = 0,
    };
}

__attribute__((format(printf, 2, 3))) static enum core_err refuse(char *why, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(why, CONFIG_WHY_SIZE, format, list);
    va_end(list);
    return CORE_ERR_USAGE;
}

// The fields are read and written through one set of accessors; what is const stays so.
static double value_of(const void *base, const struct field *f)
{
    void *at = (void *)(uintptr_t)base;
    switch (f->kind) {
    case KIND_COUNT: return *count_at(at, f);
    case KIND_BYTE: return *byte_at(at, f);
    case KIND_REAL: return (double)*real_at(at, f);
    case KIND_FLAG: break;
    }
    return *flag_at(at, f);
}

static enum core_err check_field(const void *base, const struct field *f, char *why)
{
    double value = value_of(base, f);
    // Limits are rounded as the field is: 1e-12 means the float nearest to it. A NaN is in no range.
    if (f->kind == KIND_REAL ? value >= (double)(float)f->low && value <= (double)(float)f->high
                             : value >= f->low && value <= f->high)
        return CORE_ERR_OK;
    if (f->low == f->high) return refuse(why, "%s is %.9g; only %.9g is supported", f->name, value, f->low);
    return refuse(why, "%s is %.9g; it must lie from %.9g to %.9g", f->name, value, f->low, f->high);
}

static bool name_is_plain(const char name[CONFIG_NAME_SIZE])
{
    size_t size = strnlen(name, CONFIG_NAME_SIZE);
    if (size == 0 || size == CONFIG_NAME_SIZE) return false;
    for (size_t i = 0; i < size; i++) {
        char c = name[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.", c);
        if (!plain) return false;
    }
    return true;
}

enum core_err config_check(const struct model_config *config, char *why)
{
    for (size_t i = 0; i < CONFIG_FIELDS; i++) {
        enum core_err err = check_field(config, &config_fields[i], why);
        if (err) return err;
    }
    if (!name_is_plain(config->name))
        return refuse(why, "name must be 1 to %d letters, digits, '-', '_' or '.'", CONFIG_NAME_SIZE - 1);
    if (config->width % (2 * config->heads) != 0)
        return refuse(why, "width %u is not a multiple of 2 * heads (%u): a head's width must be even", config->width,
                      2 * config->heads);
    if (config->width / config->heads > 128)
        return refuse(why, "width %u over %u heads makes heads of %u; at most 128", config->width, config->heads,
                      config->width / config->heads);
    if ((uint64_t)config->batch * config->context > 1 << 22)
        return refuse(why, "batch %u of context %u is more than 4194304 tokens a step", config->batch, config->context);
    return CORE_ERR_OK;
}

enum core_err hyper_check(const struct hyper_parameters *hyper, char *why)
{
    for (size_t i = 0; i < HYPER_FIELDS; i++) {
        enum core_err err = check_field(hyper, &hyper_fields[i], why);
        if (err) return err;
    }
    return CORE_ERR_OK;
}

// --- The model file ---

static void trim(char **text)
{
    while (**text == ' ' || **text == '\t') (*text)++;
    size_t size = strlen(*text);
    while (size > 0 && strchr(" \t\r", (*text)[size - 1])) (*text)[--size] = 0;
}

static enum core_err parse_value(const struct field *f, char *value, void *base, int line, char *why)
{
    char *end = value;
    if (f->kind == KIND_FLAG) {
        bool yes = strcmp(value, "yes") == 0;
        if (!yes && strcmp(value, "no") != 0) return refuse(why, "line %d: %s is yes or no", line, f->name);
        *flag_at(base, f) = yes;
        return CORE_ERR_OK;
    }
    double number = strtod(value, &end);
    if (end == value || *end || !isfinite(number))
        return refuse(why, "line %d: %s needs a number, not '%.40s'", line, f->name, value);
    if (number < f->low || number > f->high || (f->kind == KIND_COUNT && number != floor(number)))
        return refuse(why, "line %d: %s is %.40s; it must be %s from %.9g to %.9g", line, f->name, value,
                      f->kind == KIND_COUNT ? "a whole number" : "a number", f->low, f->high);
    if (f->kind == KIND_COUNT)
        *count_at(base, f) = (uint32_t)number;
    else
        *real_at(base, f) = (float)number;
    return CORE_ERR_OK;
}

static enum core_err parse_line(char *text, int line, bool first, struct model_config *config, char *why)
{
    char *equals = strchr(text, '=');
    if (!equals) return refuse(why, "line %d: expected 'key = value'", line);
    *equals = 0;
    char *key = text, *value = equals + 1;
    trim(&key);
    trim(&value);
    if (strcmp(key, "preset") == 0) {
        const struct model_config *preset = config_preset(value);
        if (!first) return refuse(why, "line %d: preset must come before every other key", line);
        if (!preset) return refuse(why, "line %d: no preset '%.40s'; there are small and baby", line, value);
        *config = *preset;
        return CORE_ERR_OK;
    }
    if (strcmp(key, "name") == 0) {
        if (strlen(value) >= CONFIG_NAME_SIZE)
            return refuse(why, "line %d: name is longer than %d letters", line, CONFIG_NAME_SIZE - 1);
        memset(config->name, 0, sizeof config->name);
        memcpy(config->name, value, strlen(value));
        return CORE_ERR_OK;
    }
    for (size_t i = 0; i < CONFIG_FIELDS; i++)
        if (strcmp(config_fields[i].name, key) == 0) return parse_value(&config_fields[i], value, config, line, why);
    return refuse(why, "line %d: unknown key '%.40s'", line, key);
}

enum core_err config_parse(const char *text, size_t size, struct model_config *config, char *why)
{
    *config = *config_preset("small");
    memset(config->name, 0, sizeof config->name);
    memcpy(config->name, "custom", 6);
    bool first = true;
    int line = 0;
    for (size_t at = 0; at < size;) {
        const char *newline = memchr(text + at, '\n', size - at);
        size_t length = newline ? (size_t)(newline - (text + at)) : size - at;
        line++;
        char copy[LINE_MAX_SIZE + 1];
        if (length > LINE_MAX_SIZE) return refuse(why, "line %d: longer than %d bytes", line, LINE_MAX_SIZE);
        memcpy(copy, text + at, length);
        copy[length] = 0;
        at += length + 1;
        if (strlen(copy) != length) return refuse(why, "line %d: a zero byte; this is not a text", line);
        char *start = copy;
        copy[strcspn(copy, "#;")] = 0;
        trim(&start);
        if (*start == 0 || *start == '[') continue;
        enum core_err err = parse_line(start, line, first, config, why);
        if (err) return err;
        first = false;
    }
    if (first) return refuse(why, "the model file sets nothing; it needs lines like 'layers = 4'");
    return config_check(config, why);
}

// --- Canonical bytes ---

static void encode_fields(struct writer *w, const void *base, const struct field *fields, size_t count)
{
    void *at = (void *)(uintptr_t)base;
    for (const struct field *f = fields; f < fields + count; f++) {
        switch (f->kind) {
        case KIND_COUNT: write_u32(w, *count_at(at, f)); break;
        case KIND_BYTE: write_u8(w, *byte_at(at, f)); break;
        case KIND_REAL: write_f32(w, *real_at(at, f)); break;
        case KIND_FLAG: write_u8(w, *flag_at(at, f)); break;
        }
    }
}

static enum core_err decode_fields(struct reader *r, void *base, const struct field *fields, size_t count)
{
    bool canonical = true;
    for (const struct field *f = fields; f < fields + count; f++) {
        float real = 0;
        uint8_t flag = 0;
        switch (f->kind) {
        case KIND_COUNT: *count_at(base, f) = read_u32(r); break;
        case KIND_BYTE: *byte_at(base, f) = read_u8(r); break;
        case KIND_REAL:
            real = read_f32(r);
            // -0 equals 0 and would be a second spelling of the same value.
            if (real == 0 && signbit(real)) canonical = false;
            *real_at(base, f) = real;
            break;
        case KIND_FLAG:
            flag = read_u8(r);
            if (flag > 1) canonical = false;
            *flag_at(base, f) = flag == 1;
            break;
        }
    }
    if (r->failed) return CORE_ERR_TRUNCATED;
    return canonical ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

void config_encode(struct writer *w, const struct model_config *config)
{
    write_u8(w, CONFIG_VERSION);
    write_slice(w, (struct slice){(const uint8_t *)config->name, strnlen(config->name, CONFIG_NAME_SIZE)});
    encode_fields(w, config, config_fields, CONFIG_FIELDS);
}

enum core_err config_decode(struct reader *r, struct model_config *config)
{
    memset(config, 0, sizeof *config);
    uint8_t version = read_u8(r);
    if (!r->failed && version != CONFIG_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    struct slice name = read_slice(r, CONFIG_NAME_SIZE - 1);
    if (!r->failed) memcpy(config->name, name.data, name.size);
    enum core_err err = decode_fields(r, config, config_fields, CONFIG_FIELDS);
    if (err) return err;
    char why[CONFIG_WHY_SIZE];
    if (strlen(config->name) != name.size || config_check(config, why)) return CORE_ERR_MALFORMED;
    return CORE_ERR_OK;
}

void hyper_encode(struct writer *w, const struct hyper_parameters *hyper)
{
    write_u8(w, HYPER_VERSION);
    encode_fields(w, hyper, hyper_fields, HYPER_FIELDS);
}

enum core_err hyper_decode(struct reader *r, struct hyper_parameters *hyper)
{
    memset(hyper, 0, sizeof *hyper);
    uint8_t version = read_u8(r);
    if (!r->failed && version != HYPER_VERSION) return CORE_ERR_UNKNOWN_VERSION;
    enum core_err err = decode_fields(r, hyper, hyper_fields, HYPER_FIELDS);
    if (err) return err;
    char why[CONFIG_WHY_SIZE];
    return hyper_check(hyper, why) ? CORE_ERR_MALFORMED : CORE_ERR_OK;
}
