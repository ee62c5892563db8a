#include "store/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const folders[DISK_KINDS] = {"chunks", "objects", "pins"};

enum { HEX_SIZE = 2 * CORE_HASH_SIZE + 1, PATH_SIZE = 96 };

// The hook's say, then the call's: an errno, 0 for go on, -1 for a short write.
static int failing(struct store *s, enum store_io what)
{
    return s->fail ? s->fail(s->fail_context, what) : 0;
}

// "chunks/ab/abcdef..", without the store's folder: everything is opened relative to it.
static void path_of(char path[PATH_SIZE], enum disk_kind kind, const struct core_hash *hash)
{
    char hex[HEX_SIZE];
    hex_encode(hex, hash->bytes, CORE_HASH_SIZE);
    snprintf(path, PATH_SIZE, "%s/%.2s/%s", folders[kind], hex, hex);
}

static enum core_err write_all(struct store *s, int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        int failure = failing(s, STORE_IO_WRITE);
        if (failure > 0) return core_error_from_errno(failure);
        size_t want =
            failure < 0 && size > 1 ? size / 2 : size;  // the rest is tried again, as after a real short write
        ssize_t n = write(fd, data, want);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return core_error_from_errno(errno);
        if (n == 0) return CORE_ERR_IO;
        data += n;
        size -= (size_t)n;
    }
    return CORE_ERR_OK;
}

static enum core_err rename_into(struct store *s, const char *temporary, const char *path)
{
    int failure = failing(s, STORE_IO_RENAME);
    if (failure > 0) return core_error_from_errno(failure);
    if (renameat(s->dir_fd, temporary, s->dir_fd, path) == 0) return CORE_ERR_OK;
    if (errno != ENOENT) return core_error_from_errno(errno);
    // The first file with these two digits makes its folder.
    char folder[PATH_SIZE];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    if (mkdirat(s->dir_fd, folder, 0700) != 0 && errno != EEXIST) return core_error_from_errno(errno);
    if (renameat(s->dir_fd, temporary, s->dir_fd, path) == 0) return CORE_ERR_OK;
    return core_error_from_errno(errno);
}

