// The GPU's side of the device interface against the fake driver: what it finds, every call made to fail once, memory
// that runs out, and images that lie in the binary.
#include "naive.h"

#include "hip/driver.h"
#include "hip/gpu.h"

#include <unistd.h>

static struct fake_control *control;
static struct fake_control fresh;

static int setup(void **state)
{
    (void)state;
    control = fake_use();
    if (control) fresh = *control;
    return 0;
}

// As at first, but for what failing frees left behind.
static void again(void)
{
    const size_t live = control->live;
    *control = fresh;
    control->live = live;
}

static int begin(void **state)
{
    (void)state;
    if (control) again();
    return 0;
}

static void finds_devices_of_both_vendors(void **state)
{
    (void)state;
    if (!control) skip();
    struct hip_found found[8];
    assert_int_equal(hip_devices_find(found, 8), 4);
    static const char *const names[] = {"nvidia:0", "nvidia:1", "amd:0", "amd:1"};
    for (int i = 0; i < 4; i++) {
        assert_string_equal(found[i].name, names[i]);
        assert_true(found[i].usable);
        assert_string_equal(found[i].why, "");
        assert_true(found[i].facts.memory_bytes == fresh.memory);
        assert_string_equal(found[i].facts.pci, i % 2 ? "0000:02:00.0" : "0000:01:00.0");
        assert_true(!strncmp(found[i].facts.isa, i < 2 ? "sm_" : "gfx", 3));
    }
    assert_int_equal(hip_devices_find(found, 3), 3);
}

static void names_what_is_not_there(void **state)
{
    (void)state;
    if (!control) skip();
    struct hip_device *d;
    char why[HIP_WHY_SIZE];
    static const char *const wrong[] = {
        "", "gpu", "nvidia:", "nvidia:x", "nvidia:-1", "nvidia:0x", "nvidia:99", "amdx", "amd:99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(hip_device_open(wrong[i], NULL, &d), CORE_ERR_NOT_FOUND);
    assert_int_equal(hip_device_open_told("nvidia:7", NULL, &d, why, sizeof why), CORE_ERR_NOT_FOUND);
    assert_non_null(strstr(why, "shows 2 devices"));
    control->devices = 0;
    assert_int_equal(hip_device_open_told("amd", NULL, &d, why, sizeof why), CORE_ERR_NOT_FOUND);
    assert_non_null(strstr(why, "no AMD GPU"));
    struct hip_found found[8];
    assert_int_equal(hip_devices_find(found, 8), 0);
}

static void an_old_or_missing_driver_is_said(void **state)
{
    (void)state;
    struct hip_device *d;
    char why[HIP_WHY_SIZE];
    setenv("MYCEL_CUDA_LIBRARY", "libm.so.6", 1);  // a library without a single one of the calls
    assert_int_equal(hip_device_open_told("nvidia", NULL, &d, why, sizeof why), CORE_ERR_UNSUPPORTED);
    assert_non_null(strstr(why, "too old: it has no cuInit"));
    struct hip_found found[8];
    uint32_t count = hip_devices_find(found, 8);
    assert_true(count >= 1 && !found[0].usable);
    assert_non_null(strstr(found[0].why, "too old"));
    setenv("MYCEL_CUDA_LIBRARY", "/nonexistent/libcuda.so", 1);
    assert_int_equal(hip_device_open_told("nvidia", NULL, &d, why, sizeof why), CORE_ERR_UNSUPPORTED);
    assert_non_null(strstr(why, "/nonexistent/libcuda.so"));
    fake_use();
}

// A stretch of work that makes every call: 0 when all went well.
static enum core_err work(const char *name)
{
    enum { COUNT = 5000 };
    struct hip_device *d;
    struct hip_stream *s;
    struct hip_event *e;
    void *x = NULL, *y = NULL;
    static float host[COUNT];
    float sum = 0;
    for (int i = 0; i < COUNT; i++) host[i] = 1;
    enum core_err err = hip_device_open(name, NULL, &d);
    if (err) return err;
    err = hip_stream_open(d, &s);
    if (!err) {
        err = hip_alloc(d, sizeof host, &x);
        if (!err) err = hip_alloc(d, sizeof host, &y);
        if (!err) err = hip_event_open(d, &e);
        if (!err) {
            hip_event_record(e, s);
            hip_upload(s, x, host, sizeof host);
            hip_copy(s, y, x, sizeof host);
            hip_zero(s, x, sizeof(float));
            hip_sum(s, &(struct hip_sum){y, x, COUNT});
            hip_download(s, &sum, x, sizeof sum);
            err = hip_stream_wait(s);
            hip_event_wait(e);
            (void)hip_event_seconds(e, e);
            hip_event_close(e);
        }
        hip_free(d, x);
        hip_free(d, y);
        hip_stream_close(s);
    }
    hip_device_close(d);
    if (!err && sum != COUNT) return CORE_ERR_VERIFY_FAILED;
    return err;
}

static void every_call_may_fail(void **state)
{
    (void)state;
    if (!control) skip();
#define NAME(field, nvidia, amd, arguments)   #field,
#define NAME_OF_ONE(field, symbol, arguments) #field,
    static const char *const calls[] = {DRIVER_CALLS(NAME) DRIVER_CALLS_NVIDIA(NAME_OF_ONE)
                                            DRIVER_CALLS_AMD(NAME_OF_ONE)};
    // What may fail without harm to the work: facts, an event's time, and giving back.
    static const char *const harmless[] = {
        "version",  "name",        "memory",       "pci",          "attribute", "error_text",     "event_wait",
        "event_ms", "event_close", "stream_close", "module_close", "free",      "context_release"};
    for (int amd = 0; amd < 2; amd++) {
        const char *name = amd ? "amd:1" : "nvidia:0";
        for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
            bool may = false;
            for (size_t h = 0; h < sizeof harmless / sizeof *harmless; h++) may |= !strcmp(harmless[h], calls[i]);
            if (!strcmp(calls[i], amd ? "context_hold" : "device_set") || (amd && !strcmp(calls[i], "context_set")))
                continue;  // the other vendor's
            for (unsigned after = 0; after < 4; after++) {
                again();
                control->fail = calls[i];
                control->fail_after = after;
                enum core_err err = work(name);
                const bool happened = control->fail_after == 0 && !may;
                if (after == 0 && happened && err == CORE_ERR_OK) fail_msg("%s failed and nobody noticed", calls[i]);
                assert_true(err == CORE_ERR_OK || err == CORE_ERR_IO || err == CORE_ERR_UNSUPPORTED ||
                            err == CORE_ERR_NOT_FOUND);
                again();
                assert_int_equal(work(name), CORE_ERR_OK);  // and it works again
            }
        }
    }
}

