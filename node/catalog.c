#include "node/catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "learn/tensors.h"
#include "node/daemon.h"

static struct catalog_object *find_root(struct catalog *c, const struct core_hash *root)
{
    for (uint32_t i = c->count; i > 0; i--)
        if (hash_equal(&c->objects[i - 1]->root, root)) return c->objects[i - 1];
    return NULL;
}

static void free_object(struct catalog_object *o)
{
    free(o->chunks);
    free(o->index);
    free(o);
}

void catalog_add(struct catalog *c, const struct core_hash *run, const struct core_hash *root, const char *name,
                 enum catalog_kind kind, uint64_t round, const struct model_config *config)
{
    if (c->count == CATALOG_MAX || find_root(c, root)) return;
    struct catalog_object *o = calloc(1, sizeof *o);
    if (!o) return;
    *o = (struct catalog_object){
        .root = *root, .run = *run, .kind = kind, .round = round, .config = *config, .serial = ++c->serial};
    strncpy(o->name, name, sizeof o->name - 1);
    c->objects[c->count++] = o;
}

void catalog_forget_file(struct catalog *c, const char *name)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        if (strcmp(c->objects[i]->name, name) == 0)
            free_object(c->objects[i]);
        else
            c->objects[kept++] = c->objects[i];
    }
    c->count = kept;
}

void catalog_close(struct catalog *c)
{
    for (uint32_t i = 0; i < c->count; i++) free_object(c->objects[i]);
    c->count = 0;
}

// ---- indexing, on a worker ----

struct index_job {
    struct job job;
    const struct home *home;
    uint64_t serial;
    struct core_hash root;
    char name[RUN_FILE_NAME];
    enum catalog_kind kind;
    struct model_config config;
    struct object_index index;
    struct catalog_chunk *chunks;
    uint8_t *encoded;
    size_t encoded_size;
};

// Where part `i` lies in the file.
static void part_place(const struct index_job *j, uint32_t i, uint64_t file_size, uint64_t *offset, uint64_t *size)
{
    if (j->kind == CATALOG_INNER) {  // a head, then three vectors (learn/inner_state.h)
        uint64_t vector = tensors_elements(&j->config) * sizeof(float), head = file_size - 3 * vector;
        *offset = i == 0 ? 0 : head + (i - 1) * vector;
        *size = i == 0 ? head : vector;
        return;
    }
    struct tensor t = tensors_at(&j->config, i);
    uint64_t element = j->kind == CATALOG_UPDATE ? 1 : sizeof(float);
    uint64_t base = j->kind == CATALOG_UPDATE ? 0 : SNAPSHOT_HEAD;
    if (j->kind == CATALOG_MOMENTUM) base += tensors_elements(&j->config) * sizeof(float);
    *offset = base + t.offset * element;
    *size = t.count * element;
}

static enum core_err index_part(struct index_job *j, int fd, uint8_t *buffer, uint32_t part, uint64_t offset,
                                uint64_t size)
{
    struct object_part *p = &j->index.parts[part];
    *p = (struct object_part){.size = size, .first = j->index.chunk_count};
    for (uint64_t at = 0; at < size; at += STORE_CHUNK_SIZE) {
        uint32_t now = size - at < STORE_CHUNK_SIZE ? (uint32_t)(size - at) : STORE_CHUNK_SIZE;
        if (pread(fd, buffer, now, (off_t)(offset + at)) != (ssize_t)now) return CORE_ERR_IO;
        struct catalog_chunk *chunk = &j->chunks[j->index.chunk_count];
        *chunk = (struct catalog_chunk){.hash = hash_leaf(buffer, now), .offset = offset + at, .size = now};
        j->index.chunks[j->index.chunk_count++] = chunk->hash;
        p->count++;
    }
    j->index.size += size;
    return CORE_ERR_OK;
}

static enum core_err index_file(struct index_job *j, int fd, uint64_t file_size)
{
    uint32_t parts = j->kind == CATALOG_INNER ? 4 : tensors_count(&j->config);
    if (j->kind == CATALOG_INNER && file_size != inner_state_size(&j->config)) return CORE_ERR_TOO_SHORT;
    uint64_t most = parts + file_size / STORE_CHUNK_SIZE + 1;
    uint8_t *buffer = malloc(STORE_CHUNK_SIZE);
    j->index.parts = calloc(parts, sizeof *j->index.parts);
    j->index.part_count = parts;
    j->index.chunks = calloc(most, sizeof *j->index.chunks);
    j->chunks = calloc(most, sizeof *j->chunks);
    enum core_err err = buffer && j->index.parts && j->index.chunks && j->chunks ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < parts && !err; i++) {
        uint64_t offset, size;
        part_place(j, i, file_size, &offset, &size);
        err = offset + size > file_size ? CORE_ERR_TOO_SHORT : index_part(j, fd, buffer, i, offset, size);
    }
    free(buffer);
    if (err) return err;
    j->encoded_size = object_index_size(&j->index);
    j->encoded = malloc(j->encoded_size);
    if (!j->encoded) return CORE_ERR_NO_MEMORY;
    struct writer w = writer_over(j->encoded, j->encoded_size);
    object_index_encode(&w, &j->index);
    struct object_index check_index;
    err = object_index_decode((struct slice){j->encoded, w.size}, UINT64_MAX, &check_index);
    if (err) return err;
    bool right = hash_equal(&check_index.root, &j->root);
    object_index_free(&check_index);
    return right ? CORE_ERR_OK : CORE_ERR_VERIFY_FAILED;
}

