// Presets, model files, limits and canonical bytes of configurations.
#include "learn/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void presets_are_the_documented_ones(void **state)
{
    (void)state;
    const struct model_config *small = config_preset("small"), *baby = config_preset("baby");
    char why[CONFIG_WHY_SIZE];
    assert_non_null(small);
    assert_int_equal(small->layers, 4);
    assert_int_equal(small->width, 128);
    assert_int_equal(small->heads, 4);
    assert_int_equal(small->inner, 344);
    assert_int_equal(small->context, 64);
    assert_int_equal(small->batch, 12);
    assert_true(small->tied);
    assert_int_equal(baby->layers, 6);
    assert_int_equal(baby->width, 384);
    assert_int_equal(baby->context, 256);
    assert_int_equal(baby->batch, 64);
    assert_null(config_preset("large"));
    assert_int_equal(config_check(small, why), CORE_ERR_OK);
    assert_int_equal(config_check(baby, why), CORE_ERR_OK);
    struct hyper_parameters hyper = hyper_defaults();
    assert_int_equal(hyper_check(&hyper, why), CORE_ERR_OK);
}

static void a_model_file_starts_from_a_preset(void **state)
{
    (void)state;
    static const char text[] =
        "# mine\npreset = baby\r\n  name=tiny-1 ; note\n\nlayers = 2\ntied = no\nnorm_epsilon = 1e-6";
    struct model_config config;
    char why[CONFIG_WHY_SIZE] = "";
    assert_int_equal(config_parse(text, sizeof text - 1, &config, why), CORE_ERR_OK);
    assert_string_equal(config.name, "tiny-1");
    assert_int_equal(config.layers, 2);
    assert_int_equal(config.width, 384);
    assert_false(config.tied);
    assert_true(config.norm_epsilon == 1e-6f);
}

static void a_wrong_model_file_is_explained(void **state)
{
    (void)state;
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"layers = 0", "line 1: layers is 0"},
        {"layers = 2.5", "line 1: layers is 2.5"},
        {"layers = two", "line 1: layers needs a number"},
        {"layers = nan", "line 1: layers needs a number"},
        {"layers", "line 1: expected 'key = value'"},
        {"\n\nlayer = 3", "line 3: unknown key 'layer'"},
        {"layers = 3\npreset = baby", "line 2: preset must come before"},
        {"preset = huge", "line 1: no preset 'huge'"},
        {"tied = 1", "line 1: tied is yes or no"},
        {"width = 100\nheads = 8", "width 100 is not a multiple of 2 * heads (16)"},
        {"width = 512\nheads = 2", "heads of 256; at most 128"},
        {"vocab = 50257", "line 1: vocab is 50257"},
        {"name = a/b", "name must be"},
        {"batch = 4096\ncontext = 4096", "tokens a step"},
        {"# nothing\n", "sets nothing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct model_config config;
        char why[CONFIG_WHY_SIZE] = "";
        assert_int_equal(config_parse(cases[i].text, strlen(cases[i].text), &config, why), CORE_ERR_USAGE);
        if (!strstr(why, cases[i].reason)) fail_msg("'%s' gave '%s'", cases[i].text, why);
    }
}

static void bytes_come_back_and_only_their_own(void **state)
{
    (void)state;
    uint8_t raw[CONFIG_ENCODED_MAX];
    struct model_config config = *config_preset("small"), back;
    memset(config.name, 'x', CONFIG_NAME_SIZE - 1);
    struct writer w = writer_over(raw, sizeof raw);
    config_encode(&w, &config);
    assert_false(w.overflowed);
    struct reader r = reader_over(raw, w.size);
    assert_int_equal(config_decode(&r, &back), CORE_ERR_OK);
    assert_true(reader_finished(&r));
    assert_memory_equal(&config, &back, sizeof config);
    for (size_t cut = 0; cut < w.size; cut++) {
        r = reader_over(raw, cut);
        assert_int_equal(config_decode(&r, &back), CORE_ERR_TRUNCATED);
    }
    raw[0] = 9;
    r = reader_over(raw, w.size);
    assert_int_equal(config_decode(&r, &back), CORE_ERR_UNKNOWN_VERSION);
    raw[0] = 1;
    raw[5] = '/';
    r = reader_over(raw, w.size);
    assert_int_equal(config_decode(&r, &back), CORE_ERR_MALFORMED);
}

static void hyper_parameters_that_cannot_be_are_malformed(void **state)
{
    (void)state;
    uint8_t raw[HYPER_ENCODED_MAX];
    struct hyper_parameters hyper = hyper_defaults(), back;
    struct writer w = writer_over(raw, sizeof raw);
    hyper_encode(&w, &hyper);
    assert_false(w.overflowed);
    // By hand: version, inner_steps 10, warmup_steps 100, inner_rate 2e-3 = 0x3b03126f.
    static const uint8_t head[] = {1, 10, 0, 0, 0, 100, 0, 0, 0, 0x6f, 0x12, 0x03, 0x3b};
    assert_memory_equal(raw, head, sizeof head);
    struct reader r = reader_over(raw, w.size);
    assert_int_equal(hyper_decode(&r, &back), CORE_ERR_OK);
    assert_true(back.inner_rate == 2e-3f && back.bits == 8 && back.carry_state && back.outer_rate == 1);
    static const uint8_t nan[] = {0, 0, 0xc0, 0x7f}, minus_zero[] = {0, 0, 0, 0x80}, bits[] = {9};
    static const struct {
        size_t at;
        const uint8_t *bytes;
        size_t size;
    } wrong[] = {{9, nan, 4}, {13, minus_zero, 4}, {38, bits, 1}, {37, bits, 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint8_t copy[HYPER_ENCODED_MAX];
        memcpy(copy, raw, sizeof raw);
        memcpy(copy + wrong[i].at, wrong[i].bytes, wrong[i].size);
        r = reader_over(copy, w.size);
        assert_int_equal(hyper_decode(&r, &back), CORE_ERR_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_are_the_documented_ones),
        cmocka_unit_test(a_model_file_starts_from_a_preset),
        cmocka_unit_test(a_wrong_model_file_is_explained),
        cmocka_unit_test(bytes_come_back_and_only_their_own),
        cmocka_unit_test(hyper_parameters_that_cannot_be_are_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
