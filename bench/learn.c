#include "bench/learn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/sum.h"
#include "gossip/tree.h"
#include "hip/device.h"
#include "learn/compress.h"
#include "learn/ngram.h"
#include "learn/outer.h"
#include "learn/trainer.h"

enum { PEERS = 4, SEEDS_MAX = 3, HELD_OUT_WINDOWS = 1000 };

static const float sync_rates[] = {1e-3f, 2e-3f, 4e-3f};
// What the sweep of seed 1 finds best: a later seed by itself need not sweep again.
#define SYNC_BEST 2e-3f
enum { RATES = sizeof sync_rates / sizeof sync_rates[0] };

struct contest {
    struct bench *bench;
    struct model_config config;
    struct hyper_parameters hyper;
    struct dataset data;
    uint8_t *texts[2];
    struct hip_device *device;
    struct hip_stream *stream;
    uint32_t rounds;
    uint64_t elements;
};

static uint8_t *read_text(const char *path, uint64_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    uint8_t *text = NULL;
    long length = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (length > 0 && fseek(file, 0, SEEK_SET) == 0) text = malloc((size_t)length);
    if (text && fread(text, 1, (size_t)length, file) != (size_t)length) {
        free(text);
        text = NULL;
    }
    fclose(file);
    *size = text ? (uint64_t)length : 0;
    return text;
}

// The quick start's plays, or the file named by --data with its last tenth held out.
static bool read_data(struct contest *c, const char *path)
{
    if (path) {
        uint64_t size;
        c->texts[0] = read_text(path, &size);
        if (c->texts[0])
            c->data = data_split(c->texts[0], size);
        else
            fprintf(stderr, "bench learn: cannot read %s\n", path);
        return c->texts[0] != NULL;
    }
    c->texts[0] = read_text(".cache/data/plays-train.txt", &c->data.train_size);
    c->texts[1] = read_text(".cache/data/plays-held-out.txt", &c->data.held_out_size);
    c->data.train = c->texts[0];
    c->data.held_out = c->texts[1];
    if (!c->texts[0] || !c->texts[1]) fprintf(stderr, "bench learn: no text: run ./quickstart, or give --data FILE\n");
    return c->texts[0] && c->texts[1];
}

static struct train_task task_of(const struct contest *c, uint64_t seed, const struct hyper_parameters *hyper)
{
    return (struct train_task){
        .data = &c->data,
        .seed = seed,
        .steps = hyper->inner_steps,
        .hyper = hyper,
        .total_steps = (uint64_t)c->rounds * hyper->inner_steps,
    };
}

static bool say_error(const char *what, enum core_err err, const char *why)
{
    if (err) fprintf(stderr, "bench learn: %s: %s%s%s\n", what, core_error_text(err), *why ? ": " : "", why);
    return err == CORE_ERR_OK;
}

// --- One peer, or one large batch: `batch` sequences a step, the same number of steps ---

static bool train_alone(const struct contest *c, uint64_t seed, uint32_t batch, float rate, double *loss)
{
    struct model_config config = c->config;
    struct hyper_parameters hyper = c->hyper;
    struct inner_state state = {0};
    struct trainer *trainer = NULL;
    struct train_result result;
    char why[CONFIG_WHY_SIZE] = "";
    float *params = malloc(c->elements * sizeof *params);
    config.batch = batch;
    hyper.inner_rate = rate;
    enum core_err err = params ? inner_state_open(&state, &config) : CORE_ERR_NO_MEMORY;
    if (!err) err = trainer_open(&trainer, c->device, &config, 0, why);
    struct train_task task = task_of(c, seed, &hyper);
    if (!err) tensors_init(&config, seed, params);
    for (uint32_t round = 0; !err && round < c->rounds; round++) {
        task.round = round + 1;
        task.first_step = (uint64_t)round * hyper.inner_steps;
        err = trainer_train_local(trainer, &task, &state, params, &result);
    }
    if (!err) err = trainer_evaluate(trainer, params, &c->data, HELD_OUT_WINDOWS, NULL, NULL, loss);
    trainer_close(trainer);
    inner_state_close(&state);
    free(params);
    return say_error("training", err, why);
}

// --- The mesh ---

struct mesh {
    struct trainer *trainer;
    struct inner_state states[PEERS];
    float *params, *momentum;
    int8_t *update;
    int64_t *sums;
    int8_t exponents[CONFIG_TENSORS_MAX];
};

static enum core_err mesh_open(struct mesh *m, const struct contest *c, char *why)
{
    m->params = malloc(c->elements * sizeof *m->params);
    m->momentum = calloc(c->elements, sizeof *m->momentum);
    m->update = malloc(c->elements);
    m->sums = malloc(c->elements * sizeof *m->sums);
    if (!m->params || !m->momentum || !m->update || !m->sums) return CORE_ERR_NO_MEMORY;
    enum core_err err = CORE_ERR_OK;
    for (uint32_t i = 0; !err && i < PEERS; i++) err = inner_state_open(&m->states[i], &c->config);
    return err ? err : trainer_open(&m->trainer, c->device, &c->config, 0, why);
}

