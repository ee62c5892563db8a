#include "node/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "learn/cut.h"
#include "ledger/log.h"
#include "node/daemon.h"

enum { NAME_SIZE = 128 };

static void log_name(char out[NAME_SIZE], const struct core_hash *run, const char *ending)
{
    char hex[2 * CORE_HASH_SIZE + 1];
    hex_encode(hex, run->bytes, CORE_HASH_SIZE);
    snprintf(out, NAME_SIZE, "record/%s.%s", hex, ending);
}

static struct record_run *get(struct record *record, const struct core_hash *run)
{
    for (uint32_t i = 0; i < record->run_count; i++)
        if (hash_equal(&record->runs[i].run, run)) return &record->runs[i];
    if (record->run_count == RECORD_RUNS_MAX) return NULL;
    struct record_run *r = &record->runs[record->run_count++];
    *r = (struct record_run){.run = *run};
    return r;
}

static void open_run(struct node *n, const struct core_hash *run)
{
    char name[NAME_SIZE], path[HOME_PATH_SIZE + 256];
    uint8_t *log = NULL, *head_bytes = NULL;
    size_t size = 0, head_size = 0;
    struct record_run *r = get(&n->record, run);
    log_name(name, run, "log");
    if (!r || home_read(&n->home, name, (size_t)1 << 32, &log, &size)) return;
    home_file(&n->home, name, path);
    struct ledger_head head;
    log_name(name, run, "head");
    bool has_head = home_read(&n->home, name, 4096, &head_bytes, &head_size) == CORE_ERR_OK &&
                    ledger_head_read((struct slice){head_bytes, head_size}, &head) == CORE_ERR_OK;
    struct ledger_reader reader = ledger_reader_over((struct slice){log, size});
    enum core_err err = ledger_log_check(&reader, has_head ? &head : NULL);
    if (err && err != CORE_ERR_TRUNCATED)
        event_emit(&n->events, "problem.record", EV_HASH("run", run), EV_U64("entry", reader.count),
                   EV_TEXT("why", core_error_text(err)));
    if (reader.at < size && truncate(path, (off_t)reader.at))
        event_emit(&n->events, "problem.record", EV_HASH("run", run), EV_TEXT("why", "its torn tail cannot be cut"));
    r->count = reader.count;
    r->height = reader.height;
    r->size = reader.at;
    r->last = reader.last;
    n->record.entries += r->count;
    free(log);
    free(head_bytes);
}

void record_open(struct node *n)
{
    char path[HOME_PATH_SIZE + 256];
    home_file(&n->home, "record", path);
    DIR *dir = opendir(path);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        struct core_hash run;
        char hex[2 * CORE_HASH_SIZE + 1] = {0};
        size_t size = strlen(e->d_name);
        if (size != sizeof hex + 3 || strcmp(e->d_name + sizeof hex - 1, ".log")) continue;
        memcpy(hex, e->d_name, sizeof hex - 1);
        if (hex_decode(run.bytes, CORE_HASH_SIZE, hex)) open_run(n, &run);
    }
    closedir(dir);
}

void record_close(struct node *n)
{
    for (uint32_t i = 0; i < n->record.run_count; i++) free(n->record.runs[i].waiting);
}

void record_add(struct node *n, const struct core_hash *run, uint64_t height, struct slice value,
                struct slice certificate)
{
    struct record_run *r = get(&n->record, run);
    if (!r || (r->count > 0 && height <= r->height)) return;
    size_t need = ledger_entry_size(value.size, certificate.size);
    if (r->waiting_size + need > r->waiting_capacity) {
        size_t capacity = 2 * (r->waiting_size + need);
        uint8_t *grown = realloc(r->waiting, capacity);
        if (!grown) return;
        r->waiting = grown;
        r->waiting_capacity = capacity;
    }
    struct ledger_entry e = {.kind = (uint8_t)value_kind_of(value),
                             .number = r->count,
                             .height = height,
                             .previous = r->last,
                             .value = value,
                             .certificate = certificate};
    struct writer w = writer_over(r->waiting + r->waiting_size, need);
    r->last = ledger_entry_write(&w, &e);
    r->waiting_size += w.size;
    r->count++;
    r->height = height;
    n->record.entries++;
}

struct record_job {
    struct job job;
    const struct home *home;
    struct core_key key;
    struct core_hash run;
    uint64_t at, count, height;
    struct core_hash last;
    uint8_t *bytes;
    size_t size;
};

static enum core_err append(const struct record_job *j)
{
    char name[NAME_SIZE], path[HOME_PATH_SIZE + 256];
    log_name(name, &j->run, "log");
    if (j->at == 0 && !home_has(j->home, name)) {
        enum core_err err = home_write(j->home, name, (struct slice){0});
        if (err) return err;
    }
    home_file(j->home, name, path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return core_error_from_errno(errno);
    enum core_err err = CORE_ERR_OK;
    for (size_t done = 0; done < j->size && !err;) {
        ssize_t written = pwrite(fd, j->bytes + done, j->size - done, (off_t)(j->at + done));
        if (written < 0)
            err = core_error_from_errno(errno);
        else
            done += (size_t)written;
    }
    if (!err && fdatasync(fd)) err = core_error_from_errno(errno);
    close(fd);
    return err;
}

static void record_run_job(struct job *job, struct worker *w)
{
    (void)w;
    struct record_job *j = (struct record_job *)job;
    job->err = append(j);
    if (job->err) return;
    uint8_t bytes[LEDGER_HEAD_SIZE];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct ledger_head head = {.run = j->run, .count = j->count, .height = j->height, .last = j->last};
    ledger_head_write(&out, &head, &j->key);
    char name[NAME_SIZE];
    log_name(name, &j->run, "head");
    job->err = home_write(j->home, name, (struct slice){bytes, out.size});
}

static void record_done(struct job *job, void *context)
{
    struct node *n = context;
    struct record_job *j = (struct record_job *)job;
    struct record_run *r = get(&n->record, &j->run);
    n->record.writing = NULL;
    if (!job->err) {
        r->size = j->at + j->size;
        memmove(r->waiting, r->waiting + j->size, r->waiting_size - j->size);
        r->waiting_size -= j->size;
    } else if (job->err != CORE_ERR_INTERRUPTED) {
        node_disk_failed(n, job->err, "the record");
    }
    free(j->bytes);
    free(j);
}

void record_tick(struct node *n)
{
    if (n->record.writing || n->disk_full) return;
    for (uint32_t i = 0; i < n->record.run_count; i++) {
        struct record_run *r = &n->record.runs[i];
        if (!r->waiting_size) continue;
        struct record_job *j = calloc(1, sizeof *j);
        uint8_t *bytes = malloc(r->waiting_size);
        if (!j || !bytes) {
            free(j);
            free(bytes);
            return;
        }
        memcpy(bytes, r->waiting, r->waiting_size);
        *j = (struct record_job){
            .job = {.name = "record", .priority = JOB_LOW, .run = record_run_job, .done = record_done},
            .home = &n->home,
            .key = n->key,
            .run = r->run,
            .at = r->size,
            .count = r->count,
            .height = r->height,
            .last = r->last,
            .bytes = bytes,
            .size = r->waiting_size};
        n->record.writing = &j->job;
        worker_submit(&n->io_worker, &j->job);
        return;
    }
}
