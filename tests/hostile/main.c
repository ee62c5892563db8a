// Arguments, the home of a member gone bad, and the table of attacks.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "hostile.h"

uint64_t hostile_clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void hostile_random(struct hostile *h, void *out, size_t size)
{
    uint8_t *bytes = out;
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)rng_below(&h->rng, 256);
}

static size_t read_file(const char *home, const char *name, uint8_t *out, size_t capacity)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", home, name);
    FILE *f = fopen(path, "rb");
    size_t size = f ? fread(out, 1, capacity, f) : 0;
    if (f) fclose(f);
    return size;
}

static bool read_home(struct hostile *h, const char *home)
{
    char path[4096];
    uint8_t charter[CHARTER_MAX];
    snprintf(path, sizeof path, "%s/key", home);
    size_t size = read_file(home, "charter", charter, sizeof charter);
    h->certificate_size = read_file(home, "certificate", h->certificate, sizeof h->certificate);
    h->member = true;
    struct certificate own;
    if (certificate_decode((struct slice){h->certificate, h->certificate_size}, &own)) return false;
    memcpy(h->name, own.name, sizeof h->name);
    return identity_load(path, &h->key) == CORE_ERR_OK &&
           charter_decode((struct slice){charter, size}, &h->charter) == CORE_ERR_OK;
}

// A stranger's own mesh: it has a charter and a certificate, but not this mesh's.
static bool make_mesh(struct hostile *h)
{
    uint8_t nonce[CHARTER_NONCE_SIZE];
    random_bytes(nonce, sizeof nonce);
    h->key = sign_key_random();
    uint64_t now_s = (uint64_t)time(NULL);
    if (charter_create(&h->key, "mesh", FAULT_TRUSTED, now_s, nonce, &h->charter)) return false;
    struct certificate what = {
        .mesh = h->charter.id, .key = h->key.id, .roles = ROLE_MEMBER | ROLE_FOUNDER, .issued_s = now_s, .name = "p1"};
    return certificate_issue(&h->charter, &h->key, (struct slice){0}, &what, h->certificate, &h->certificate_size) ==
           CORE_ERR_OK;
}

static const struct attack *const tables[] = {stranger_attacks, member_attacks, table_attacks,
                                              bulk_attacks,     lane_attacks,   answer_attacks};
enum { TABLES = sizeof tables / sizeof *tables };

static const struct attack *find(const char *name)
{
    for (int t = 0; t < TABLES; t++)
        for (const struct attack *a = tables[t]; a->name; a++)
            if (!strcmp(a->name, name)) return a;
    return NULL;
}

static int usage(void)
{
    fprintf(stderr, "hostile ATTACK --port N --id HEX [--home HOME] [--from ADDRESS] [--about HEX] [--count N] "
                    "[--seconds S] [--seed N]\n");
    for (int t = 0; t < TABLES; t++)
        for (const struct attack *a = tables[t]; a->name; a++)
            fprintf(stderr, "  %s%s\n", a->name, a->member ? " (member)" : "");
    return 2;
}

int main(int argc, char **argv)
{
    static struct hostile h = {.host = {{9, 9, 9}}, .from = "127.0.0.9", .count = 100, .seconds = 5, .seed = 1};
    const char *home = NULL;
    if (argc < 2 || sign_start()) return usage();
    h.attack = argv[1];
    for (int i = 2; i + 1 < argc; i += 2) {
        const char *word = argv[i], *value = argv[i + 1];
        if (!strcmp(word, "--port"))
            h.port = (uint16_t)strtoul(value, NULL, 10);
        else if (!strcmp(word, "--home"))
            home = value;
        else if (!strcmp(word, "--from"))
            h.from = value;
        else if (!strcmp(word, "--count"))
            h.count = (uint32_t)strtoul(value, NULL, 10);
        else if (!strcmp(word, "--seconds"))
            h.seconds = (uint32_t)strtoul(value, NULL, 10);
        else if (!strcmp(word, "--seed"))
            h.seed = strtoull(value, NULL, 0);
        else if (!strcmp(word, "--id") && hex_decode(h.target.bytes, CORE_ID_SIZE, value))
            continue;
        else if (!strcmp(word, "--about") && hex_decode(h.about.bytes, CORE_ID_SIZE, value))
            continue;
        else
            return usage();
    }
    const struct attack *attack = find(h.attack);
    if (!attack || !h.port || (attack->member && !home)) return usage();
    if (!(home ? read_home(&h, home) : make_mesh(&h))) {
        fprintf(stderr, "hostile: no member's home: %s\n", home ? home : "(made up)");
        return 1;
    }
    h.rng = rng_from(h.seed, 0);
    h.end_ms = hostile_clock_ms() + 2000ull * h.seconds + 10000;
    h.context = zmq_ctx_new();
    attack->run(&h);
    printf("{\"attack\":\"%s\",\"sent\":%llu,\"answers\":%llu,\"closed\":%llu}\n", h.attack, (unsigned long long)h.sent,
           (unsigned long long)h.answers, (unsigned long long)h.closed);
    fflush(stdout);
    zmq_ctx_shutdown(h.context);
    _Exit(0);  // whatever still hangs in libzmq's pipes is of no interest
}
