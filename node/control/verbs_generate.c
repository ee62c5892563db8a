// generate: text from a run's newest parameters, or from parameters by hash, in pieces, on a lane that has time.
//
// A slice writes some bytes and comes back to the loop, which sends them and submits the next: so text streams, the
// worker serves others in between, and a client that goes stops it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "learn/generate.h"
#include "node/control/verbs.h"

enum { SLICE_BYTES = 24, PROMPT_MAX = 32768, TOKENS_MAX = 1 << 20 };

struct generate_job {
    struct lane_job lane_job;
    struct node *node;  // home only
    uint64_t session;
    struct core_hash run, params_hash;
    uint64_t round;
    struct model_config model;
    char name[RUN_FILE_NAME];  // the params- file
    struct snapshot *state;
    struct hip_device *device;  // of its own: it stays between two slices
    const struct compute *on;   // the lane that it was opened on
    struct generator *generator;
    uint8_t *prompt;
    size_t prompt_size;
    double temperature;
    uint64_t seed, wanted, written, began_us;
    uint64_t again;  // bytes to write once more, unsent: another device wrote them before it failed
    bool ending;     // nobody listens any more: only to be closed
    uint8_t text[SLICE_BYTES];
    size_t text_size;
    uint8_t held[4];  // the beginning of a character whose end isn't written yet
    size_t held_size;
};

static void shut(struct generate_job *j)
{
    if (j->generator) generator_close(j->generator);
    hip_device_close(j->device);
    j->generator = NULL;
    j->device = NULL;
}

static void job_free(struct generate_job *j)
{
    shut(j);
    snapshot_release(j->state);
    free(j->prompt);
    free(j);
}

static enum core_err begin(struct generate_job *j, struct compute *compute)
{
    enum core_err err = CORE_ERR_OK;
    if (!j->state) err = snapshot_load(&j->node->home, &j->run, j->name, &j->model, false, &j->state);
    if (err) return err;
    j->on = compute;
    err = hip_device_open(compute->name, NULL, &j->device);
    if (!err) err = generator_open(&j->generator, j->device, &j->model, j->state->params);
    if (!err)
        err = generator_begin(j->generator, (struct slice){j->prompt, j->prompt_size}, (float)j->temperature, j->seed);
    for (uint8_t byte; !err && j->again > 0; j->again--) err = generator_next(j->generator, &byte);
    return compute_judge(compute, err);
}

static void generate_run(struct lane_job *lane_job, struct compute *compute)
{
    struct generate_job *j = (struct generate_job *)lane_job;
    enum core_err err = CORE_ERR_OK;
    j->text_size = 0;
    if (j->generator && j->on != compute) {  // that lane was lost meanwhile
        shut(j);
        j->again = j->written;
    }
    if (!j->generator && !j->ending) err = begin(j, compute);
    while (!err && !j->ending && j->text_size < SLICE_BYTES && j->written < j->wanted) {
        err = compute_judge(compute, generator_next(j->generator, &j->text[j->text_size]));
        if (err) break;
        j->text_size++;
        j->written++;
    }
    // The device is let go on the thread that talks to it.
    if (err || j->ending || j->written >= j->wanted) shut(j);
    lane_job->job.err = err;
}

// The same parameters, prompt and seed give the same bytes on the next device: what was sent is passed over.
static void generate_undo(struct lane_job *lane_job)
{
    struct generate_job *j = (struct generate_job *)lane_job;
    j->written -= j->text_size;
    j->again = j->written;
    j->text_size = 0;
}

// Bytes of the character that begins with `first`, 0 for a byte that begins none.
static size_t character_size(uint8_t first)
{
    return first < 0x80                    ? 1
           : first >= 0xc2 && first < 0xe0 ? 2
           : (first & 0xf0) == 0xe0        ? 3
           : first >= 0xf0 && first < 0xf5 ? 4
                                           : 0;
}

// Appends `in` as UTF-8: what isn't becomes U+FFFD; an unfinished end is kept in `held` unless it is the last.
static size_t to_utf8(struct generate_job *j, bool last, char *out)
{
    uint8_t in[SLICE_BYTES + sizeof j->held];
    size_t size = j->held_size, used = 0;
    memcpy(in, j->held, j->held_size);
    memcpy(in + size, j->text, j->text_size);
    size += j->text_size;
    j->held_size = 0;
    for (size_t i = 0; i < size;) {
        size_t need = character_size(in[i]), have = 1;
        while (need && have < need && i + have < size && (in[i + have] & 0xc0) == 0x80) have++;
        bool unfinished = need && have < need && i + have == size;
        if (unfinished && !last) {
            j->held_size = size - i;
            memcpy(j->held, in + i, j->held_size);
            break;
        }
        json_t *valid = need && have == need && (need > 1 || in[i]) ? json_stringn((const char *)in + i, need) : NULL;
        if (valid)
            memcpy(out + used, in + i, need);
        else
            memcpy(out + used, "\xef\xbf\xbd", 3);
        used += valid ? need : 3;
        i += valid ? need : 1;
        json_decref(valid);
    }
    out[used] = 0;
    return used;
}

