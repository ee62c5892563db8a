#include "bench/fleet_lines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"

static void error(struct fleet *f, uint32_t index, const char *text)
{
    f->errors++;
    if (!*f->error) snprintf(f->error, sizeof f->error, "process %u: %s", index, text);
    if (getenv("MYCEL_BENCH_VERBOSE")) fprintf(stderr, "%s %u: %s\n", f->program.name, index, text);
}

static void take_full(struct fleet *f, uint32_t index, uint64_t at_us)
{
    f->nodes[index].full_us = at_us;
    for (uint32_t i = 0; i < f->count; i++) {
        f->sees[index * f->count + i] = true;
        f->changed_us[index * f->count + i] = at_us;
    }
}

static void take_latencies(struct fleet *f, char *words)
{
    char *rest = NULL;
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *latency = strtok_r(NULL, " ", &rest);
        if (!latency) return;
        if (f->delivery_count == f->delivery_capacity) {
            f->delivery_capacity = f->delivery_capacity ? 2 * f->delivery_capacity : 4096;
            f->deliveries = realloc(f->deliveries, f->delivery_capacity * sizeof *f->deliveries);
            check(f->deliveries);
        }
        f->deliveries[f->delivery_count++] =
            (struct fleet_delivery){strtoull(word, NULL, 10), strtoull(latency, NULL, 10)};
    }
}

void fleet_line(struct fleet *f, uint32_t index, char *line)
{
    struct fleet_node *node = &f->nodes[index];
    char *words = strchr(line, ' ');
    if (words)
        *words++ = '\0';
    else
        words = line + strlen(line);
    uint64_t at_us = 0;
    uint32_t other = UINT32_MAX;
    bool of_other = sscanf(words, "%" SCNu64 " %" SCNu32, &at_us, &other) == 2 && other < f->count;
    size_t pair = of_other ? (size_t)index * f->count + other : 0;
    if (!strcmp(line, "READY")) {
        node->ready = true;
        snprintf(node->address, sizeof node->address, "%s", words);
    } else if (!strcmp(line, "FULL")) {
        take_full(f, index, strtoull(words, NULL, 10));
    } else if ((!strcmp(line, "GONE") || !strcmp(line, "BACK")) && of_other) {
        f->sees[pair] = *line == 'B';
        f->changed_us[pair] = at_us;
        if (*line == 'G') f->losses[pair]++;
    } else if (!strcmp(line, "DOUBT") && of_other) {
        f->doubts[pair]++;
    } else if (!strcmp(line, "DONE")) {
        node->done = true;
    } else if (!strcmp(line, "LAT")) {
        take_latencies(f, words);
    } else if (!strcmp(line, "STAT")) {
        node->told = sscanf(words, "%" SCNu64 " %" SCNu64, &node->delivered, &node->duplicate) == 2;
    } else if (!strcmp(line, "TALK")) {
        snprintf(node->talk, sizeof node->talk, "%s", words);
    } else if (!strcmp(line, "ERR")) {
        error(f, index, words);
    } else {
        error(f, index, line);
    }
}

// ---- what they talk about ----

enum { TALK_TYPES = 64, TALK_NAME = 32, TALK_MS = 5000 };

struct talk {
    char name[TALK_NAME];
    uint64_t sent;
};

static bool all_talked(struct fleet *f, void *context)
{
    (void)context;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->nodes[i].alive && !*f->nodes[i].talk) return false;
    return true;
}

static void add_talk(struct talk *types, char *text)
{
    char *rest = NULL;
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *number = strchr(word, '=');
        if (!number) continue;
        *number++ = '\0';
        int k = 0;
        while (k < TALK_TYPES - 1 && *types[k].name && strcmp(types[k].name, word) != 0) k++;
        snprintf(types[k].name, TALK_NAME, "%s", word);
        types[k].sent += strtoull(number, NULL, 10);
    }
}

static int most_first(const void *a, const void *b)
{
    uint64_t x = ((const struct talk *)a)->sent, y = ((const struct talk *)b)->sent;
    return (x < y) - (x > y);
}

void fleet_talk(struct fleet *f, char *out, size_t size)
{
    struct talk types[TALK_TYPES] = {0};
    for (uint32_t i = 0; i < f->count; i++) {
        *f->nodes[i].talk = '\0';
        fleet_tell(f, i, "TALK");
    }
    (void)fleet_until(f, all_talked, NULL, TALK_MS);
    for (uint32_t i = 0; i < f->count; i++) add_talk(types, f->nodes[i].talk);
    qsort(types, TALK_TYPES, sizeof *types, most_first);
    size_t used = 0;
    *out = '\0';
    for (int k = 0; k < TALK_TYPES && *types[k].name && used < size; k++)
        used += (size_t)snprintf(out + used, size - used, " %s=%" PRIu64, types[k].name, types[k].sent);
}

// ---- who sees whom ----

uint32_t fleet_full(const struct fleet *f)
{
    uint32_t full = 0;
    for (uint32_t i = 0; i < f->count; i++) full += f->nodes[i].full_us > 0;
    return full;
}

uint32_t fleet_unseen(const struct fleet *f)
{
    uint32_t unseen = 0;
    for (uint32_t i = 0; i < f->count; i++)
        for (uint32_t j = 0; j < f->count; j++)
            if (f->nodes[i].alive && f->nodes[j].alive && !f->sees[i * f->count + j]) unseen++;
    return unseen;
}

bool fleet_all_see_all(const struct fleet *f)
{
    return fleet_unseen(f) == 0;
}

uint32_t fleet_still_see(const struct fleet *f, uint32_t index, uint64_t *last_us)
{
    uint32_t still = 0;
    *last_us = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        size_t pair = (size_t)i * f->count + index;
        if (i == index || !f->nodes[i].alive) continue;
        if (f->sees[pair])
            still++;
        else if (f->changed_us[pair] > *last_us)
            *last_us = f->changed_us[pair];
    }
    return still;
}

static uint32_t sum_but(const struct fleet *f, const uint32_t *counts, uint32_t except)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < f->count; i++)
        for (uint32_t j = 0; j < f->count; j++)
            if (j != except && f->nodes[i].alive && f->nodes[j].alive) sum += counts[i * f->count + j];
    return sum;
}

uint32_t fleet_false_losses(const struct fleet *f, uint32_t except)
{
    return sum_but(f, f->losses, except);
}

uint32_t fleet_false_doubts(const struct fleet *f, uint32_t except)
{
    return sum_but(f, f->doubts, except);
}

void fleet_clear(struct fleet *f)
{
    memset(f->losses, 0, (size_t)f->count * f->count * sizeof *f->losses);
    memset(f->doubts, 0, (size_t)f->count * f->count * sizeof *f->doubts);
}
