// The tensor order, the first parameters and their hashes; the order of the data.
#include "learn/tensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "learn/data.h"

static void tensors_tile_the_vector(void **state)
{
    (void)state;
    struct model_config config = *config_preset("small");
    // By hand: 256*128 + 4 * (128 + 3*128*128 + 128*128 + 128 + 2*344*128 + 128*344) + 128.
    assert_int_equal(tensors_parameters(&config), 824448);
    assert_int_equal(tensors_count(&config), 26);
    assert_string_equal(tensors_at(&config, 0).name, "embedding");
    assert_string_equal(tensors_at(&config, 8).name, "layers.1.attention_qkv");
    assert_string_equal(tensors_at(&config, 25).name, "final_norm");
    config.inner = 33;
    config.width = 24;
    config.tied = false;
    uint64_t at = 0;
    for (uint32_t i = 0; i < tensors_count(&config); i++) {
        struct tensor t = tensors_at(&config, i);
        assert_int_equal(t.offset % TENSORS_ALIGN, 0);
        assert_true(t.offset >= at && t.offset < at + TENSORS_ALIGN);
        assert_int_equal(t.count, (uint64_t)t.rows * t.columns);
        assert_int_equal(tensors_find(&config, t.offset), i);
        assert_int_equal(tensors_find(&config, t.offset + t.count - 1), i);
        at = t.offset + t.count;
    }
    assert_true(tensors_elements(&config) >= at && tensors_elements(&config) < at + TENSORS_ALIGN);
    assert_string_equal(tensors_at(&config, tensors_count(&config) - 1).name, "head");
}

static void first_parameters_have_their_spread(void **state)
{
    (void)state;
    const struct model_config *config = config_preset("small");
    uint64_t elements = tensors_elements(config);
    float *params = malloc(elements * sizeof *params), *again = malloc(elements * sizeof *again);
    tensors_init(config, 7, params);
    for (uint32_t i = 0; i < tensors_count(config); i++) {
        struct tensor t = tensors_at(config, i);
        double sum = 0, squares = 0, fourth = 0;
        for (uint64_t k = 0; k < t.count; k++) {
            double x = (double)params[t.offset + k];
            sum += x;
            squares += x * x;
            fourth += x * x * x * x;
        }
        double n = (double)t.count, deviation = sqrt(squares / n);
        if (t.ones) {
            assert_true(sum == n && squares == n);
            continue;
        }
        bool residual = strstr(t.name, "out") || strstr(t.name, "down");
        double wanted = residual ? 0.02 / sqrt(8) : 0.02;
        // Five standard errors; a normal's kurtosis is 3.
        assert_true(fabs(sum / n) < 5 * wanted / sqrt(n));
        assert_true(fabs(deviation / wanted - 1) < 5 / sqrt(2 * n));
        assert_true(fabs(fourth / n / pow(wanted, 4) - 3) < 5 * sqrt(96 / n));
    }
    tensors_init(config, 7, again);
    assert_memory_equal(params, again, elements * sizeof *params);
    tensors_init(config, 8, again);
    assert_true(memcmp(params, again, elements * sizeof *params) != 0);
    free(again);
    free(params);
}

// The naive twin: all chunks' leaves in an array, core's Merkle root over them, then the size.
static struct core_hash naive_part(const uint8_t *bytes, size_t size)
{
    struct core_hash leaves[16];
    size_t count = 0;
    for (size_t at = 0; at < size; at += TENSORS_CHUNK, count++)
        leaves[count] = hash_leaf(bytes + at, size - at < TENSORS_CHUNK ? size - at : TENSORS_CHUNK);
    struct core_hash whole = hash_merkle_root(leaves, count);
    return hash_part(size, &whole);
}

static void hashes_are_the_stores_object_roots(void **state)
{
    (void)state;
    uint8_t *bytes = malloc(9 * (size_t)TENSORS_CHUNK);
    for (size_t i = 0; i < 9 * (size_t)TENSORS_CHUNK; i++) bytes[i] = (uint8_t)(i * 31 + (i >> 20));
    for (size_t chunks = 0; chunks <= 8; chunks++) {
        struct core_hash a = tensors_hash_part(bytes, chunks * TENSORS_CHUNK + 5);
        struct core_hash b = naive_part(bytes, chunks * TENSORS_CHUNK + 5);
        assert_true(hash_equal(&a, &b));
    }
    struct core_hash nothing = tensors_hash_part(bytes, 0), none = naive_part(bytes, 0);
    assert_true(hash_equal(&nothing, &none));
    free(bytes);
}