static void mesh_close(struct mesh *m)
{
    trainer_close(m->trainer);
    for (uint32_t i = 0; i < PEERS; i++) inner_state_close(&m->states[i]);
    free(m->sums);
    free(m->update);
    free(m->momentum);
    free(m->params);
}

static enum core_err mesh_round(struct mesh *m, const struct contest *c, struct train_task *task)
{
    int64_t largest[CONFIG_TENSORS_MAX] = {0};
    struct train_result result;
    memset(m->sums, 0, c->elements * sizeof *m->sums);
    for (uint32_t slot = 0; slot < PEERS; slot++) {
        task->slot = slot;
        enum core_err err = trainer_train(m->trainer, task, &m->states[slot], m->update, NULL, &result);
        if (err) return err;
        for (uint64_t i = 0; i < c->elements; i++) m->sums[i] += m->update[i];
    }
    struct outer_step step = {&c->config, c->hyper.outer_rate, c->hyper.outer_momentum, PEERS, m->exponents};
    enum core_err err = outer_apply(&step, m->sums, 0, c->elements, m->params, m->momentum, largest);
    compress_next_exponents(&c->config, c->hyper.bits, m->exponents, largest, PEERS, m->exponents);
    return err;
}

static bool train_mesh(const struct contest *c, uint64_t seed, double *loss)
{
    struct mesh m = {0};
    char why[CONFIG_WHY_SIZE] = "";
    struct train_task task = task_of(c, seed, &c->hyper);
    enum core_err err = mesh_open(&m, c, why);
    if (!err) {
        tensors_init(&c->config, seed, m.params);
        compress_first_exponents(&c->config, &c->hyper, task.total_steps, m.exponents);
        task.params = m.params;
        task.exponents = m.exponents;
    }
    for (uint32_t round = 0; !err && round < c->rounds; round++) {
        task.round = round + 1;
        task.first_step = (uint64_t)round * c->hyper.inner_steps;
        err = mesh_round(&m, c, &task);
    }
    if (!err) err = trainer_evaluate(m.trainer, m.params, &c->data, HELD_OUT_WINDOWS, NULL, NULL, loss);
    mesh_close(&m);
    return say_error("the mesh", err, why);
}

// --- Bytes ---

// What the busiest of the peers sends in one round by the aggregation plan, payload alone: its contribution to the
// owners (and to a second holder where it owns), its shard of the sum to everyone else.
static bool bytes_per_round(const struct contest *c, uint64_t *most, uint64_t *mean)
{
    struct tree_plan plan;
    struct tree_member members[PEERS];
    struct core_hash run = hash_bytes("bench learn", 11);
    uint64_t sent[PEERS] = {0}, first;
    for (uint32_t i = 0; i < PEERS; i++)
        members[i] = (struct tree_member){.slot = i, .host = run, .weight = 1, .reachable = true};
    if (tree_plan_open(&plan, PEERS)) return false;
    bool made = tree_plan_make(&plan, members, PEERS, 0, &run, 1, 0) == CORE_ERR_OK;
    for (uint32_t shard = 0; made && shard < plan.shards; shard++) {
        uint32_t slots[TREE_CANDIDATE_MAX];
        uint64_t elements = tree_shard_range(c->elements, plan.shards, shard, &first);
        tree_plan_candidates(&plan, 0, 0, shard, slots);
        for (uint32_t i = 0; i < PEERS; i++) sent[i] += compress_packed_size(elements, c->hyper.bits);
        sent[slots[0]] += (PEERS - 1) * sum_bytes(sum_bits(PEERS), elements);
    }
    *most = *mean = 0;
    for (uint32_t i = 0; i < PEERS; i++) {
        *mean += sent[i] / PEERS;
        if (sent[i] > *most) *most = sent[i];
    }
    tree_plan_close(&plan);
    return made;
}

// --- The contest ---

static void report(const struct contest *c, const char *who, uint32_t seed, double loss, double sync)
{
    struct bench_row row = {.value = loss, .unit = "nats/byte"};
    if (seed)
        snprintf(row.name, sizeof row.name, "learn %s, seed %u", who, seed);
    else
        snprintf(row.name, sizeof row.name, "learn %s, mean", who);
    if (sync > 0) {
        row.beside = "synchronous";
        row.beside_value = sync;
    }
    bench_report(c->bench, &row);
}

