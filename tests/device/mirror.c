#include "device/mirror.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

// The product's own, which mirror.h renamed for the tests.
void hip_launch(struct hip_stream *s, enum hip_kernel k, const void *args);

enum {
    BLOCKS_MAX = 256,
    ARGS_MAX = 256,
    LINE = 64,
    STACK_NEAR = 1 << 20,  // an address so near a local variable's is the caller's local variable
};

struct block {
    char *host, *device;
    size_t size;
    bool used;
};

static struct block blocks[BLOCKS_MAX];
static size_t block_count;

void *mirror_malloc(size_t size)
{
    char *p = malloc(size ? size : 1);
    assert_true(p && block_count < BLOCKS_MAX);
    blocks[block_count++] = (struct block){.host = p, .size = size ? size : 1};
    return p;
}

void mirror_free(void *p)
{
    for (size_t i = 0; i < block_count; i++) {
        if (blocks[i].host != p) continue;
        blocks[i] = blocks[--block_count];
        break;
    }
    free(p);
}

#define ARGS_SIZE(NAME, name) [HIP_KERNEL_##NAME] = sizeof(struct hip_##name),
static const size_t args_size[HIP_KERNEL_COUNT] = {HIP_KERNELS(ARGS_SIZE)};

// The block that holds this address; a local variable of the caller is one for as long as the launch takes.
static struct block *block_at(char *address, struct block *locals, size_t *local_count)
{
    for (size_t i = 0; i < block_count; i++) {
        if (address >= blocks[i].host && address < blocks[i].host + blocks[i].size) return blocks + i;
    }
    for (size_t i = 0; i < *local_count; i++) {
        if (address == locals[i].host) return locals + i;
    }
    const char *here = __builtin_frame_address(0);
    if (address < here || address > here + STACK_NEAR) return NULL;
    locals[*local_count] = (struct block){.host = address, .size = sizeof(float)};
    return locals + (*local_count)++;
}

static void bring(struct hip_device *device, struct hip_stream *s, struct block *b)
{
    void *at;
    if (b->used) return;
    assert_int_equal(hip_alloc(device, b->size + LINE, &at), CORE_ERR_OK);
    b->device = at;
    b->used = true;
    hip_upload(s, b->device, b->host, b->size);
}

static void take_back(struct hip_device *device, struct hip_stream *s, struct block *b)
{
    if (!b->used) return;
    hip_download(s, b->host, b->device, b->size);
    assert_int_equal(hip_stream_wait(s), CORE_ERR_OK);
    hip_free(device, b->device);
    b->used = false;
}

static struct hip_device *mirrored;  // the device of the streams that mirror_each hands out

void mirror_launch(struct hip_stream *s, enum hip_kernel k, const void *args)
{
    struct block locals[ARGS_MAX / sizeof(char *)];
    size_t local_count = 0;
    if (!mirrored) {
        hip_launch(s, k, args);
        return;
    }
    union {
        char bytes[ARGS_MAX];
        char *words[ARGS_MAX / sizeof(char *)];
    } copy = {{0}};
    assert_true(args_size[k] <= sizeof copy);
    memcpy(copy.bytes, args, args_size[k]);
    for (size_t i = 0; i < args_size[k] / sizeof(char *); i++) {
        struct block *b = block_at(copy.words[i], locals, &local_count);
        if (!b) continue;
        bring(mirrored, s, b);
        copy.words[i] = b->device + (copy.words[i] - b->host);
    }
    hip_launch(s, k, copy.bytes);
    const enum core_err err = hip_stream_wait(s);
    char why[HIP_WHY_SIZE];
    hip_device_why(mirrored, why, sizeof why);
    if (err) fail_msg("%s: %s (%s)", hip_kernel_name(k), core_error_text(err), why);
    for (size_t i = 0; i < block_count; i++) take_back(mirrored, s, blocks + i);
    for (size_t i = 0; i < local_count; i++) take_back(mirrored, s, locals + i);
}

void mirror_launch_host(struct hip_stream *s, enum hip_kernel k, const void *args)
{
    hip_launch(s, k, args);
}

uint32_t mirror_devices(const struct hip_found **found)
{
    static struct hip_found all[2 * HIP_MAX_DEVICES], usable[2 * HIP_MAX_DEVICES];
    static uint32_t count;
    static bool looked;
    *found = usable;
    if (looked) return count;
    looked = true;
    const uint32_t there = hip_devices_find(all, 2 * HIP_MAX_DEVICES);
    for (uint32_t i = 0; i < there; i++) {
        const struct hip_facts *f = &all[i].facts;
        if (!all[i].usable) {
            printf("NOT USABLE: %s: %s\n", all[i].name, all[i].why);
            continue;
        }
        printf("%s: %s, %s, driver %s, %u units, %llu MiB\n", all[i].name, f->name, f->isa, f->driver, f->units,
               (unsigned long long)(f->memory_bytes >> 20));
        usable[count++] = all[i];
    }
    if (!count) printf("SKIPPED: NO USABLE GPU ON THIS MACHINE: NOTHING OF tests/device WAS TESTED ON HARDWARE\n");
    return count;
}

void mirror_each(void (*test)(struct hip_stream *s))
{
    const struct hip_found *found;
    const uint32_t count = mirror_devices(&found);
    if (!count) skip();
    for (uint32_t i = 0; i < count; i++) {
        struct hip_stream *s;
        char why[HIP_WHY_SIZE];
        if (hip_device_open_told(found[i].name, NULL, &mirrored, why, sizeof why)) fail_msg("%s", why);
        assert_int_equal(hip_stream_open(mirrored, &s), CORE_ERR_OK);
        test(s);
        hip_stream_close(s);
        hip_device_close(mirrored);
        mirrored = NULL;
    }
}
