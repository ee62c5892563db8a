#include "gossip/conduct.h"

#include <stdlib.h>
#include <string.h>

static uint64_t key_of(const struct core_id *id)
{
    uint64_t key;
    memcpy(&key, id->bytes, sizeof key);
    return key;
}

void conduct_close(struct conduct *c)
{
    free(c->rows);
    *c = (struct conduct){0};
}

static struct conduct_row *find(const struct conduct *c, uint64_t id)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->rows[i].id == id) return &c->rows[i];
    return NULL;
}

static struct conduct_row *oldest(struct conduct *c, uint64_t now_ms)
{
    struct conduct_row *oldest = &c->rows[0];
    for (uint32_t i = 1; i < c->count; i++) {
        struct conduct_row *row = &c->rows[i];
        const bool muted = row->muted_until_ms > now_ms, oldest_muted = oldest->muted_until_ms > now_ms;
        if (muted != oldest_muted ? oldest_muted : row->seen_ms < oldest->seen_ms) oldest = row;
    }
    return oldest;
}

// The author's row, made where there is none; NULL for want of memory.
static struct conduct_row *row_of(struct conduct *c, const struct core_id *author, uint64_t now_ms)
{
    const uint64_t id = key_of(author);
    struct conduct_row *row = find(c, id);
    if (!row && c->count == c->capacity && c->capacity < CONDUCT_ROWS_MAX) {
        const uint32_t capacity = c->capacity ? 2 * c->capacity : 8;
        struct conduct_row *rows = realloc(c->rows, capacity * sizeof *rows);
        if (rows) {
            c->rows = rows;
            c->capacity = capacity;
        }
    }
    if (!row) {
        if (c->count < c->capacity)
            row = &c->rows[c->count++];
        else if (c->count > 0)
            row = oldest(c, now_ms);
        else
            return NULL;
        *row = (struct conduct_row){.id = id,
                                    .records_ms = now_ms,
                                    .accusations_ms = now_ms,
                                    .records = CONDUCT_RECORDS,
                                    .accusations = CONDUCT_ACCUSATIONS};
    }
    row->seen_ms = now_ms;
    return row;
}

static bool take(uint32_t cost, uint32_t *left, uint64_t *filled_ms, uint32_t most, uint64_t each_ms, uint64_t now_ms)
{
    const uint64_t more = now_ms > *filled_ms ? (now_ms - *filled_ms) / each_ms : 0;
    *filled_ms += more * each_ms;
    *left = more >= most - *left ? most : *left + (uint32_t)more;
    if (*left < cost) return false;
    *left -= cost;
    return true;
}

bool conduct_record(struct conduct *c, const struct core_id *author, uint64_t now_ms)
{
    struct conduct_row *row = row_of(c, author, now_ms);
    return row && take(1, &row->records, &row->records_ms, CONDUCT_RECORDS, CONDUCT_RECORD_MS, now_ms);
}

bool conduct_accusation(struct conduct *c, const struct core_id *author, uint32_t cost, uint64_t now_ms)
{
    struct conduct_row *row = row_of(c, author, now_ms);
    return row &&
           take(cost, &row->accusations, &row->accusations_ms, CONDUCT_ACCUSATIONS, CONDUCT_ACCUSATION_MS, now_ms);
}

bool conduct_refuted(struct conduct *c, const struct core_id *author, const struct core_id *target, uint64_t now_ms)
{
    struct conduct_row *row = row_of(c, author, now_ms);
    if (!row) return false;
    const uint32_t hashed = (uint32_t)(key_of(target) >> 16);
    uint32_t place = 0, recent = 1;
    for (uint32_t i = 0; i < CONDUCT_REFUTED; i++) {
        if (row->refuted_ms[i] && row->targets[i] == hashed) {
            row->refuted_ms[i] = now_ms;
            return false;
        }
        if (row->refuted_ms[i] < row->refuted_ms[place]) place = i;
    }
    for (uint32_t i = 0; i < CONDUCT_REFUTED; i++)
        recent += i != place && row->refuted_ms[i] && now_ms - row->refuted_ms[i] < CONDUCT_REFUTED_MS;
    row->targets[place] = hashed;
    row->refuted_ms[place] = now_ms;
    if (recent < CONDUCT_REFUTED || row->muted_until_ms > now_ms) return false;
    row->muted_until_ms = now_ms + CONDUCT_MUTED_MS;
    return true;
}

bool conduct_muted(const struct conduct *c, const struct core_id *author, uint64_t now_ms)
{
    const struct conduct_row *row = find(c, key_of(author));
    return row && row->muted_until_ms > now_ms;
}
