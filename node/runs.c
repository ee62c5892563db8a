#include "node/runs.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "node/daemon.h"
#include "node/look/trace.h"
#include "store/object.h"

struct run_data *runs_find(struct runs *runs, const struct core_hash *run)
{
    for (uint32_t i = 0; i < runs->count; i++)
        if (hash_equal(&runs->items[i]->id, run)) return runs->items[i];
    return NULL;
}

static struct run_data *add(struct runs *runs, const struct core_hash *run)
{
    if (runs->count == RUNS_MAX) return NULL;
    struct run_data *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->id = *run;
    r->journal.fd = -1;
    runs->items[runs->count++] = r;
    return r;
}

struct run_data *runs_get(struct node *n, const struct core_hash *run, enum core_err *err)
{
    *err = CORE_ERR_OK;
    struct run_data *r = runs_find(&n->runs, run);
    if (!r) {
        r = add(&n->runs, run);
        if (!r) *err = CORE_ERR_LIMIT;
    }
    if (!r || r->journal.fd >= 0) return r;
    // The folder is made durable by a file in it.
    char name[RUN_FILE_NAME], path[HOME_PATH_SIZE + 256];
    run_file_name(name, run, "created");
    *err = home_write(&n->home, name, (struct slice){0});
    if (*err) return r;
    run_file_name(name, run, "journal");
    home_file(&n->home, name, path);
    *err = journal_open(&r->journal, path, NULL, NULL);
    return r;
}

static void run_free(struct run_data *r)
{
    journal_close(&r->journal);
    for (int i = 0; i < RUN_STATES; i++) snapshot_release(r->states[i]);
    run_inner_release(r->pending);
    free(r->text.bytes);
    free(r->notes);
    trace_free(r->trace);
    free(r);
}

void runs_close(struct runs *runs)
{
    for (uint32_t i = 0; i < runs->count; i++) run_free(runs->items[i]);
    runs->count = 0;
}

static void take_spec(struct run_data *r, struct slice payload)
{
    struct core_hash id;
    struct slice spec = {payload.data + CORE_HASH_SIZE, payload.size - CORE_HASH_SIZE};
    r->has_spec = run_spec_decode(spec, &r->spec, &id) == CORE_ERR_OK && hash_equal(&id, &r->id);
}

enum core_err runs_persist(struct node *n, uint32_t kind, struct slice payload)
{
    if (payload.size < CORE_HASH_SIZE) return CORE_ERR_MALFORMED;
    struct core_hash run;
    memcpy(run.bytes, payload.data, CORE_HASH_SIZE);
    enum core_err err;
    struct run_data *r = runs_get(n, &run, &err);
    if (err) return err;
    err = journal_append_unsynced(&r->journal, kind, payload);
    if (!err && !peer_persist_lazy(kind)) {
        err = journal_sync(&r->journal);
        if (err) return err;
    }
    if (err) return err;
    if (kind == RUN_PERSIST_SPEC) {
        take_spec(r, payload);
        r->sent_at_start = 0;
    }
    if (kind == RUN_PERSIST_DECISION) {
        struct reader reader = reader_over(payload.data + CORE_HASH_SIZE, payload.size - CORE_HASH_SIZE);
        uint64_t height = read_u64(&reader);
        struct slice value = read_slice(&reader, LEDGER_VALUE_LIMIT);
        struct slice certificate = read_slice(&reader, LEDGER_CERTIFICATE_LIMIT);
        if (!reader.failed) record_add(n, &run, height, value, certificate);
    }
    return CORE_ERR_OK;
}

// ---- coming back ----

// Votes of heights that are decided, and commits but the last, only take room.
struct trim {
    uint64_t decided;  // the last height that is
    uint64_t commits;  // of the journal
    uint64_t seen;     // of them, while copying
    uint64_t spare;    // bytes
};

enum { TRIM_FROM_BYTES = 1 << 20 };

static uint64_t height_of(struct slice payload)
{
    struct reader r = reader_over(payload.data, payload.size);
    struct core_hash run;
    read_bytes(&r, run.bytes, CORE_HASH_SIZE);
    return read_u64(&r);
}

struct restore {
    struct node *node;
    struct run_data *run;
    uint32_t records;
    enum core_err err;
    struct trim trim;
};

static void restore_record(void *context, uint32_t kind, struct slice payload)
{
    struct restore *c = context;
    if (c->err) return;
    if (payload.size < CORE_HASH_SIZE || memcmp(payload.data, c->run->id.bytes, CORE_HASH_SIZE)) {
        c->err = CORE_ERR_MALFORMED;
        return;
    }
    if (kind == RUN_PERSIST_SPEC) take_spec(c->run, payload);
    if (kind == RUN_PERSIST_DECISION) c->trim.decided = height_of(payload);
    if (kind == RUN_PERSIST_COMMIT) c->trim.commits++;
    if (kind == RUN_PERSIST_COMMIT || kind == RUN_PERSIST_VOTE) c->trim.spare += payload.size;
    c->err = peer_restore(c->node->peer, kind, payload, c->node->now_ms);
    c->records++;
}