enum core_err disk_write(struct store *s, enum disk_kind kind, const struct core_hash *hash, const void *data,
                         size_t size)
{
    if (s->pending_count == DISK_PENDING_MAX) {
        enum core_err synced = disk_sync(s);
        if (synced) return synced;
    }
    char path[PATH_SIZE], temporary[64];
    path_of(path, kind, hash);
    snprintf(temporary, sizeof temporary, "tmp/%llu", (unsigned long long)s->temporary++);
    int failure = failing(s, STORE_IO_OPEN);
    if (failure > 0) return core_error_from_errno(failure);
    int fd = openat(s->dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return core_error_from_errno(errno);
    enum core_err err = write_all(s, fd, data, size);
    if (close(fd) != 0 && !err) err = core_error_from_errno(errno);
    if (!err) err = rename_into(s, temporary, path);
    if (err) {
        unlinkat(s->dir_fd, temporary, 0);
        return err;
    }
    s->pending[s->pending_count++] = (struct disk_pending){kind, *hash};
    return CORE_ERR_OK;
}

enum core_err disk_read(struct store *s, enum disk_kind kind, const struct core_hash *hash, void *out, size_t capacity,
                        size_t *size)
{
    char path[PATH_SIZE];
    path_of(path, kind, hash);
    int failure = failing(s, STORE_IO_READ);
    if (failure > 0) return core_error_from_errno(failure);
    int fd = openat(s->dir_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return core_error_from_errno(errno);
    struct stat st;
    enum core_err err = fstat(fd, &st) == 0 ? CORE_ERR_OK : core_error_from_errno(errno);
    if (!err && (st.st_size < 0 || (uint64_t)st.st_size > capacity)) err = CORE_ERR_TOO_LARGE;
    size_t at = 0;
    while (!err && at < (size_t)st.st_size) {
        ssize_t n = read(fd, (uint8_t *)out + at, (size_t)st.st_size - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            err = core_error_from_errno(errno);
        else if (n == 0)
            break;  // shorter than it was: its hash will tell
        else
            at += (size_t)n;
    }
    close(fd);
    *size = at;
    return err;
}

uint64_t disk_size(struct store *s, enum disk_kind kind, const struct core_hash *hash)
{
    char path[PATH_SIZE];
    struct stat st;
    path_of(path, kind, hash);
    return fstatat(s->dir_fd, path, &st, 0) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

bool disk_has(struct store *s, enum disk_kind kind, const struct core_hash *hash)
{
    char path[PATH_SIZE];
    path_of(path, kind, hash);
    return faccessat(s->dir_fd, path, F_OK, 0) == 0;
}

enum core_err disk_remove(struct store *s, enum disk_kind kind, const struct core_hash *hash)
{
    char path[PATH_SIZE];
    path_of(path, kind, hash);
    int failure = failing(s, STORE_IO_UNLINK);
    if (failure > 0) return core_error_from_errno(failure);
    if (unlinkat(s->dir_fd, path, 0) == 0 || errno == ENOENT) return CORE_ERR_OK;
    return core_error_from_errno(errno);
}

// One fsync of a file or folder; one that was removed meanwhile needs none.
static enum core_err sync_path(struct store *s, const char *path)
{
    int failure = failing(s, STORE_IO_FSYNC);
    if (failure > 0) return core_error_from_errno(failure);
    int fd = openat(s->dir_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? CORE_ERR_OK : core_error_from_errno(errno);
    enum core_err err = fsync(fd) == 0 ? CORE_ERR_OK : core_error_from_errno(errno);
    close(fd);
    return err;
}

static enum core_err sync_singly(struct store *s)
{
    enum core_err err = CORE_ERR_OK;
    for (uint32_t i = 0; !err && i < s->pending_count; i++) {
        char path[PATH_SIZE];
        path_of(path, s->pending[i].kind, &s->pending[i].hash);
        err = sync_path(s, path);
        *strrchr(path, '/') = 0;
        if (!err) err = sync_path(s, path);
        // The folder itself may be new.
        if (!err) err = sync_path(s, folders[s->pending[i].kind]);
    }
    return err;
}

enum core_err disk_sync(struct store *s)
{
    enum core_err err = CORE_ERR_OK;
    if (s->pending_count <= DISK_SYNC_SINGLY) {
        err = sync_singly(s);
    } else {
        int failure = failing(s, STORE_IO_FSYNC);
        if (failure > 0)
            err = core_error_from_errno(failure);
        else if (syncfs(s->dir_fd) != 0)
            err = core_error_from_errno(errno);
    }
    if (!err) s->pending_count = 0;
    return err;
}

enum core_err disk_list(struct store *s, enum disk_kind kind, struct core_hash **hashes, uint32_t *count)
{
    uint32_t room = 0;
    enum core_err err = CORE_ERR_OK;
    *hashes = NULL;
    *count = 0;
    for (uint32_t two = 0; !err && two < 256; two++) {
        char path[32];
        snprintf(path, sizeof path, "%s/%02x", folders[kind], two);
        int fd = openat(s->dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) continue;
        DIR *d = fdopendir(fd);
        if (!d) {
            close(fd);
            err = CORE_ERR_NO_MEMORY;
            break;
        }
        for (struct dirent *e = readdir(d); e; e = readdir(d)) {
            struct core_hash hash;
            if (!hex_decode(hash.bytes, CORE_HASH_SIZE, e->d_name)) continue;
            if (*count == room) {
                room = room ? 2 * room : 64;
                struct core_hash *more = realloc(*hashes, room * sizeof *more);
                if (!more) {
                    err = CORE_ERR_NO_MEMORY;
                    break;
                }
                *hashes = more;
            }
            (*hashes)[(*count)++] = hash;
        }
        closedir(d);
    }
    if (err) {
        free(*hashes);
        *hashes = NULL;
        *count = 0;
    }
    return err;
}
