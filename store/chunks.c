#include "store/chunks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/disk.h"
#include "store/object.h"

static enum core_err make_folder(int at, const char *path)
{
    return mkdirat(at, path, 0700) == 0 || errno == EEXIST ? CORE_ERR_OK : core_error_from_errno(errno);
}

// What a crash left half written.
static void empty_temporary(struct store *s)
{
    int fd = openat(s->dir_fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        if (fd >= 0) close(fd);
        return;
    }
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (e->d_name[0] != '.') unlinkat(fd, e->d_name, 0);
    }
    closedir(d);
}

enum core_err store_open(struct store **out, const char *dir, const struct store_options *options)
{
    *out = NULL;
    struct store *s = calloc(1, sizeof *s);
    if (!s) return CORE_ERR_NO_MEMORY;
    s->dir_fd = -1;
    if (options) {
        s->fail = options->fail;
        s->fail_context = options->fail_context;
    }
    s->pending = malloc(DISK_PENDING_MAX * sizeof *s->pending);
    s->buffer = malloc(STORE_CHUNK_SIZE);
    enum core_err err = s->pending && s->buffer ? CORE_ERR_OK : CORE_ERR_NO_MEMORY;
    if (!err) err = make_folder(AT_FDCWD, dir);
    if (!err) {
        s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->dir_fd < 0) err = core_error_from_errno(errno);
    }
    static const char *const inside[] = {"chunks", "objects", "pins", "tmp"};
    for (size_t i = 0; !err && i < sizeof inside / sizeof inside[0]; i++) err = make_folder(s->dir_fd, inside[i]);
    if (err) {
        store_close(s);
        return err;
    }
    empty_temporary(s);
    *out = s;
    return CORE_ERR_OK;
}

void store_close(struct store *s)
{
    if (!s) return;
    if (s->dir_fd >= 0) close(s->dir_fd);
    free(s->pending);
    free(s->buffer);
    free(s);
}

static enum core_err put_hashed(struct store *s, const struct core_hash *hash, const void *data, size_t size)
{
    // A file of another length under this name is one that a crash of the machine has spoilt.
    if (store_has_size(s, hash, size)) return CORE_ERR_OK;
    return disk_write(s, DISK_CHUNK, hash, data, size);
}

enum core_err store_put(struct store *s, const void *data, size_t size, struct core_hash *hash)
{
    if (size > STORE_CHUNK_SIZE) return CORE_ERR_TOO_LARGE;
    *hash = hash_leaf(data, size);
    return put_hashed(s, hash, data, size);
}

enum core_err store_put_checked(struct store *s, const struct core_hash *hash, const void *data, size_t size)
{
    if (size > STORE_CHUNK_SIZE) return CORE_ERR_TOO_LARGE;
    struct core_hash actual = hash_leaf(data, size);
    if (!hash_equal(&actual, hash)) return CORE_ERR_VERIFY_FAILED;
    return put_hashed(s, hash, data, size);
}

enum core_err store_get(struct store *s, const struct core_hash *hash, void *out, size_t capacity, size_t *size)
{
    enum core_err err = disk_read(s, DISK_CHUNK, hash, out, capacity, size);
    if (err) return err;
    struct core_hash actual = hash_leaf(out, *size);
    if (hash_equal(&actual, hash)) return CORE_ERR_OK;
    err = disk_remove(s, DISK_CHUNK, hash);
    return err ? err : CORE_ERR_VERIFY_FAILED;
}

bool store_has(struct store *s, const struct core_hash *hash)
{
    return disk_has(s, DISK_CHUNK, hash);
}

bool store_has_size(struct store *s, const struct core_hash *hash, size_t size)
{
    return disk_has(s, DISK_CHUNK, hash) && disk_size(s, DISK_CHUNK, hash) == size;
}

enum core_err store_remove(struct store *s, const struct core_hash *hash)
{
    return disk_remove(s, DISK_CHUNK, hash);
}

enum core_err store_sync(struct store *s)
{
    return disk_sync(s);
}

enum core_err store_serve(struct store *s, const struct core_hash *hash, void *out, size_t capacity, size_t *size)
{
    enum core_err err = store_get(s, hash, out, capacity, size);
    if (err != CORE_ERR_NOT_FOUND) return err;
    err = disk_read(s, DISK_OBJECT, hash, out, capacity, size);
    if (err) return err;
    struct object_index index;
    err = object_index_decode((struct slice){out, *size}, UINT64_MAX, &index);
    if (err == CORE_ERR_NO_MEMORY) return err;
    bool right = err == CORE_ERR_OK && hash_equal(&index.root, hash);
    if (!err) object_index_free(&index);
    if (right) return CORE_ERR_OK;
    err = disk_remove(s, DISK_OBJECT, hash);
    return err ? err : CORE_ERR_VERIFY_FAILED;
}