static void restore_file(void *context, const char *name, const char *kind, uint64_t round)
{
    struct restore *c = context;
    struct node *n = c->node;
    struct run_data *r = c->run;
    if (strcmp(kind, "params-")) return;
    struct snapshot_head head;
    if (snapshot_peek(&n->home, name, &head) || head.round != round) return;
    char inner[RUN_FILE_NAME];
    run_inner_name(inner, &r->id, round, &head.inner_hash);
    bool has_inner = head.has_inner && home_has(&n->home, inner);
    const struct model_config *config = &r->spec.model;
    catalog_add(&n->catalog, &r->id, &head.params_hash, name, CATALOG_PARAMS, round, config);
    if (head.has_momentum) catalog_add(&n->catalog, &r->id, &head.outer_hash, name, CATALOG_MOMENTUM, round, config);
    if (has_inner) {
        catalog_add(&n->catalog, &r->id, &head.inner_hash, inner, CATALOG_INNER, round, config);
        runs_inner_saved(r, &head.inner_hash);
    }
    peer_restore_params(n->peer, &r->id, round, &head.params_hash, has_inner);
}

static void restore_text(struct node *n, struct run_data *r)
{
    enum core_err err = runs_text_load(n, &r->spec.dataset, &r->text);
    if (err) return;
    peer_restore_dataset(n->peer, &r->id);
}

static void restore_notes(struct node *n, struct run_data *r)
{
    char name[RUN_FILE_NAME];
    uint8_t *bytes;
    size_t size;
    run_file_name(name, &r->id, "baselines");
    if (home_read(&n->home, name, 4096, &bytes, &size)) return;
    struct reader reader = reader_over(bytes, size);
    uint64_t bits[3];
    for (int i = 0; i < 3; i++) bits[i] = read_u64(&reader);
    struct slice text = read_slice(&reader, RUN_DATA_NAME - 1);
    if (!reader.failed) {
        memcpy(&r->baselines.unigram, &bits[0], 8);
        memcpy(&r->baselines.bigram, &bits[1], 8);
        memcpy(&r->baselines.trigram, &bits[2], 8);
        r->has_baselines = true;
        memcpy(r->data_name, text.data ? text.data : (const uint8_t *)"", text.size);
    }
    free(bytes);
}

static bool keeps(void *context, uint32_t kind, struct slice payload)
{
    struct trim *t = context;
    if (kind == RUN_PERSIST_COMMIT) return ++t->seen == t->commits;
    return kind != RUN_PERSIST_VOTE || height_of(payload) >= t->decided;
}

static void trim_journal(struct run_data *r, const char *path, struct trim *t)
{
    if (t->spare < TRIM_FROM_BYTES) return;
    // Where the new name isn't durable, nothing may be appended: without a journal this peer cannot vote in the run.
    uint64_t before = r->journal.size;
    if (journal_rewrite(&r->journal, path, keeps, t) && r->journal.size != before) journal_close(&r->journal);
}

static void restore_run(struct node *n, const struct core_hash *id)
{
    struct run_data *r = add(&n->runs, id);
    if (!r) return;
    char name[RUN_FILE_NAME], path[HOME_PATH_SIZE + 256];
    run_file_name(name, id, "journal");
    home_file(&n->home, name, path);
    struct restore context = {.node = n, .run = r};
    enum core_err err = journal_open(&r->journal, path, restore_record, &context);
    if (err || context.err)
        event_emit(&n->events, "problem.journal", EV_HASH("run", id),
                   EV_TEXT("why", core_error_text(err ? err : context.err)));
    if (!err && !context.err) trim_journal(r, path, &context.trim);
    if (!r->has_spec) return;
    run_files_each(&n->home, id, restore_file, &context);
    restore_text(n, r);
    restore_notes(n, r);
    struct run_status status;
    if (peer_run_find(n->peer, id, &status)) {
        r->seen_round = status.head ? status.head->round : 0;
        r->seen_state = status.head ? status.head->state : RUN_RUNNING;
    }
    event_emit(&n->events, "run.restored", EV_HASH("run", id), EV_U64("records", context.records),
               EV_U64("round", r->seen_round));
}

void runs_restore(struct node *n)
{
    char path[HOME_PATH_SIZE + 256];
    home_file(&n->home, "runs", path);
    DIR *dir = opendir(path);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        struct core_hash id;
        if (hex_decode(id.bytes, CORE_HASH_SIZE, e->d_name)) restore_run(n, &id);
    }
    closedir(dir);
}

