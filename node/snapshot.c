// params-ROUND-ATTEMPT: a head of 256 bytes, then `elements` little-endian fp32 parameters, then as many of momentum.
//   0  "MYCELRS1"   8  u64 round   16 u32 attempt   20 u8 has inner   21 u8 has momentum   22 u64 elements
//   30 params_hash  62 outer_hash  94 inner_hash    126 zeros         224 BLAKE2b-256 of bytes 0 to 223
#include "node/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/check.h"
#include "learn/outer.h"

static const char magic[8] = {'M', 'Y', 'C', 'E', 'L', 'R', 'S', '1'};
enum { HEAD_HASHED = SNAPSHOT_HEAD - CORE_HASH_SIZE };
static const size_t state_limit = (size_t)1 << 40;

enum core_err run_inner_new(struct run_inner **out, const struct model_config *config)
{
    struct run_inner *inner = calloc(1, sizeof *inner);
    *out = inner;
    if (!inner) return CORE_ERR_NO_MEMORY;
    atomic_init(&inner->references, 1);
    enum core_err err = inner_state_open(&inner->state, config);
    if (err) {
        free(inner);
        *out = NULL;
    }
    return err;
}

struct run_inner *run_inner_hold(struct run_inner *inner)
{
    atomic_fetch_add(&inner->references, 1);
    return inner;
}

void run_inner_release(struct run_inner *inner)
{
    if (!inner || atomic_fetch_sub(&inner->references, 1) != 1) return;
    inner_state_close(&inner->state);
    free(inner);
}

enum core_err snapshot_new(struct snapshot **out, uint64_t elements, bool momentum)
{
    struct snapshot *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) return CORE_ERR_NO_MEMORY;
    atomic_init(&s->references, 1);
    s->elements = elements;
    s->params = calloc(elements, sizeof *s->params);
    s->momentum = momentum ? calloc(elements, sizeof *s->momentum) : NULL;
    if (!s->params || (momentum && !s->momentum)) {
        snapshot_release(s);
        return CORE_ERR_NO_MEMORY;
    }
    *out = s;
    return CORE_ERR_OK;
}

struct snapshot *snapshot_hold(struct snapshot *s)
{
    atomic_fetch_add(&s->references, 1);
    return s;
}

void snapshot_release(struct snapshot *s)
{
    if (!s || atomic_fetch_sub(&s->references, 1) != 1) return;
    run_inner_release(s->inner);
    free(s->params);
    free(s->momentum);
    free(s);
}

void run_folder_name(char out[RUN_FILE_NAME], const struct core_hash *run)
{
    char hex[2 * CORE_HASH_SIZE + 1];
    hex_encode(hex, run->bytes, CORE_HASH_SIZE);
    snprintf(out, RUN_FILE_NAME, "runs/%s", hex);
}

void run_file_name(char out[RUN_FILE_NAME], const struct core_hash *run, const char *file)
{
    run_folder_name(out, run);
    size_t n = strlen(out);
    snprintf(out + n, RUN_FILE_NAME - n, "/%s", file);
}

void run_params_name(char out[RUN_FILE_NAME], const struct core_hash *run, uint64_t round, uint32_t attempt)
{
    run_folder_name(out, run);
    size_t n = strlen(out);
    snprintf(out + n, RUN_FILE_NAME - n, "/params-%llu-%u", (unsigned long long)round, attempt);
}

void run_inner_name(char out[RUN_FILE_NAME], const struct core_hash *run, uint64_t round, const struct core_hash *hash)
{
    char hex[17];
    hex_encode(hex, hash->bytes, 8);
    run_folder_name(out, run);
    size_t n = strlen(out);
    snprintf(out + n, RUN_FILE_NAME - n, "/inner-%llu-%s", (unsigned long long)round, hex);
}

void run_update_name(char out[RUN_FILE_NAME], const struct core_hash *run, uint64_t round)
{
    run_folder_name(out, run);
    size_t n = strlen(out);
    snprintf(out + n, RUN_FILE_NAME - n, "/update-%llu", (unsigned long long)round);
}

