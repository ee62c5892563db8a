// Training states on disk: what is saved comes back bit by bit, what is spoilt is refused; blobs are counted.
#include "node/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tsan_start.h"

#include "core/sign.h"
#include "learn/outer.h"
#include "node/blobs.h"

static char folder[64];
static struct home home;
static struct model_config config;
static const struct core_hash run = {{1, 2, 3}};

static int open_home(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/mycel-test-snapshot-XXXXXX");
    if (!mkdtemp(folder) || sign_start()) return -1;
    config = *config_preset("small");
    config.layers = 1;
    config.width = 32;
    config.heads = 2;
    config.inner = 48;
    return home_open_new(&home, folder) ? -1 : 0;
}

static int close_home(void **state)
{
    (void)state;
    home_close(&home);
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static struct snapshot *make(bool momentum)
{
    struct snapshot *s;
    assert_int_equal(snapshot_new(&s, tensors_elements(&config), momentum), CORE_ERR_OK);
    tensors_init(&config, 5, s->params);
    if (momentum) tensors_init(&config, 6, s->momentum);
    s->round = 7;
    s->attempt = 1;
    s->params_hash = tensors_hash(&config, s->params, NULL);
    s->outer_hash = outer_hash(&config, momentum ? 1 : 0, s->momentum);
    assert_int_equal(run_inner_new(&s->inner, &config), CORE_ERR_OK);
    s->inner->state.steps = 70;
    s->inner->state.m[3] = 0.5f;
    s->inner->state.residual[9] = -2;
    s->inner->hash = s->inner_hash = inner_state_hash(&s->inner->state);
    s->has_inner = true;
    return s;
}

static void what_is_saved_comes_back(void **state)
{
    (void)state;
    for (int momentum = 0; momentum < 2; momentum++) {
        struct snapshot *s = make(momentum), *back;
        char name[RUN_FILE_NAME];
        run_params_name(name, &run, 7, 1);
        assert_int_equal(snapshot_save(&home, &run, s), CORE_ERR_OK);
        assert_int_equal(run_inner_save(&home, &run, 7, s->inner), CORE_ERR_OK);
        assert_int_equal(snapshot_load(&home, &run, name, &config, true, &back), CORE_ERR_OK);
        assert_int_equal(back->round, 7);
        assert_memory_equal(back->params, s->params, s->elements * sizeof(float));
        assert_int_equal(back->momentum != NULL, momentum);
        assert_true(back->has_inner && back->inner);
        assert_int_equal(back->inner->state.steps, 70);
        assert_true(back->inner->state.residual[9] == -2);
        snapshot_release(back);
        snapshot_release(s);
    }
}

static void flip(const char *name, long offset)
{
    char path[HOME_PATH_SIZE + 256];
    home_file(&home, name, path);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    fseek(f, offset, SEEK_SET);
    int byte = fgetc(f);
    fseek(f, offset, SEEK_SET);
    fputc(byte ^ 1, f);
    fclose(f);
}

static void what_is_spoilt_is_refused(void **state)
{
    (void)state;
    struct snapshot *s = make(true), *back;
    char name[RUN_FILE_NAME], inner[RUN_FILE_NAME];
    run_params_name(name, &run, 7, 1);
    run_inner_name(inner, &run, 7, &s->inner_hash);
    assert_int_equal(snapshot_save(&home, &run, s), CORE_ERR_OK);
    assert_int_equal(run_inner_save(&home, &run, 7, s->inner), CORE_ERR_OK);
    flip(name, SNAPSHOT_HEAD + 100);
    assert_int_equal(snapshot_load(&home, &run, name, &config, true, &back), CORE_ERR_VERIFY_FAILED);
    flip(name, SNAPSHOT_HEAD + 100);
    flip(inner, 40);  // only the inner state is lost
    assert_int_equal(snapshot_load(&home, &run, name, &config, true, &back), CORE_ERR_OK);
    assert_false(back->has_inner);
    snapshot_release(back);
    struct snapshot_head head;
    assert_int_equal(snapshot_peek(&home, name, &head), CORE_ERR_OK);
    flip(name, 9);  // the round's number
    assert_int_equal(snapshot_peek(&home, name, &head), CORE_ERR_MALFORMED);
    flip(name, 9);
    char path[HOME_PATH_SIZE + 256];
    home_file(&home, name, path);
    assert_int_equal(truncate(path, SNAPSHOT_HEAD + 64), 0);
    assert_int_equal(snapshot_peek(&home, name, &head), CORE_ERR_MALFORMED);
    snapshot_release(s);
}

static void count_file(void *context, const char *name, const char *kind, uint64_t round)
{
    (void)name, (void)kind;
    *(uint64_t *)context += round;
}

static void the_folder_lists_its_rounds(void **state)
{
    (void)state;
    struct snapshot *s = make(false);
    for (s->round = 3; s->round < 6; s->round++) assert_int_equal(snapshot_save(&home, &run, s), CORE_ERR_OK);
    uint64_t sum = 0;
    run_files_each(&home, &run, count_file, &sum);
    assert_int_equal(sum, 3 + 4 + 5);
    snapshot_release(s);
}

static void blobs_live_as_long_as_they_are_held(void **state)
{
    (void)state;
    struct blobs table;
    assert_int_equal(blobs_open(&table, 3, 100), CORE_ERR_OK);
    struct blob_key key = {.run = run, .round = 1, .kind = ROUND_CONTRIBUTION, .shard = 2};
    struct blob *blob = blob_new(40, NULL);
    memset(blob->data, 9, 40);
    assert_int_equal(blobs_put(&table, &key, blob), CORE_ERR_OK);
    struct blob *held = blob_hold(blobs_find(&table, &key));
    key.round = 2;
    assert_int_equal(blobs_put(&table, &key, blob_new(40, NULL)), CORE_ERR_OK);
    key.shard = 3;
    assert_int_equal(blobs_put(&table, &key, blob_new(40, NULL)), CORE_ERR_LIMIT);  // bytes
    blobs_drop(&table, &run, 2);
    key = (struct blob_key){.run = run, .round = 1, .kind = ROUND_CONTRIBUTION, .shard = 2};
    assert_null(blobs_find(&table, &key));
    assert_int_equal(held->data[39], 9);
    blob_release(held);
    assert_int_equal(table.bytes, 40);
    struct core_hash other = {{7}};
    blobs_drop(&table, &other, UINT64_MAX);
    assert_int_equal(table.count, 1);
    blobs_close(&table);
}

// What others of this host shall map is sealed once it is in the table, and counted; a buffer is kept, not copied.
static void shared_blobs_are_sealed_and_counted(void **state)
{
    (void)state;
    const struct blob_key key = {.run = run, .round = 1, .kind = ROUND_CONTRIBUTION, .shard = 2};
    struct blobs large;
    assert_int_equal(blobs_open(&large, 3, 1 << 20), CORE_ERR_OK);
    struct blob *shared = blob_new(512 << 10, blobs_slabs(&large));
    memset(shared->data, 7, shared->size);
    assert_int_equal(blobs_put(&large, &key, shared), CORE_ERR_OK);
    assert_int_equal(large.shared, 1);
    assert_true(buffer_is_slab(shared->buffer) && buffer_descriptor(shared->buffer) >= 0);
    assert_int_equal(shared->data[shared->size - 1], 7);
    struct blob *same = blob_of(shared->buffer);
    blobs_drop(&large, &run, 2);
    assert_int_equal(large.shared, 0);
    assert_int_equal(same->data[0], 7);
    blob_release(same);
    blobs_close(&large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_saved_comes_back, open_home, close_home),
        cmocka_unit_test_setup_teardown(what_is_spoilt_is_refused, open_home, close_home),
        cmocka_unit_test_setup_teardown(the_folder_lists_its_rounds, open_home, close_home),
        cmocka_unit_test(blobs_live_as_long_as_they_are_held),
        cmocka_unit_test(shared_blobs_are_sealed_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