static void a_driver_of_the_wrong_version_is_said(void **state)
{
    (void)state;
    if (!control) skip();
    struct hip_device *d;
    char why[HIP_WHY_SIZE];
    control->version = 9020;
    assert_int_equal(hip_device_open_told("nvidia", NULL, &d, why, sizeof why), CORE_ERR_UNSUPPORTED);
    assert_non_null(strstr(why, "version 9020, and 10000 is the first"));
}

static void a_refused_image_is_said(void **state)
{
    (void)state;
    if (!control) skip();
    struct hip_device *d;
    char why[HIP_WHY_SIZE];
    control->fail = "module_open";
    assert_int_equal(hip_device_open_told("nvidia:1", NULL, &d, why, sizeof why), CORE_ERR_UNSUPPORTED);
    assert_non_null(strstr(why, "Emulated device 1"));
    assert_non_null(strstr(why, "driver 12040"));
    assert_non_null(strstr(why, "sm_80 FAKE_ERROR_BROKEN, sm_75 FAKE_ERROR_BROKEN"));
    assert_int_equal(hip_device_open_told("amd", NULL, &d, why, sizeof why), CORE_ERR_UNSUPPORTED);
    assert_non_null(strstr(why, "gfx942 FAKE_ERROR_BROKEN") ? why : strstr(why, "gfx942 error 999"));
}

// A device that goes in the middle: all on it fails from then on, the other goes on, closing ends, and once it is back
// it opens again.
static void a_lost_device_is_said_and_opens_again(void **state)
{
    (void)state;
    if (!control) skip();
    struct hip_device *d, *other;
    struct hip_stream *s, *t;
    void *x, *y;
    char path[64], file[80], why[HIP_WHY_SIZE];
    snprintf(path, sizeof path, "/tmp/mycel-fake-%d", (int)getpid());
    snprintf(file, sizeof file, "%s.0", path);
    control->lost = path;
    assert_int_equal(hip_device_open("nvidia:0", NULL, &d), CORE_ERR_OK);
    assert_int_equal(hip_device_open("nvidia:1", NULL, &other), CORE_ERR_OK);
    assert_int_equal(hip_stream_open(d, &s), CORE_ERR_OK);
    assert_int_equal(hip_stream_open(other, &t), CORE_ERR_OK);
    assert_int_equal(hip_alloc(d, 4096, &x), CORE_ERR_OK);
    hip_device_why(d, why, sizeof why);
    assert_string_equal(why, "");
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fclose(f);
    hip_scale(s, &(struct hip_scale){x, 1024, 2});
    assert_int_equal(hip_stream_wait(s), CORE_ERR_IO);
    hip_device_why(d, why, sizeof why);
    assert_string_equal(why, "Emulated device 0 (0000:01:00.0): mycel_scale: FAKE_ERROR_LOST");
    assert_int_equal(hip_alloc(d, 16, &y), CORE_ERR_IO);
    assert_int_equal(hip_alloc(other, 16, &y), CORE_ERR_OK);
    hip_scale(t, &(struct hip_scale){y, 4, 2});
    assert_int_equal(hip_stream_wait(t), CORE_ERR_OK);
    struct hip_device *again_open;
    assert_int_equal(hip_device_open_told("nvidia:0", NULL, &again_open, why, sizeof why), CORE_ERR_IO);
    assert_non_null(strstr(why, "device 0 does not open: FAKE_ERROR_LOST"));
    unlink(file);
    hip_scale(s, &(struct hip_scale){x, 1024, 2});
    assert_int_equal(hip_stream_wait(s), CORE_ERR_IO);  // what was open stays broken
    hip_free(d, x);
    hip_stream_close(s);
    hip_device_close(d);
    assert_int_equal(work("nvidia:0"), CORE_ERR_OK);
    hip_free(other, y);
    hip_stream_close(t);
    hip_device_close(other);
}