static void a_hash_names_the_tensor_and_leaves_padding_out(void **state)
{
    (void)state;
    struct model_config config = *config_preset("small");
    config.width = 24;
    config.inner = 33;
    float *params = malloc(tensors_elements(&config) * sizeof *params);
    struct core_hash roots[CONFIG_TENSORS_MAX], other[CONFIG_TENSORS_MAX];
    tensors_init(&config, 1, params);
    struct core_hash before = tensors_hash(&config, params, roots);
    struct tensor norm = tensors_at(&config, 1);
    params[norm.offset + norm.count] = 3;  // padding
    struct core_hash after = tensors_hash(&config, params, other);
    assert_true(hash_equal(&before, &after));
    assert_int_equal(tensors_first_difference(&config, roots, other), UINT32_MAX);
    struct tensor down = tensors_at(&config, 6);
    params[down.offset + down.count - 1] += 1;
    after = tensors_hash(&config, params, other);
    assert_false(hash_equal(&before, &after));
    assert_int_equal(tensors_first_difference(&config, roots, other), 6);
    assert_string_equal(down.name, "layers.0.feed_down");
    free(params);
}

static void a_batch_is_a_function_of_its_place(void **state)
{
    (void)state;
    struct model_config config = *config_preset("small");
    config.batch = 200;
    uint8_t text[256];
    for (int i = 0; i < 256; i++) text[i] = (uint8_t)i;
    struct dataset data = {text, 100, text + 100, 156};
    size_t window = config.context + 1, size = config.batch * window;
    uint8_t *a = malloc(size), *b = malloc(size);
    bool seen[64] = {false};
    data_batch(&data, &config, 1, 2, 3, 4, a);
    for (uint32_t i = 0; i < config.batch; i++) {
        assert_true(a[i * window] + window <= 100);
        assert_memory_equal(a + i * window, text + a[i * window], window);
        seen[a[i * window]] = true;
    }
    // 100 - 65 + 1 = 36 starts, each missed by 200 draws with chance (35/36)^200 = 0.4 %.
    assert_true(seen[0] && seen[35]);
    static const uint32_t other[][4] = {{9, 2, 3, 4}, {1, 9, 3, 4}, {1, 2, 9, 4}, {1, 2, 3, 9}};
    for (size_t i = 0; i < 4; i++) {
        data_batch(&data, &config, other[i][0], other[i][1], other[i][2], other[i][3], b);
        assert_true(memcmp(a, b, size) != 0);
    }
    data_batch(&data, &config, 1, 2, 3, 4, b);
    assert_memory_equal(a, b, size);
    free(b);
    free(a);
}

static void held_out_windows_lie_side_by_side(void **state)
{
    (void)state;
    const struct model_config *config = config_preset("small");
    uint8_t text[1000] = {0};
    struct dataset data = {text, 200, text, 641};
    assert_int_equal(data_held_out_windows(&data, config, 0), 10);
    assert_int_equal(data_held_out_windows(&data, config, 99), 10);
    assert_int_equal(data_held_out_windows(&data, config, 4), 4);
    assert_int_equal(data_held_out_start(&data, config, 10, 9), 9 * 64);
    assert_int_equal(data_held_out_start(&data, config, 4, 0), 0);
    assert_int_equal(data_held_out_start(&data, config, 4, 3), 7 * 64);
}

static void a_short_text_is_refused_with_numbers(void **state)
{
    (void)state;
    const struct model_config *config = config_preset("small");
    uint8_t text[650] = {0};
    char why[CONFIG_WHY_SIZE] = "";
    struct dataset data = data_split(text, 650);
    assert_int_equal(data.train_size, 585);
    assert_ptr_equal(data.held_out, text + 585);
    assert_int_equal(data_check(&data, config, why), CORE_ERR_OK);
    data = data_split(text, 649);
    assert_int_equal(data_check(&data, config, why), CORE_ERR_TOO_SHORT);
    assert_string_equal(why, "the held-out part of the text has 64 bytes; a sequence of this model needs 65");
    data = data_split(text, 0);
    assert_int_equal(data_check(&data, config, why), CORE_ERR_TOO_SHORT);
    assert_string_equal(why, "the training part of the text has 0 bytes; a sequence of this model needs 65");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_tile_the_vector),
        cmocka_unit_test(first_parameters_have_their_spread),
        cmocka_unit_test(hashes_are_the_stores_object_roots),
        cmocka_unit_test(a_hash_names_the_tensor_and_leaves_padding_out),
        cmocka_unit_test(a_batch_is_a_function_of_its_place),
        cmocka_unit_test(held_out_windows_lie_side_by_side),
        cmocka_unit_test(a_short_text_is_refused_with_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
