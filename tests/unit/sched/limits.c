// The owner's words about GPUs, and limits beside what the machine has: each refusal names what there is.
#include "sched/limits.h"

#include "machines.h"

static const struct sched_device devices[] = {{.name = "nvidia:0"}, {.name = "nvidia:1"}, {.name = "amd:0"}};

static void refused(const char *text, uint32_t count, const char *sentence)
{
    struct sched_limits l = {0};
    char why[SCHED_WHY_SIZE] = "";
    assert_int_equal(sched_limits_gpus(text, devices, count, &l, why), CORE_ERR_USAGE);
    assert_string_equal(why, sentence);
}

static struct sched_limits taken(const char *text)
{
    struct sched_limits l = {.gpus = 77, .gpus_named = true, .gpu_named = {[2] = true}};
    char why[SCHED_WHY_SIZE] = "";
    assert_int_equal(sched_limits_gpus(text, devices, 3, &l, why), CORE_ERR_OK);
    return l;
}

static void words(void **state)
{
    (void)state;
    struct sched_limits l = taken("all");
    assert_true(!l.gpus_limited && !l.gpus_named && !l.gpu_named[2]);
    l = taken("none");
    assert_true(l.gpus_limited && !l.gpus_named && l.gpus == 0);
    l = taken("2");
    assert_true(l.gpus_limited && !l.gpus_named && l.gpus == 2);
    l = taken("amd:0,nvidia:1");
    assert_true(l.gpus_limited && l.gpus_named && !l.gpu_named[0] && l.gpu_named[1] && l.gpu_named[2]);
}

static void words_that_are_wrong(void **state)
{
    (void)state;
    refused("4", 3, "--gpus 4: this machine has 3 GPUs: nvidia:0, nvidia:1, amd:0");
    refused("1", 0, "--gpus 1: this machine has no GPU that works");
    refused("0", 3, "--gpus 0: say `--gpus none` for no GPU");
    refused("-1", 1, "--gpus -1: no such GPU, this machine has 1 GPU: nvidia:0");
    refused("nvidia:7", 2, "--gpus nvidia:7: no such GPU, this machine has 2 GPUs: nvidia:0, nvidia:1");
    refused("nvidia:0,", 1, "--gpus : no such GPU, this machine has 1 GPU: nvidia:0");
    refused("nvidia:0,nvidia", 2, "--gpus nvidia: no such GPU, this machine has 2 GPUs: nvidia:0, nvidia:1");
    refused("", 1, "--gpus : no such GPU, this machine has 1 GPU: nvidia:0");
    refused("99999999999999999999", 1, "--gpus 99999999999999999999: no such GPU, this machine has 1 GPU: nvidia:0");
}

// However many devices and however long a word, the sentence fits.
static void long_sentences_are_cut(void **state)
{
    (void)state;
    struct sched_device many[SCHED_MAX_DEVICES];
    char word[2000], why[SCHED_WHY_SIZE];
    struct sched_limits l = {0};
    for (uint32_t i = 0; i < SCHED_MAX_DEVICES; i++) snprintf(many[i].name, sizeof many[i].name, "nvidia:%07u", i);
    memset(word, 'x', sizeof word - 1);
    word[sizeof word - 1] = 0;
    assert_int_equal(sched_limits_gpus(word, many, SCHED_MAX_DEVICES, &l, why), CORE_ERR_USAGE);
    assert_true(strlen(why) < sizeof why);
}

static void beyond_the_machine(void **state)
{
    (void)state;
    struct sched_topology *t = machine_open("cloud-vm");
    char why[SCHED_WHY_SIZE] = "";
    struct sched_limits l = {.cpus = 2, .share_percent = 100, .memory_bytes = (uint64_t)1 << 30};
    assert_int_equal(sched_limits_check(&l, t, why), CORE_ERR_OK);
    l.cpus = 3;
    assert_int_equal(sched_limits_check(&l, t, why), CORE_ERR_USAGE);
    assert_string_equal(why, "--cpus 3: 2 cpus may be used here");
    l = (struct sched_limits){.share_percent = 101};
    assert_int_equal(sched_limits_check(&l, t, why), CORE_ERR_USAGE);
    assert_string_equal(why, "--share 101: it is a percentage, 1 to 100");
    l = (struct sched_limits){.memory_bytes = (uint64_t)2 << 30};
    t->facts.memory_limit_bytes = (uint64_t)1 << 30;  // a container's
    assert_int_equal(sched_limits_check(&l, t, why), CORE_ERR_USAGE);
    assert_string_equal(why, "--memory 2048 MiB: 1024 MiB may be used here");
    sched_topology_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(words_that_are_wrong),
        cmocka_unit_test(long_sentences_are_cut),
        cmocka_unit_test(beyond_the_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
