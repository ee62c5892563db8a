// Slabs: memory of one process that others of its host read in place and give back, so that neither clearing nor
// mapping of pages comes with every message. Who lends keeps the buffer until it is given back; who borrows keeps the
// mapping for the next message in the same slab.
//
//   borrower: SLABS_WELCOME once the lane is open, if the other side runs as the same user in the same namespaces: it
//             could write to our memory anyway, so bytes that only its good behaviour keeps as they were are no loss
//   lender:   a packet with the slab's descriptor; the n-th of a lane is number n - 1 on both sides
//   borrower: SLABS_BACK with numbers, from whichever thread was the last to hold the bytes
//
// Invariants
//   1. a slab that is lent is not written to until its number is back; when the lane ends before that, its memory is
//      spoiled: not used again;
//   2. at most LENT_MAX slabs of LENT_BYTES in all are lent over a lane, else bulk goes as a copy in a sealed memfd;
//      who lends more, or gives back what was not lent, is let go;
//   3. what is borrowed stays mapped for as long as it is held, after the lane's end too.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/check.h"
#include "mesh/bulk_internal.h"

enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW, MAPS_MAX = 512 };

// ---- lending; the sending thread lends, the receiving thread takes back ----

bool bulk_lend(struct bulk_lane *lane, struct buffer *buffer)
{
    struct lent *l = &lane->lent;
    if (!atomic_load(&lane->slabs_welcome)) return false;
    pthread_mutex_lock(&lane->bulk->mutex);
    bool room = l->count < LENT_MAX && l->bytes + buffer_size(buffer) <= LENT_BYTES;
    if (room) {
        l->items[l->count].number = l->next++;
        l->items[l->count++].buffer = buffer_keep(buffer);
        l->bytes += buffer_size(buffer);
    }
    pthread_mutex_unlock(&lane->bulk->mutex);
    return room;
}

static struct buffer *take_back(struct lent *l, uint32_t index)
{
    struct buffer *buffer = l->items[index].buffer;
    l->bytes -= buffer_size(buffer);
    l->items[index] = l->items[--l->count];
    return buffer;
}

void bulk_lend_not(struct bulk_lane *lane)
{
    struct lent *l = &lane->lent;
    pthread_mutex_lock(&lane->bulk->mutex);
    l->next--;
    uint32_t last = 0;
    while (l->items[last].number != l->next) last++;
    struct buffer *buffer = take_back(l, last);
    pthread_mutex_unlock(&lane->bulk->mutex);
    buffer_drop(buffer);
}

static bool came_back(struct bulk_lane *lane, uint64_t number)
{
    struct lent *l = &lane->lent;
    struct buffer *buffer = NULL;
    pthread_mutex_lock(&lane->bulk->mutex);
    for (uint32_t i = 0; i < l->count && !buffer; i++)
        if (l->items[i].number == number) buffer = take_back(l, i);
    pthread_mutex_unlock(&lane->bulk->mutex);
    buffer_drop(buffer);
    return buffer != NULL;
}

enum core_err bulk_came_back(struct bulk_lane *lane, struct slice numbers)
{
    struct reader r = reader_over(numbers.data, numbers.size);
    while (r.at < numbers.size)
        if (!came_back(lane, read_u64(&r)) || r.failed) return CORE_ERR_MALFORMED;
    return CORE_ERR_OK;
}

void bulk_lend_end(struct bulk_lane *lane)
{
    for (uint32_t i = 0; i < lane->lent.count; i++) {
        buffer_spoil(lane->lent.items[i].buffer);
        buffer_drop(lane->lent.items[i].buffer);
    }
}

// ---- who may be borrowed from ----

// Names of a process's namespaces can be read only by who may look into its memory, too.
static bool same_namespace(pid_t pid, const char *kind)
{
    char path[64], ours[64] = "", theirs[64] = "?";
    snprintf(path, sizeof path, "/proc/self/ns/%s", kind);
    if (readlink(path, ours, sizeof ours - 1) < 0) return false;
    snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, kind);
    return readlink(path, theirs, sizeof theirs - 1) > 0 && strcmp(ours, theirs) == 0;
}

bool bulk_may_borrow(int fd)
{
    struct ucred who;
    socklen_t size = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 && who.pid > 0 && who.uid == geteuid() &&
           same_namespace(who.pid, "pid") && same_namespace(who.pid, "mnt") && same_namespace(who.pid, "user");
}

// ---- borrowing ----

// A slab of somebody else's, mapped. The receiving thread's list holds it, and each buffer in it that was handed up.
struct slab_map {
    struct slab_map *next;
    atomic_uint holders;
    dev_t device;
    ino_t inode;  // not used again while it is mapped
    void *data;
    size_t size;
};

static void map_drop(struct slab_map *m)
{
    if (atomic_fetch_sub(&m->holders, 1) != 1) return;
    munmap(m->data, m->size);
    free(m);
}

