#include "node/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/hash.h"

static void write_head(uint8_t head[JOURNAL_HEAD], uint32_t kind, struct slice payload)
{
    struct writer w = writer_over(head, JOURNAL_HEAD);
    write_u32(&w, (uint32_t)payload.size);
    write_u32(&w, kind);
    struct hash_state state;
    hash_begin(&state);
    hash_add(&state, head + 4, 4);
    hash_add(&state, payload.data, payload.size);
    struct core_hash hash = hash_end(&state);
    write_bytes(&w, hash.bytes, 8);
}

// The size of the whole record at `data`, 0 where there is none.
static size_t record_at(const uint8_t *data, size_t size, uint32_t *kind, struct slice *payload)
{
    struct reader r = reader_over(data, size);
    uint32_t length = read_u32(&r);
    *kind = read_u32(&r);
    if (size < JOURNAL_HEAD || length > JOURNAL_RECORD_MAX || size - JOURNAL_HEAD < length) return 0;
    *payload = (struct slice){data + JOURNAL_HEAD, length};
    uint8_t head[JOURNAL_HEAD];
    write_head(head, *kind, *payload);
    return memcmp(head, data, JOURNAL_HEAD) == 0 ? JOURNAL_HEAD + length : 0;
}

static enum core_err load(int fd, uint8_t **data, size_t *size)
{
    struct stat st;
    if (fstat(fd, &st)) return core_error_from_errno(errno);
    *data = malloc((size_t)st.st_size + 1);
    if (!*data) return CORE_ERR_NO_MEMORY;
    for (*size = 0; *size < (size_t)st.st_size;) {
        ssize_t n = pread(fd, *data + *size, (size_t)st.st_size - *size, (off_t)*size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            free(*data);
            return core_error_from_errno(errno);
        }
        if (n == 0) break;
        *size += (size_t)n;
    }
    return CORE_ERR_OK;
}

enum core_err journal_open(struct journal *j, const char *path,
                           void (*record)(void *context, uint32_t kind, struct slice payload), void *context)
{
    *j = (struct journal){.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (j->fd < 0) return core_error_from_errno(errno);
    uint8_t *data;
    size_t size;
    enum core_err err = load(j->fd, &data, &size);
    if (err) {
        journal_close(j);
        return err;
    }
    uint32_t kind;
    struct slice payload;
    for (size_t whole; (whole = record_at(data + j->size, size - j->size, &kind, &payload)); j->size += whole)
        if (record) record(context, kind, payload);
    free(data);
    if (j->size == size || ftruncate(j->fd, (off_t)j->size) == 0) return CORE_ERR_OK;
    err = core_error_from_errno(errno);
    journal_close(j);
    return err;
}

void journal_close(struct journal *j)
{
    if (j->fd >= 0) close(j->fd);
    j->fd = -1;
}

enum core_err journal_append_unsynced(struct journal *j, uint32_t kind, struct slice payload)
{
    if (payload.size > JOURNAL_RECORD_MAX) return CORE_ERR_TOO_LARGE;
    if (j->fd < 0) return CORE_ERR_IO;
    uint8_t head[JOURNAL_HEAD];
    write_head(head, kind, payload);
    struct iovec parts[2] = {{head, sizeof head}, {(void *)(uintptr_t)payload.data, payload.size}};
    size_t want = sizeof head + payload.size;
    ssize_t n;
    do n = pwritev(j->fd, parts, 2, (off_t)j->size);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)want) {
        j->size += want;
        return CORE_ERR_OK;
    }
    enum core_err err = n < 0 ? core_error_from_errno(errno) : CORE_ERR_NO_SPACE;
    // A part that was written would be cut at the next open anyway: its hash is wrong.
    if (ftruncate(j->fd, (off_t)j->size)) return err;
    return err;
}

enum core_err journal_sync(struct journal *j)
{
    return fdatasync(j->fd) ? core_error_from_errno(errno) : CORE_ERR_OK;
}

enum core_err journal_append(struct journal *j, uint32_t kind, struct slice payload)
{
    uint64_t before = j->size;
    enum core_err err = journal_append_unsynced(j, kind, payload);
    if (!err) err = journal_sync(j);
    if (err && j->size != before) {
        j->size = before;  // what is not durable was never written
        if (ftruncate(j->fd, (off_t)before)) return err;
    }
    return err;
}

// Writes the kept records of `data` into the new file.
static enum core_err copy_kept(struct journal *to, const uint8_t *data, size_t size,
                               bool (*keep)(void *context, uint32_t kind, struct slice payload), void *context)
{
    uint32_t kind;
    struct slice payload;
    enum core_err err = CORE_ERR_OK;
    for (size_t at = 0, whole; !err && (whole = record_at(data + at, size - at, &kind, &payload)); at += whole)
        if (keep(context, kind, payload)) err = journal_append_unsynced(to, kind, payload);
    return err ? err : journal_sync(to);
}

static enum core_err sync_name(const char *path)
{
    char folder[4096];
    int n = snprintf(folder, sizeof folder, "%s", path);
    char *slash = n > 0 && (size_t)n < sizeof folder ? strrchr(folder, '/') : NULL;
    if (!slash) return CORE_ERR_IO;
    *slash = 0;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return core_error_from_errno(errno);
    enum core_err err = fsync(fd) ? core_error_from_errno(errno) : CORE_ERR_OK;
    close(fd);
    return err;
}

enum core_err journal_rewrite(struct journal *j, const char *path,
                              bool (*keep)(void *context, uint32_t kind, struct slice payload), void *context)
{
    char temporary[4096];
    int n = snprintf(temporary, sizeof temporary, "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof temporary) return CORE_ERR_TOO_LARGE;
    uint8_t *data;
    size_t size;
    enum core_err err = load(j->fd, &data, &size);
    if (err) return err;
    struct journal fresh = {.fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    err = fresh.fd < 0 ? core_error_from_errno(errno) : copy_kept(&fresh, data, size, keep, context);
    free(data);
    if (!err && rename(temporary, path)) err = core_error_from_errno(errno);
    if (err) {
        journal_close(&fresh);
        unlink(temporary);
        return err;
    }
    journal_close(j);
    *j = fresh;
    // Until the name is durable, a crash of the machine could bring back the old file without what is appended now.
    return sync_name(path);
}