static void index_run(struct job *job, struct worker *w)
{
    (void)w;
    struct index_job *j = (struct index_job *)job;
    char path[HOME_PATH_SIZE + 256];
    home_file(j->home, j->name, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        job->err = core_error_from_errno(errno);
        return;
    }
    off_t size = lseek(fd, 0, SEEK_END);
    job->err = size < 0 ? CORE_ERR_IO : index_file(j, fd, (uint64_t)size);
    close(fd);
}

static void answer(struct node *n, const struct core_id *to, const struct core_hash *hash, struct slice bulk,
                   bool found)
{
    // Who asks for more than it takes waits; an honest one has few requests open, and asks again.
    struct link_stats stats;
    if (bulk.size && links_stats_of(n->links, to, &stats) && stats.queued_bytes[LANE_BULK] > CATALOG_QUEUED_MAX) {
        n->dropped.chunks++;
        return;
    }
    struct message m = {.type = MESSAGE_CHUNK, .bulk = bulk};
    m.chunk.hash = *hash;
    m.chunk.found = found;
    event_emit(&n->events, "chunk.answered", EV_ID("peer", to), EV_HASH("chunk", hash), EV_U64("found", found),
               EV_U64("bytes", bulk.size));
    outbound_send(n, to, &m);
}

static void index_done(struct job *job, void *context)
{
    struct node *n = context;
    struct index_job *j = (struct index_job *)job;
    struct catalog_object *o = NULL;
    for (uint32_t i = 0; i < n->catalog.count; i++)
        if (n->catalog.objects[i]->serial == j->serial) o = n->catalog.objects[i];
    if (o) {
        o->state = job->err ? CATALOG_SPOILT : CATALOG_INDEXED;
        if (!job->err) {
            o->chunks = j->chunks;
            o->chunk_count = j->index.chunk_count;
            o->index = j->encoded;
            o->index_size = j->encoded_size;
            j->chunks = NULL;
            j->encoded = NULL;
        }
        for (uint32_t i = 0; i < o->waiter_count; i++)
            answer(n, &o->waiters[i], &o->root, (struct slice){o->index, o->index_size}, !job->err);
        o->waiter_count = 0;
    }
    free(j->index.parts);
    free(j->index.chunks);
    free(j->chunks);
    free(j->encoded);
    free(j);
}

static void ask_index(struct node *n, struct catalog_object *o, const struct core_id *to)
{
    bool waits = false;
    for (uint32_t i = 0; i < o->waiter_count; i++) waits |= id_equal(&o->waiters[i], to);
    if (waits) return;
    if (o->waiter_count < CATALOG_WAITERS)
        o->waiters[o->waiter_count++] = *to;
    else
        n->dropped.waiters++;
    if (o->state == CATALOG_INDEXING) return;
    struct index_job *j = calloc(1, sizeof *j);
    if (!j) return;
    j->job = (struct job){.name = "index", .priority = JOB_NORMAL, .run = index_run, .done = index_done};
    j->home = &n->home;
    j->serial = o->serial;
    j->root = o->root;
    memcpy(j->name, o->name, sizeof j->name);
    j->kind = o->kind;
    j->config = o->config;
    o->state = CATALOG_INDEXING;
    worker_submit(&n->io_worker, &j->job);
}

// ---- serving ----

static bool serve_chunk(struct node *n, const struct core_id *to, const struct core_hash *hash, uint8_t *buffer)
{
    for (uint32_t i = n->catalog.count; i > 0; i--) {
        struct catalog_object *o = n->catalog.objects[i - 1];
        for (uint32_t k = 0; k < o->chunk_count; k++) {
            const struct catalog_chunk *chunk = &o->chunks[k];
            if (!hash_equal(&chunk->hash, hash)) continue;
            char path[HOME_PATH_SIZE + 256];
            home_file(&n->home, o->name, path);
            int fd = open(path, O_RDONLY | O_CLOEXEC);
            if (fd < 0) return false;
            ssize_t size = pread(fd, buffer, chunk->size, (off_t)chunk->offset);
            close(fd);
            if (size != (ssize_t)chunk->size) return false;
            answer(n, to, hash, (struct slice){buffer, chunk->size}, true);
            return true;
        }
    }
    return false;
}

void catalog_serve(struct node *n, const struct core_id *to, const struct core_hash *hash)
{
    struct catalog_object *o = find_root(&n->catalog, hash);
    if (o && o->state == CATALOG_INDEXED) {
        answer(n, to, hash, (struct slice){o->index, o->index_size}, true);
        return;
    }
    if (o && o->state != CATALOG_SPOILT) {
        ask_index(n, o, to);
        return;
    }
    uint8_t *buffer = malloc(STORE_CHUNK_SIZE);
    if (!buffer) return;
    size_t size = 0;
    pthread_mutex_lock(&n->store.mutex);
    enum core_err err = store_serve(n->store.store, hash, buffer, STORE_CHUNK_SIZE, &size);
    pthread_mutex_unlock(&n->store.mutex);
    if (!err)
        answer(n, to, hash, (struct slice){buffer, size}, true);
    else if (!serve_chunk(n, to, hash, buffer))
        answer(n, to, hash, (struct slice){0}, false);
    free(buffer);
}