// ---- what was seen ----

static void note(struct node *n, struct run_data *r, const struct manifest *head)
{
    if (r->note_count == r->note_capacity) {
        uint32_t capacity = r->note_capacity ? 2 * r->note_capacity : 64;
        struct run_note *grown = realloc(r->notes, capacity * sizeof *grown);
        if (!grown) return;
        r->notes = grown;
        r->note_capacity = capacity;
    }
    struct links_stats stats;
    links_stats(n->links, &stats);
    r->notes[r->note_count++] =
        (struct run_note){.round = head->round,
                          .closed_ms = n->now_ms,
                          .closed_s = node_wall_s(),
                          .tokens = head->tokens,
                          .sent_bytes = stats.tx_bytes[LANE_CONTROL] + stats.tx_bytes[LANE_BULK]};
}

void runs_watch(struct node *n)
{
    uint32_t count = peer_run_count(n->peer);
    for (uint32_t i = 0; i < count; i++) {
        struct run_status status;
        peer_run_at(n->peer, i, &status);
        struct run_data *r = runs_find(&n->runs, &status.run);
        if (!r || !status.head) continue;
        trace_watch(n, r, &status);
        if (r->note_count == 0) note(n, r, status.head);
        if (status.head->round == r->seen_round && status.head->state == r->seen_state) continue;
        bool closed = status.head->round > r->seen_round;
        r->seen_round = status.head->round;
        r->seen_state = status.head->state;
        if (closed) {
            note(n, r, status.head);
            event_emit(&n->events, "round.closed", EV_HASH("run", &r->id), EV_U64("round", status.head->round),
                       EV_F64("loss", status.head->loss), EV_HASH("params", &status.head->params),
                       EV_U64("members", status.head->member_count));
        }
        verbs_round_closed(n, r);
    }
}

const struct run_note *runs_note(const struct run_data *run, uint64_t round)
{
    for (uint32_t i = run->note_count; i > 0; i--)
        if (run->notes[i - 1].round == round) return &run->notes[i - 1];
    return NULL;
}

// ---- training states ----

struct snapshot *runs_snapshot(const struct run_data *run, uint64_t round, const struct core_hash *params_hash)
{
    for (int i = 0; i < RUN_STATES; i++) {
        struct snapshot *s = run->states[i];
        if (s && s->round == round && hash_equal(&s->params_hash, params_hash)) return s;
    }
    return NULL;
}

struct find_file {
    struct node *node;
    const struct core_hash *params_hash;
    uint64_t round;
    char *name;
    bool found;
};

static void find_file(void *context, const char *name, const char *kind, uint64_t round)
{
    struct find_file *f = context;
    struct snapshot_head head;
    if (f->found || strcmp(kind, "params-") || round != f->round) return;
    if (snapshot_peek(&f->node->home, name, &head) || !hash_equal(&head.params_hash, f->params_hash)) return;
    snprintf(f->name, RUN_FILE_NAME, "%s", name);
    f->found = true;
}

bool runs_snapshot_file(struct node *n, const struct run_data *run, uint64_t round, const struct core_hash *params_hash,
                        char name[RUN_FILE_NAME])
{
    struct find_file f = {.node = n, .params_hash = params_hash, .round = round, .name = name};
    run_files_each(&n->home, &run->id, find_file, &f);
    return f.found;
}

void runs_snapshot_add(struct node *n, struct run_data *run, struct snapshot *state)
{
    char name[RUN_FILE_NAME];
    run_params_name(name, &run->id, state->round, state->attempt);
    catalog_add(&n->catalog, &run->id, &state->params_hash, name, CATALOG_PARAMS, state->round, &run->spec.model);
    if (state->momentum)
        catalog_add(&n->catalog, &run->id, &state->outer_hash, name, CATALOG_MOMENTUM, state->round, &run->spec.model);
    snapshot_release(run->states[RUN_STATES - 1]);
    for (int i = RUN_STATES - 1; i > 0; i--) run->states[i] = run->states[i - 1];
    run->states[0] = state;
}

void runs_inner_saved(struct run_data *run, const struct core_hash *hash)
{
    run->saved_inner[run->saved_next] = *hash;
    run->saved_next = (run->saved_next + 1) % RUN_SAVED_MAX;
}

bool runs_inner_is_saved(const struct run_data *run, const struct core_hash *hash)
{
    for (int i = 0; i < RUN_SAVED_MAX; i++)
        if (hash_equal(&run->saved_inner[i], hash)) return true;
    return false;
}

struct drop_files {
    struct node *node;
    uint64_t before;
};

static void drop_file(void *context, const char *name, const char *kind, uint64_t round)
{
    struct drop_files *d = context;
    (void)kind;
    if (round >= d->before) return;
    catalog_forget_file(&d->node->catalog, name);
    home_remove(&d->node->home, name);
}