static void encode_head(uint8_t out[SNAPSHOT_HEAD], const struct snapshot *s)
{
    memset(out, 0, SNAPSHOT_HEAD);
    struct writer w = writer_over(out, SNAPSHOT_HEAD);
    write_bytes(&w, magic, sizeof magic);
    write_u64(&w, s->round);
    write_u32(&w, s->attempt);
    write_u8(&w, s->has_inner);
    write_u8(&w, s->momentum != NULL);
    write_u64(&w, s->elements);
    write_bytes(&w, s->params_hash.bytes, CORE_HASH_SIZE);
    write_bytes(&w, s->outer_hash.bytes, CORE_HASH_SIZE);
    write_bytes(&w, s->inner_hash.bytes, CORE_HASH_SIZE);
    struct core_hash hash = hash_bytes(out, HEAD_HASHED);
    memcpy(out + HEAD_HASHED, hash.bytes, CORE_HASH_SIZE);
}

static enum core_err decode_head(const uint8_t in[SNAPSHOT_HEAD], struct snapshot_head *head)
{
    struct core_hash hash = hash_bytes(in, HEAD_HASHED);
    if (memcmp(in, magic, sizeof magic) || memcmp(in + HEAD_HASHED, hash.bytes, CORE_HASH_SIZE))
        return CORE_ERR_MALFORMED;
    struct reader r = reader_over(in + sizeof magic, SNAPSHOT_HEAD - sizeof magic);
    head->round = read_u64(&r);
    head->attempt = read_u32(&r);
    head->has_inner = read_u8(&r) == 1;
    head->has_momentum = read_u8(&r) == 1;
    head->elements = read_u64(&r);
    read_bytes(&r, head->params_hash.bytes, CORE_HASH_SIZE);
    read_bytes(&r, head->outer_hash.bytes, CORE_HASH_SIZE);
    read_bytes(&r, head->inner_hash.bytes, CORE_HASH_SIZE);
    return CORE_ERR_OK;
}

// Hosts are little-endian (x86-64, aarch64), so a vector's memory is its form on disk.
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fp32 vectors are written as they lie in memory");

enum core_err snapshot_save(const struct home *h, const struct core_hash *run, const struct snapshot *s)
{
    char name[RUN_FILE_NAME];
    uint8_t head[SNAPSHOT_HEAD];
    run_params_name(name, run, s->round, s->attempt);
    encode_head(head, s);
    size_t bytes = s->elements * sizeof(float);
    const struct slice parts[] = {{head, sizeof head},
                                  {(const uint8_t *)s->params, bytes},
                                  {(const uint8_t *)s->momentum, s->momentum ? bytes : 0}};
    return home_write_parts(h, name, parts, 3);
}

enum core_err run_inner_save(const struct home *h, const struct core_hash *run, uint64_t round,
                             const struct run_inner *inner)
{
    size_t size = 1 + 8 + 3 * inner->state.elements * sizeof(float);
    uint8_t head[16];
    struct writer w = writer_over(head, sizeof head);
    write_u8(&w, 1);
    write_u64(&w, inner->state.steps);
    size_t bytes = inner->state.elements * sizeof(float);
    const struct slice parts[] = {{head, w.size},
                                  {(const uint8_t *)inner->state.m, bytes},
                                  {(const uint8_t *)inner->state.v, bytes},
                                  {(const uint8_t *)inner->state.residual, bytes}};
    check(size == w.size + 3 * bytes);
    char name[RUN_FILE_NAME];
    run_inner_name(name, run, round, &inner->hash);
    return home_write_parts(h, name, parts, 4);
}

