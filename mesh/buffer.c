#include "mesh/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/check.h"

enum {
    POOL_LEAST = 65536,  // smaller buffers are left to malloc
    POOL_CLASSES = 24,   // powers of two from there
    SEALS = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW,
    SLAB_SEALS = F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL,
};

enum buffer_kind { BUFFER_PLAIN, BUFFER_POOLED, BUFFER_MAPPED, BUFFER_SLAB, BUFFER_ADOPTED };

struct buffer {
    atomic_uint holders;
    enum buffer_kind kind;
    uint8_t *data;
    size_t size;
    int fd;  // MAPPED: the memfd, -1 once it is of no more use; SLAB
    bool sealed;
    atomic_bool spoiled;             // SLAB
    void (*release)(void *context);  // ADOPTED
    void *context;
    struct buffer_pool *pool;  // POOLED, SLAB
    uint32_t class;
};

// Free memory of a pool; what is written here lies in it.
struct spare {
    struct spare *next;
    int fd;  // of a slab
};

enum spare_kind { SPARE_POOLED, SPARE_SLAB, SPARE_KINDS };

struct buffer_pool {
    atomic_uint holders;  // its owner and its buffers
    pthread_mutex_t mutex;
    struct spare *spares[SPARE_KINDS][POOL_CLASSES];
    size_t kept_bytes, keep_bytes;
};

static struct buffer *make(enum buffer_kind kind, void *data, size_t size)
{
    struct buffer *b = malloc(sizeof *b);
    if (!b) return NULL;
    *b = (struct buffer){.kind = kind, .data = data, .size = size, .fd = -1};
    atomic_init(&b->holders, 1);
    return b;
}

struct buffer *buffer_new(size_t size)
{
    struct buffer *b = make(BUFFER_PLAIN, NULL, size);
    if (!b) return NULL;
    b->data = malloc(size ? size : 1);
    if (b->data) return b;
    free(b);
    return NULL;
}

struct buffer *buffer_adopt(void *data, size_t size, void (*release)(void *context), void *context)
{
    struct buffer *b = make(BUFFER_ADOPTED, data, size);
    if (!b) return NULL;
    b->release = release;
    b->context = context;
    return b;
}

// ---- shared ----