// The first seed finds the rate that serves the larger batch best; the others use it.
static bool train_synchronous(const struct contest *c, uint64_t seed, float *rate, double *loss)
{
    uint32_t batch = PEERS * c->config.batch;
    if (*rate > 0) return train_alone(c, seed, batch, *rate, loss);
    for (uint32_t i = 0; i < RATES; i++) {
        double one;
        if (!train_alone(c, seed, batch, sync_rates[i], &one)) return false;
        bench_say(c->bench, "  synchronous, batch of %u, rate %g: %.4f", batch, (double)sync_rates[i], one);
        if (*rate > 0 && one >= *loss) continue;
        *rate = sync_rates[i];
        *loss = one;
    }
    return true;
}

// Seeds `first` to `first + seeds - 1`.
static bool run_seeds(const struct contest *c, uint32_t first, uint32_t seeds)
{
    double mesh_sum = 0, sync_sum = 0, alone_sum = 0;
    float rate = first == 1 ? 0 : SYNC_BEST;
    for (uint32_t seed = first; seed < first + seeds; seed++) {
        double mesh = 0, sync = 0, alone = 0;
        if (!train_mesh(c, seed, &mesh)) return false;
        if (!train_alone(c, seed, c->config.batch, c->hyper.inner_rate, &alone)) return false;
        if (!train_synchronous(c, seed, &rate, &sync)) return false;
        report(c, "synchronous, 4 x batch", seed, sync, 0);
        report(c, "mesh of 4", seed, mesh, sync);
        report(c, "one peer alone", seed, alone, sync);
        mesh_sum += mesh / seeds;
        sync_sum += sync / seeds;
        alone_sum += alone / seeds;
    }
    report(c, "synchronous, 4 x batch", 0, sync_sum, 0);
    report(c, "mesh of 4", 0, mesh_sum, sync_sum);
    report(c, "one peer alone", 0, alone_sum, sync_sum);
    bench_say(c->bench,
              "  the mesh is %+.1f %% of synchronous training's loss (at its best rate, %g), one alone %+.1f %%",
              100 * (mesh_sum / sync_sum - 1), (double)rate, 100 * (alone_sum / sync_sum - 1));
    return true;
}

static bool report_bytes(const struct contest *c)
{
    uint64_t most, mean;
    if (!bytes_per_round(c, &most, &mean)) return false;
    // The same plan with fp32 both ways: each contribution and each shard of the sum in four bytes an element.
    double full = 4.0 * (double)c->elements * (1 + (PEERS - 1) / (double)PEERS);
    bench_report(c->bench, &(struct bench_row){.name = "learn bytes sent a peer and round, mean",
                                               .value = (double)mean * 1e-6,
                                               .unit = "MB",
                                               .beside = "fp32",
                                               .beside_value = full * 1e-6});
    bench_report(c->bench, &(struct bench_row){.name = "learn bytes sent a round, busiest peer",
                                               .value = (double)most * 1e-6,
                                               .unit = "MB",
                                               .beside = "fp32",
                                               .beside_value = full * 1e-6});
    return true;
}

static bool run_contest(const struct contest *c, uint32_t first, uint32_t seeds)
{
    char why[CONFIG_WHY_SIZE] = "";
    struct ngram_losses grams;
    if (!say_error("the text", data_check(&c->data, &c->config, why), why)) return false;
    if (!say_error("n-grams", ngram_measure(&c->data, &grams), "")) return false;
    bench_say(c->bench, "  model %s, %u peers, %u rounds of %u steps, %u bits, outer rate %g, outer momentum %g",
              c->config.name, PEERS, c->rounds, c->hyper.inner_steps, c->hyper.bits, (double)c->hyper.outer_rate,
              (double)c->hyper.outer_momentum);
    bench_say(c->bench, "  held-out loss in nats a byte; counting alone: unigram %.2f, bigram %.2f, trigram %.2f",
              grams.unigram, grams.bigram, grams.trigram);
    return run_seeds(c, first, seeds) && report_bytes(c);
}

int bench_learn(struct bench *b)
{
    struct contest c = {.bench = b, .config = *config_preset("small"), .hyper = hyper_defaults()};
    c.rounds = bench_full(b) ? 150 : 15;
    // A short run warms up in proportion.
    if (!bench_full(b)) c.hyper.warmup_steps = 15;
    c.elements = tensors_elements(&c.config);
    bool fine = read_data(&c, bench_data(b));
    if (fine) {
        bench_device(bench_threads(b) ? bench_threads(b) : 2, &c.device, &c.stream);
        uint32_t seed = bench_seed(b);
        fine = run_contest(&c, seed ? seed : 1, bench_full(b) && !seed ? SEEDS_MAX : 1);
        hip_stream_close(c.stream);
        hip_device_close(c.device);
    }
    free(c.texts[1]);
    free(c.texts[0]);
    return fine ? 0 : core_error_exit(CORE_ERR_FAILED);
}