static void generate_done(struct job *job, void *context)
{
    struct node *n = context;
    struct generate_job *j = (struct generate_job *)job;
    struct session *s = control_session_find(&n->control, j->session);
    if ((!s || job->err == CORE_ERR_INTERRUPTED) && (!j->generator || n->lanes.closing)) {
        job_free(j);
        return;
    }
    if (!s) {
        j->ending = true;
        lanes_submit(n, &j->lane_job);
        return;
    }
    if (job->err) {
        session_fail(s, job->err, "try again when the run has closed a round", "no text can be generated: %s",
                     core_error_text(job->err));
        job_free(j);
        return;
    }
    bool last = j->written >= j->wanted;
    char text[3 * (SLICE_BYTES + sizeof j->held) + 1];
    if (to_utf8(j, last, text)) session_send(s, json_pack("{s:s}", "text", text));
    if (!last) {
        lanes_submit(n, &j->lane_job);
        return;
    }
    double seconds = (double)(node_clock_us() - j->began_us) / 1e6;
    session_end(s, 0,
                json_pack("{s:o, s:I, s:o, s:I, s:f}", "run", json_hash(&j->run), "round", (json_int_t)j->round,
                          "params_hash", json_hash(&j->params_hash), "tokens", (json_int_t)j->written, "tokens_per_s",
                          seconds > 0 ? (double)j->written / seconds : 0.0));
    job_free(j);
}

// The parameters that the request names: of a checkpoint's hash anywhere in the runs, or a run's newest.
static bool find_params(struct node *n, struct session *s, struct generate_job *j)
{
    const char *checkpoint = session_text(s, "checkpoint");
    struct run_data *run = NULL;
    if (checkpoint) {
        struct core_hash hash;
        bool valid = hex_decode(hash.bytes, CORE_HASH_SIZE, checkpoint);
        for (uint32_t i = 0; valid && i < n->catalog.count && !run; i++) {
            const struct catalog_object *o = n->catalog.objects[i];
            if (o->kind != CATALOG_PARAMS || !hash_equal(&o->root, &hash)) continue;
            run = runs_find(&n->runs, &o->run);
            j->round = o->round;
            memcpy(j->name, o->name, sizeof j->name);
        }
        if (!run)
            session_fail(s, CORE_ERR_NOT_FOUND, "give --run ID", "no parameters here have the hash %s", checkpoint);
        else
            j->params_hash = hash;
    } else {
        struct run_status status;
        if (!run_resolve(n, s, &run, &status)) return false;
        // The head's, or, while they are on their way, the newest that are here.
        bool here = false;
        for (uint64_t r = status.head ? status.head->round + 1 : 0; r > 0 && !here; r--) {
            struct manifest m;
            uint64_t height;
            if (!peer_run_manifest(n->peer, &run->id, r - 1, &m, &height)) continue;
            j->round = r - 1;
            j->params_hash = m.params;
            struct snapshot *state = runs_snapshot(run, r - 1, &m.params);
            if (state) j->state = snapshot_hold(state);
            here = state || runs_snapshot_file(n, run, r - 1, &m.params, j->name);
            if (status.head->round - (r - 1) > RUN_RETAIN_ROUNDS) break;
        }
        if (!here) {
            session_fail(s, CORE_ERR_NOT_FOUND, "wait until this peer has caught up (`mycel runs`)",
                         "this peer holds no parameters of the run yet");
            return false;
        }
    }
    if (!run) return false;
    j->run = run->id;
    j->model = run->spec.model;
    return true;
}

void verb_generate(struct node *n, struct session *s)
{
    const char *prompt = session_text(s, "prompt");
    double tokens = session_number(s, "max_tokens", 200), temperature = session_number(s, "temperature", 0.8);
    if (tokens < 0 || tokens > TOKENS_MAX || temperature < 0 || temperature > 100 ||
        (prompt && strlen(prompt) > PROMPT_MAX)) {
        session_fail(s, CORE_ERR_USAGE, "at most 1048576 tokens, a temperature of 0 to 100, a prompt of 32 kB",
                     "a number is out of range");
        return;
    }
    struct generate_job *j = calloc(1, sizeof *j);
    if (!j) return;
    if (!find_params(n, s, j)) {
        job_free(j);
        return;
    }
    j->lane_job = (struct lane_job){.job = {.name = "generate"},
                                    .kind = SCHED_CLASS_OTHER,
                                    .subject = j->run,
                                    .memory_bytes = generator_memory(&j->model),
                                    .aside = true,
                                    .stay = true,
                                    .run = generate_run,
                                    .undo = generate_undo,
                                    .finished = generate_done};
    j->node = n;
    j->session = s->serial;
    j->prompt_size = prompt ? strlen(prompt) : 0;
    j->prompt = malloc(j->prompt_size + 1);
    if (!j->prompt) {
        job_free(j);
        return;
    }
    memcpy(j->prompt, prompt ? prompt : "", j->prompt_size);
    j->temperature = temperature;
    j->seed = (uint64_t)session_number(s, "seed", 1);
    j->wanted = (uint64_t)tokens;
    j->began_us = node_clock_us();
    lanes_submit(n, &j->lane_job);
}