struct buffer *buffer_new_shared(size_t size)
{
    if (size == 0) return NULL;
    int fd = memfd_create("mycel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return NULL;
    void *data = MAP_FAILED;
    if (ftruncate(fd, (off_t)size) == 0) data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct buffer *b = data == MAP_FAILED ? NULL : make(BUFFER_MAPPED, data, size);
    if (!b) {
        if (data != MAP_FAILED) munmap(data, size);
        close(fd);
        return NULL;
    }
    b->fd = fd;
    return b;
}

enum core_err buffer_seal(struct buffer *b)
{
    if (b->kind == BUFFER_SLAB) b->sealed = true;
    if (b->sealed) return CORE_ERR_OK;
    if (b->kind != BUFFER_MAPPED || b->fd < 0) return CORE_ERR_UNSUPPORTED;
    // No shared mapping may be left when it is sealed; the address is held meanwhile. MAP_PRIVATE shows the same pages,
    // and kernels before 6.7 take no other mapping of a sealed file.
    void *at = mmap(b->data, b->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (at == MAP_FAILED || fcntl(b->fd, F_ADD_SEALS, SEALS) != 0) return CORE_ERR_IO;
    at = mmap(b->data, b->size, PROT_READ, MAP_PRIVATE | MAP_FIXED, b->fd, 0);
    if (at == MAP_FAILED) return CORE_ERR_IO;
    b->sealed = true;
    return CORE_ERR_OK;
}

struct buffer *buffer_copy_shared(struct slice from)
{
    int fd = memfd_create("mycel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return NULL;
    size_t done = 0;
    for (ssize_t got = 1; done < from.size && got > 0; done += got > 0 ? (size_t)got : 0)
        got = pwrite(fd, from.data + done, from.size - done, (off_t)done);
    struct buffer *b = NULL;
    if (done == from.size && fcntl(fd, F_ADD_SEALS, SEALS) == 0) b = make(BUFFER_MAPPED, NULL, from.size);
    if (!b) {
        close(fd);
        return NULL;
    }
    b->fd = fd;
    b->sealed = true;
    return b;
}

int buffer_descriptor(const struct buffer *b)
{
    return b->sealed ? b->fd : -1;
}

enum core_err buffer_map(int fd, size_t size, struct buffer **out)
{
    struct stat s;
    int seals = fcntl(fd, F_GET_SEALS);  // fails for whatever is no memfd
    bool ok = seals >= 0 && (seals & SEALS) == SEALS && size > 0 && fstat(fd, &s) == 0 && S_ISREG(s.st_mode) &&
              (uint64_t)s.st_size == size;
    void *data = ok ? mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0) : MAP_FAILED;
    close(fd);
    if (!ok) return CORE_ERR_MALFORMED;
    struct buffer *b = data == MAP_FAILED ? NULL : make(BUFFER_MAPPED, data, size);
    if (!b) {
        if (data != MAP_FAILED) munmap(data, size);
        return CORE_ERR_NO_MEMORY;
    }
    *out = b;
    return CORE_ERR_OK;
}

// ---- pool ----

struct buffer_pool *buffer_pool_open(size_t keep_bytes)
{
    struct buffer_pool *pool = calloc(1, sizeof *pool);
    if (!pool) return NULL;
    pool->keep_bytes = keep_bytes;
    atomic_init(&pool->holders, 1);
    check(pthread_mutex_init(&pool->mutex, NULL) == 0);
    return pool;
}

static void pool_drop(struct buffer_pool *pool)
{
    if (atomic_fetch_sub(&pool->holders, 1) != 1) return;
    buffer_pool_trim(pool);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

void buffer_pool_keep(struct buffer_pool *pool, size_t bytes)
{
    pthread_mutex_lock(&pool->mutex);
    pool->keep_bytes = bytes;
    pthread_mutex_unlock(&pool->mutex);
    if (bytes == 0) buffer_pool_trim(pool);
}

void buffer_pool_close(struct buffer_pool *pool)
{
    if (!pool) return;
    buffer_pool_keep(pool, 0);
    pool_drop(pool);
}

static void spare_free(struct spare *s, enum spare_kind kind, uint32_t class)
{
    if (kind == SPARE_SLAB) close(s->fd);
    munmap(s, (size_t)POOL_LEAST << class);
}

void buffer_pool_trim(struct buffer_pool *pool)
{
    struct spare *all[SPARE_KINDS][POOL_CLASSES];
    pthread_mutex_lock(&pool->mutex);
    memcpy(all, pool->spares, sizeof all);
    memset(pool->spares, 0, sizeof pool->spares);
    pool->kept_bytes = 0;
    pthread_mutex_unlock(&pool->mutex);
    for (int kind = 0; kind < SPARE_KINDS; kind++) {
        for (uint32_t i = 0; i < POOL_CLASSES; i++) {
            for (struct spare *s = all[kind][i], *next; s; s = next) {
                next = s->next;
                spare_free(s, (enum spare_kind)kind, i);
            }
        }
    }
}

static struct spare *take_spare(struct buffer_pool *pool, enum spare_kind kind, uint32_t class)
{
    pthread_mutex_lock(&pool->mutex);
    struct spare *s = pool->spares[kind][class];
    if (s) {
        pool->spares[kind][class] = s->next;
        pool->kept_bytes -= (size_t)POOL_LEAST << class;
    }
    pthread_mutex_unlock(&pool->mutex);
    return s;
}

// Memory that nobody can resize and nobody else can write to, ever. MAP_FAILED with nothing left open.
static void *slab_make(size_t bytes, int *fd)
{
    void *data = MAP_FAILED;
    *fd = memfd_create("mycel-slab", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0) return MAP_FAILED;
    if (ftruncate(*fd, (off_t)bytes) == 0) data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    // What is mapped by now stays writable: ours.
    if (data != MAP_FAILED && fcntl(*fd, F_ADD_SEALS, SLAB_SEALS) == 0) return data;
    if (data != MAP_FAILED) munmap(data, bytes);
    close(*fd);
    return MAP_FAILED;
}

static struct buffer *pool_new(struct buffer_pool *pool, size_t size, enum spare_kind kind)
{
    uint32_t class = 0;
    while (class < POOL_CLASSES && (size_t)POOL_LEAST << class < size) class ++;
    struct buffer *b = class < POOL_CLASSES ? make(kind == SPARE_SLAB ? BUFFER_SLAB : BUFFER_POOLED, NULL, size) : NULL;
    if (!b) return NULL;
    size_t bytes = (size_t)POOL_LEAST << class;
    struct spare *s = take_spare(pool, kind, class);
    if (s) {
        b->fd = kind == SPARE_SLAB ? s->fd : -1;
        b->data = (void *)s;
    } else if (kind == SPARE_SLAB) {
        b->data = slab_make(bytes, &b->fd);
    } else {
        b->data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    if ((void *)b->data == MAP_FAILED) {
        free(b);
        return NULL;
    }
    b->pool = pool;
    b->class = class;
    atomic_fetch_add(&pool->holders, 1);
    return b;
}

struct buffer *buffer_pool_new(struct buffer_pool *pool, size_t size)
{
    return size < POOL_LEAST ? buffer_new(size) : pool_new(pool, size, SPARE_POOLED);
}

struct buffer *buffer_pool_new_slab(struct buffer_pool *pool, size_t size)
{
    return pool_new(pool, size, SPARE_SLAB);
}

bool buffer_is_slab(const struct buffer *b)
{
    return b->kind == BUFFER_SLAB;
}

void buffer_spoil(struct buffer *b)
{
    atomic_store(&b->spoiled, true);
}

static void pool_take_back(struct buffer *b)
{
    struct buffer_pool *pool = b->pool;
    const enum spare_kind kind = b->kind == BUFFER_SLAB ? SPARE_SLAB : SPARE_POOLED;
    size_t bytes = (size_t)POOL_LEAST << b->class;
    struct spare *s = (struct spare *)(void *)b->data;
    if (atomic_load(&b->spoiled)) {  // it is still read: not even its place in the list is written there
        close(b->fd);
        munmap(b->data, bytes);
        pool_drop(pool);
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    bool keep = pool->kept_bytes + bytes <= pool->keep_bytes;
    s->fd = b->fd;
    if (keep) {
        s->next = pool->spares[kind][b->class];
        pool->spares[kind][b->class] = s;
        pool->kept_bytes += bytes;
    }
    pthread_mutex_unlock(&pool->mutex);
    if (!keep) spare_free(s, kind, b->class);
    pool_drop(pool);
}

// ---- holders ----

struct buffer *buffer_keep(struct buffer *b)
{
    if (b) atomic_fetch_add(&b->holders, 1);
    return b;
}

void buffer_drop(struct buffer *b)
{
    if (!b || atomic_fetch_sub(&b->holders, 1) != 1) return;
    switch (b->kind) {
    case BUFFER_PLAIN: free(b->data); break;
    case BUFFER_POOLED:
    case BUFFER_SLAB: pool_take_back(b); break;
    case BUFFER_ADOPTED: b->release(b->context); break;
    case BUFFER_MAPPED:
        if (b->data) munmap(b->data, b->size);
        if (b->fd >= 0) close(b->fd);
        break;
    }
    free(b);
}

uint8_t *buffer_data(struct buffer *b)
{
    return b->data;
}

size_t buffer_size(const struct buffer *b)
{
    return b->size;
}

struct slice buffer_slice(struct buffer *b)
{
    return (struct slice){b->data, b->size};
}