// Held for the caller. NULL where it is none that may be mapped; `err` says why.
static struct slab_map *map_of(struct bulk *b, int fd, enum core_err *err)
{
    struct stat s;
    *err = CORE_ERR_MALFORMED;
    if (fstat(fd, &s) != 0) return NULL;
    for (struct slab_map *m = b->maps; m; m = m->next) {
        if (m->inode != s.st_ino || m->device != s.st_dev) continue;
        atomic_fetch_add(&m->holders, 1);
        return m;
    }
    int seals = fcntl(fd, F_GET_SEALS);  // fails for whatever is no memfd
    if (seals < 0 || (seals & SEALS) != SEALS || !S_ISREG(s.st_mode) || s.st_size <= 0) return NULL;
    *err = CORE_ERR_NO_MEMORY;
    struct slab_map *m = malloc(sizeof *m);
    void *data = m ? mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (data == MAP_FAILED) {
        free(m);
        return NULL;
    }
    *m = (struct slab_map){.device = s.st_dev, .inode = s.st_ino, .data = data, .size = (size_t)s.st_size};
    bool listed = b->map_count < MAPS_MAX;  // above that it is mapped for this message alone
    atomic_init(&m->holders, listed ? 2 : 1);
    if (listed) {
        m->next = b->maps;
        b->maps = m;
        b->map_count++;
    }
    return m;
}

bool bulk_maps_trim(struct bulk *b, bool all)
{
    for (struct slab_map **at = &b->maps; *at;) {
        struct slab_map *m = *at;
        if (!all && atomic_load(&m->holders) > 1) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        b->map_count--;
        map_drop(m);
    }
    return b->maps != NULL;
}

// What is to be told over a lane once buffers are dropped, by any thread; it outlives the lane while some are not.
struct returns {
    atomic_uint holders;  // the lane, and each buffer
    pthread_mutex_t mutex;
    bool over;
    int wake;  // the sending thread's, while not over
    atomic_uint count;
    uint32_t out;  // buffers that were not dropped yet, and numbers that were not told
    uint64_t numbers[LENT_MAX];
};

struct borrowed {
    struct returns *returns;
    struct slab_map *map;
    uint64_t number;
};

struct returns *bulk_returns_new(int wake)
{
    struct returns *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->wake = wake;
    atomic_init(&r->holders, 1);
    check(pthread_mutex_init(&r->mutex, NULL) == 0);
    return r;
}

static void returns_drop(struct returns *r)
{
    if (atomic_fetch_sub(&r->holders, 1) != 1) return;
    pthread_mutex_destroy(&r->mutex);
    free(r);
}

void bulk_returns_end(struct returns *r)
{
    if (!r) return;
    pthread_mutex_lock(&r->mutex);
    r->over = true;
    pthread_mutex_unlock(&r->mutex);
    returns_drop(r);
}

bool bulk_returns_wait(const struct returns *r)
{
    return r && atomic_load(&r->count) > 0;
}

size_t bulk_returns_take(struct returns *r, uint8_t out[LENT_MAX * 8])
{
    struct writer w = writer_over(out, LENT_MAX * 8);
    pthread_mutex_lock(&r->mutex);
    const uint32_t count = atomic_load(&r->count);
    for (uint32_t i = 0; i < count; i++) write_u64(&w, r->numbers[i]);
    pthread_mutex_unlock(&r->mutex);
    return count * 8;
}

// The first `size` bytes of those were told.
void bulk_returns_told(struct returns *r, size_t size)
{
    pthread_mutex_lock(&r->mutex);
    const uint32_t told = (uint32_t)(size / 8), count = atomic_load(&r->count);
    memmove(r->numbers, r->numbers + told, (count - told) * sizeof *r->numbers);
    r->out -= told;
    atomic_store(&r->count, count - told);
    pthread_mutex_unlock(&r->mutex);
}

static void give_back(void *context)
{
    struct borrowed *item = context;
    struct returns *r = item->returns;
    map_drop(item->map);
    pthread_mutex_lock(&r->mutex);
    if (!r->over) {
        uint32_t count = atomic_load(&r->count);
        r->numbers[count] = item->number;
        atomic_store(&r->count, count + 1);
        if (count == 0) bulk_wake(r->wake);
    }
    pthread_mutex_unlock(&r->mutex);
    returns_drop(r);
    free(item);
}

enum core_err bulk_borrow(struct bulk_lane *lane, int fd, size_t size, struct buffer **out)
{
    struct returns *r = lane->returns;
    enum core_err err = CORE_ERR_NO_MEMORY;
    if (fd < 0) return CORE_ERR_MALFORMED;
    if (!r) {  // they were not welcome
        close(fd);
        return CORE_ERR_MALFORMED;
    }
    struct borrowed *item = malloc(sizeof *item);
    struct slab_map *map = item ? map_of(lane->bulk, fd, &err) : NULL;
    close(fd);
    if (!item) return CORE_ERR_NO_MEMORY;
    pthread_mutex_lock(&r->mutex);
    if (map && map->size < size) err = CORE_ERR_MALFORMED;
    if (map && r->out == LENT_MAX) err = CORE_ERR_LIMIT;
    bool ok = map && map->size >= size && r->out < LENT_MAX;
    if (ok) r->out++;
    pthread_mutex_unlock(&r->mutex);
    *out = ok ? buffer_adopt(map->data, size, give_back, item) : NULL;
    if (*out) {
        *item = (struct borrowed){r, map, lane->borrowed++};
        atomic_fetch_add(&r->holders, 1);
        return CORE_ERR_OK;
    }
    if (ok) err = CORE_ERR_NO_MEMORY;
    if (map) map_drop(map);
    free(item);
    return err;
}