enum core_err snapshot_peek(const struct home *h, const char *name, struct snapshot_head *head)
{
    char path[HOME_PATH_SIZE + 256];
    home_file(h, name, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return core_error_from_errno(errno);
    uint8_t bytes[SNAPSHOT_HEAD];
    struct stat st = {0};
    enum core_err err = CORE_ERR_MALFORMED;
    if (fstat(fd, &st) == 0 && pread(fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes)
        err = decode_head(bytes, head);
    close(fd);
    if (err) return err;
    uint64_t vectors = head->has_momentum ? 2 : 1;
    bool whole = head->elements < state_limit / 8 &&
                 (uint64_t)st.st_size == SNAPSHOT_HEAD + vectors * head->elements * sizeof(float);
    return whole ? CORE_ERR_OK : CORE_ERR_MALFORMED;
}

static void load_inner(const struct home *h, const struct core_hash *run, const struct model_config *config,
                       struct snapshot *s)
{
    char name[RUN_FILE_NAME];
    uint8_t *bytes = NULL;
    size_t size = 0;
    run_inner_name(name, run, s->round, &s->inner_hash);
    enum core_err err = home_read(h, name, state_limit, &bytes, &size);
    if (!err) err = run_inner_new(&s->inner, config);
    if (!err) err = inner_state_decode((struct slice){bytes, size}, &s->inner->state);
    if (!err) {
        s->inner->hash = inner_state_hash(&s->inner->state);
        if (!hash_equal(&s->inner->hash, &s->inner_hash)) err = CORE_ERR_VERIFY_FAILED;
    }
    free(bytes);
    if (!err) return;
    run_inner_release(s->inner);
    s->inner = NULL;
    s->has_inner = false;
}

enum core_err snapshot_load(const struct home *h, const struct core_hash *run, const char *name,
                            const struct model_config *config, bool inner, struct snapshot **out)
{
    *out = NULL;
    struct snapshot_head head;
    enum core_err err = snapshot_peek(h, name, &head);
    if (!err && head.elements != tensors_elements(config)) err = CORE_ERR_MALFORMED;
    if (err) return err;
    struct snapshot *s;
    err = snapshot_new(&s, head.elements, head.has_momentum);
    if (err) return err;
    uint8_t *bytes = NULL;
    size_t size = 0;
    err = home_read(h, name, state_limit, &bytes, &size);
    if (!err) {
        size_t vector = head.elements * sizeof(float);
        memcpy(s->params, bytes + SNAPSHOT_HEAD, vector);
        if (s->momentum) memcpy(s->momentum, bytes + SNAPSHOT_HEAD + vector, vector);
        s->round = head.round;
        s->attempt = head.attempt;
        s->params_hash = head.params_hash;
        s->outer_hash = head.outer_hash;
        s->inner_hash = head.inner_hash;
        s->has_inner = head.has_inner;
        struct core_hash hash = tensors_hash(config, s->params, NULL);
        struct core_hash outer = outer_hash(config, s->momentum ? 1 : 0, s->momentum);
        if (!hash_equal(&hash, &s->params_hash) || !hash_equal(&outer, &s->outer_hash)) err = CORE_ERR_VERIFY_FAILED;
    }
    free(bytes);
    if (!err && inner && s->has_inner) load_inner(h, run, config, s);
    if (err)
        snapshot_release(s);
    else
        *out = s;
    return err;
}

void run_files_each(const struct home *h, const struct core_hash *run,
                    void (*each)(void *context, const char *name, const char *kind, uint64_t round), void *context)
{
    static const char *const kinds[] = {"params-", "inner-", "update-"};
    char folder[RUN_FILE_NAME], path[HOME_PATH_SIZE + 256], name[RUN_FILE_NAME + 260];
    run_folder_name(folder, run);
    home_file(h, folder, path);
    DIR *dir = opendir(path);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            size_t prefix = strlen(kinds[k]);
            if (strncmp(e->d_name, kinds[k], prefix) || strstr(e->d_name, ".new")) continue;
            int n = snprintf(name, sizeof name, "%s/%s", folder, e->d_name);
            if (n < RUN_FILE_NAME) each(context, name, kinds[k], strtoull(e->d_name + prefix, NULL, 10));
        }
    }
    closedir(dir);
}