void runs_drop(struct node *n, struct run_data *run, uint64_t before_round)
{
    if (run->training && before_round > run->train_asked.round) atomic_store(&run->training->cancelled, true);
    blobs_drop(&n->blobs, &run->id, before_round);
    bool ended = before_round == UINT64_MAX;
    struct run_status status;
    uint64_t head = peer_run_find(n->peer, &run->id, &status) && status.head ? status.head->round : run->seen_round;
    for (int i = 0; i < RUN_STATES; i++) {
        struct snapshot *s = run->states[i];
        if (!s || s->round >= (ended ? head : before_round)) continue;
        snapshot_release(s);
        run->states[i] = NULL;
    }
    if (run->pending && (ended || run->pending_round < before_round)) {
        run_inner_release(run->pending);
        run->pending = NULL;
    }
    if (ended) run->trained = false;
    uint64_t newest = ended ? head : before_round;
    struct drop_files d = {n, newest > RUN_RETAIN_ROUNDS ? newest - RUN_RETAIN_ROUNDS : 0};
    run_files_each(&n->home, &run->id, drop_file, &d);
}

// ---- the dataset ----

static enum core_err read_part(struct node *n, const struct object_index *index, uint32_t part, uint8_t *out)
{
    // In pieces, so that the store is free for others in between.
    uint64_t size = index->parts[part].size;
    for (uint64_t at = 0; at < size; at += STORE_CHUNK_SIZE) {
        uint64_t now = size - at < STORE_CHUNK_SIZE ? size - at : STORE_CHUNK_SIZE;
        pthread_mutex_lock(&n->store.mutex);
        enum core_err err = object_read(n->store.store, index, part, at, out + at, now);
        pthread_mutex_unlock(&n->store.mutex);
        if (err) return err;
    }
    return CORE_ERR_OK;
}

enum core_err runs_text_load(struct node *n, const struct core_hash *object, struct run_text *out)
{
    struct object_index index;
    pthread_mutex_lock(&n->store.mutex);
    enum core_err err = object_open(n->store.store, object, &index);
    pthread_mutex_unlock(&n->store.mutex);
    if (err) return err;
    uint8_t *bytes = NULL;
    if (index.part_count != 2) err = CORE_ERR_MALFORMED;
    if (!err && index.size > n->memory_bytes) err = CORE_ERR_NO_MEMORY;
    if (!err && !(bytes = malloc(index.size + 1))) err = CORE_ERR_NO_MEMORY;
    if (!err) err = read_part(n, &index, 0, bytes);
    if (!err) err = read_part(n, &index, 1, bytes + index.parts[0].size);
    if (!err) {
        out->bytes = bytes;
        out->data = (struct dataset){.train = bytes,
                                     .train_size = index.parts[0].size,
                                     .held_out = bytes + index.parts[0].size,
                                     .held_out_size = index.parts[1].size};
        out->state = RUN_TEXT_READY;
    } else {
        free(bytes);
    }
    object_index_free(&index);
    return err;
}

enum core_err runs_vector_load(struct node *n, const struct core_hash *root, const struct model_config *config,
                               float *vector)
{
    struct object_index index;
    pthread_mutex_lock(&n->store.mutex);
    enum core_err err = object_open(n->store.store, root, &index);
    pthread_mutex_unlock(&n->store.mutex);
    if (err) return err;
    if (index.part_count != tensors_count(config)) err = CORE_ERR_MALFORMED;
    for (uint32_t i = 0; i < index.part_count && !err; i++) {
        struct tensor t = tensors_at(config, i);
        err = index.parts[i].size == t.count * sizeof(float) ? read_part(n, &index, i, (uint8_t *)(vector + t.offset))
                                                             : CORE_ERR_MALFORMED;
    }
    object_index_free(&index);
    return err;
}

enum core_err runs_blob_load(struct node *n, const struct core_hash *root, size_t limit, uint8_t **bytes, size_t *size)
{
    struct object_index index;
    *bytes = NULL;
    pthread_mutex_lock(&n->store.mutex);
    enum core_err err = object_open(n->store.store, root, &index);
    pthread_mutex_unlock(&n->store.mutex);
    if (err) return err;
    *size = index.size;
    if (index.size > limit)
        err = CORE_ERR_TOO_LARGE;
    else if (!(*bytes = malloc(index.size + 1)))
        err = CORE_ERR_NO_MEMORY;
    size_t at = 0;
    for (uint32_t i = 0; i < index.part_count && !err; i++) {
        err = read_part(n, &index, i, *bytes + at);
        at += index.parts[i].size;
    }
    object_index_free(&index);
    if (err) {
        free(*bytes);
        *bytes = NULL;
    }
    return err;
}