static void memory_runs_out(void **state)
{
    (void)state;
    if (!control) skip();
    struct hip_device *d;
    struct hip_stream *s;
    void *x, *y;
    control->memory = control->live + (1 << 20);
    assert_int_equal(hip_device_open("nvidia", NULL, &d), CORE_ERR_OK);
    assert_int_equal(hip_stream_open(d, &s), CORE_ERR_OK);
    assert_int_equal(hip_alloc(d, 2 << 20, &x), CORE_ERR_NO_MEMORY);
    assert_null(x);
    assert_int_equal(hip_alloc(d, 1000 << 10, &x), CORE_ERR_OK);
    assert_int_equal(hip_alloc(d, 0, &y), CORE_ERR_OK);
    // In the middle of a step: a kernel's scratch doesn't fit. The stream says so once, then goes on.
    hip_norm_grad(s, &(struct hip_norm_grad){
                         .dy = x, .x = x, .weight = x, .rstd = x, .dx = x, .dweight = x, .rows = 8192, .width = 4096});
    hip_zero(s, x, 16);
    assert_int_equal(hip_stream_wait(s), CORE_ERR_NO_MEMORY);
    hip_zero(s, x, 16);
    assert_int_equal(hip_stream_wait(s), CORE_ERR_OK);
    hip_free(d, x);
    hip_free(d, y);
    hip_stream_close(s);
    hip_device_close(d);
}

// A slice's end in the middle of a product whose sum is -0: what fills the slice must not make it +0.
static void filling_keeps_a_negative_zero(void **state)
{
    (void)state;
    if (!control) skip();
    struct hip_device *d;
    struct hip_stream *s;
    const float a = -0x1p-100f, b = 0x1p-100f;  // their product rounds to -0
    float c = 1;
    assert_int_equal(hip_device_open("nvidia", NULL, &d), CORE_ERR_OK);
    assert_int_equal(hip_stream_open(d, &s), CORE_ERR_OK);
    hip_gemm(s, &(struct hip_gemm){.m = 1, .n = 1, .k = 1, .a = &a, .b = &b, .c = &c, .lda = 1, .ldb = 1, .ldc = 1});
    assert_int_equal(hip_stream_wait(s), CORE_ERR_OK);
    const float expected = fmaf(a, b, 0.0f);
    naive_same("-0", &expected, &c, 1);
    assert_true(signbit(c));
    hip_stream_close(s);
    hip_device_close(d);
}

static void the_images_are_what_they_say(void **state)
{
    (void)state;
    assert_true(gpu_image_count >= 2);
    uint32_t amd = 0;
    for (uint32_t i = 0; i < gpu_image_count; i++) {
        const struct gpu_image *image = gpu_images + i;
        if (image->amd) {
            assert_memory_equal(image->bytes, "\177ELF", 4);
            assert_true(!strncmp(image->target, "gfx", 3));
            amd++;
            continue;
        }
        assert_true(!strncmp(image->target, "sm_", 3));
        char line[64];
        snprintf(line, sizeof line, ".target %s", image->target);
        assert_non_null(strstr(image->bytes, line));
        assert_non_null(strstr(image->bytes, ".entry mycel_product_large"));
        // No operation that flushes subnormals or is less than IEEE's.
        assert_null(strstr(image->bytes, ".ftz"));
        assert_null(strstr(image->bytes, ".approx"));
        assert_null(strstr(image->bytes, "div.full"));
    }
    assert_true(amd >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(finds_devices_of_both_vendors, begin),
        cmocka_unit_test_setup(names_what_is_not_there, begin),
        cmocka_unit_test_setup(an_old_or_missing_driver_is_said, begin),
        cmocka_unit_test_setup(every_call_may_fail, begin),
        cmocka_unit_test_setup(a_driver_of_the_wrong_version_is_said, begin),
        cmocka_unit_test_setup(a_refused_image_is_said, begin),
        cmocka_unit_test_setup(a_lost_device_is_said_and_opens_again, begin),
        cmocka_unit_test_setup(memory_runs_out, begin),
        cmocka_unit_test_setup(filling_keeps_a_negative_zero, begin),
        cmocka_unit_test(the_images_are_what_they_say),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
