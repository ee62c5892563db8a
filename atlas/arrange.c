#include "atlas/arrange.h"

#include <math.h>
#include <stdlib.h>

enum { STRESS_ROUNDS = 48, PUSH_ROUNDS = 30, GROW_TRIES = 256 };

static const double NEAREST_US = 30;  // below, the order of things is noise
static const double FILLED = 0.40;    // of the picture's area, by items, before anybody is pushed
static const double GROW = 1.02;  // little: which of two neighbouring sizes it comes to is chance, and should not show

double arrange_distance(const struct arrange_item *a, const struct arrange_item *b)
{
    double sum = 0;
    for (int i = 0; i < 3; i++) sum += (a->at[i] - b->at[i]) * (a->at[i] - b->at[i]);
    return sqrt(sum) + a->above + b->above;
}

static uint64_t mix(uint64_t x)  // splitmix64's finaliser
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static double unit(uint64_t bits)  // [-1, 1)
{
    return (double)(bits >> 11) * (2.0 / 9007199254740992.0) - 1.0;
}

static double wanted(const struct arrange_item *a, const struct arrange_item *b)
{
    double d = arrange_distance(a, b);
    return sqrt(d > NEAREST_US ? d : NEAREST_US);
}

// ---- 1: where they start ----

static void start(struct arrange_item *items, uint32_t count)
{
    double reach = sqrt(NEAREST_US);
    for (uint32_t i = 0; i < count; i++) {
        struct arrange_item *t = &items[i];
        if (!t->located) continue;
        // Along its direction, but as far as the square root of the distance; a hair off, lest two be one point.
        double far = sqrt(t->at[0] * t->at[0] + t->at[1] * t->at[1]);
        double shrink = far > 1 ? 1 / sqrt(far) : 1;
        t->x = t->at[0] * shrink + unit(mix(t->key)) * 0.5;
        t->y = t->at[1] * shrink + unit(mix(t->key + 1)) * 0.5;
        double out = sqrt(t->x * t->x + t->y * t->y);
        if (out > reach) reach = out;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (items[i].located) continue;
        items[i].x = unit(mix(items[i].key)) * reach;
        items[i].y = unit(mix(items[i].key + 1)) * reach;
    }
}

// ---- 2: stress ----

static int by_place(const void *a, const void *b)
{
    const struct arrange_item *x = *(struct arrange_item *const *)a, *y = *(struct arrange_item *const *)b;
    uint64_t p = mix(x->key ^ 0x5bd1e995), q = mix(y->key ^ 0x5bd1e995);
    return p == q ? (x > y) - (x < y) : (p > q) - (p < q);
}

// One round: each goes to the weighted mean of where the pivots would have it. Pivots are chosen by their keys, so that
// who comes or goes changes few of them.
static void stress_round(struct arrange_item *const *pivots, uint32_t pivot_count, struct arrange_item *items,
                         uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct arrange_item *t = &items[i];
        if (!t->located) continue;
        double weights = 0, x = 0, y = 0;
        for (uint32_t p = 0; p < pivot_count; p++) {
            const struct arrange_item *o = pivots[p];
            if (o == t) continue;
            double want = wanted(t, o), dx = t->x - o->x, dy = t->y - o->y, is = sqrt(dx * dx + dy * dy);
            double weight = 1 / (want * want), pull = is > 1e-9 ? want / is : 0;
            weights += weight;
            x += weight * (o->x + dx * pull);
            y += weight * (o->y + dy * pull);
        }
        if (weights <= 0) continue;
        t->x = x / weights;
        t->y = y / weights;
    }
}

static enum core_err stress(struct arrange_item *items, uint32_t count)
{
    struct arrange_item **pivots = malloc(count * sizeof *pivots);
    if (!pivots) return CORE_ERR_NO_MEMORY;
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        if (items[i].located) pivots[n++] = &items[i];
    qsort(pivots, n, sizeof(struct arrange_item *), by_place);
    if (n > ARRANGE_PIVOTS) n = ARRANGE_PIVOTS;
    for (int r = 0; r < STRESS_ROUNDS; r++) stress_round(pivots, n, items, count);
    free(pivots);
    return CORE_ERR_OK;
}

// ---- 3: sizes ----

static void scale(struct arrange_item *items, uint32_t count, double by_x, double by_y)
{
    for (uint32_t i = 0; i < count; i++) {
        items[i].x *= by_x;
        items[i].y *= by_y;
    }
}

// So large that the items fill FILLED of it, and towards the wanted aspect, by half at most: angles lie as little as
// may be.
static void fit(struct arrange_item *items, uint32_t count, double aspect)
{
    double mx = 0, my = 0, sx = 0, sy = 0, area = 0;
    for (uint32_t i = 0; i < count; i++) {
        mx += items[i].x / count;
        my += items[i].y / count;
        area += items[i].width * items[i].height;
    }
    for (uint32_t i = 0; i < count; i++) {
        items[i].x -= mx;
        items[i].y -= my;
        sx += items[i].x * items[i].x / count;
        sy += items[i].y * items[i].y / count;
    }
    sx = sqrt(sx);
    sy = sqrt(sy);
    if (sx < 1e-9 && sy < 1e-9) return;
    const double floor = (sx > sy ? sx : sy) * 0.05;
    double bend = sqrt((sy > floor ? sy : floor) / (sx > floor ? sx : floor) * aspect);
    bend = bend > 1.5 ? 1.5 : bend < 0.67 ? 0.67 : bend;
    sx = (sx > floor ? sx : floor) * bend;
    sy = (sy > floor ? sy : floor) / bend;
    // Spread evenly, a side is sqrt(12) times the deviation.
    const double size = sqrt(area / FILLED / (12 * sx * sy));
    scale(items, count, bend * size, size / bend);
}

static int by_left(const void *a, const void *b)
{
    const struct arrange_item *x = *(struct arrange_item *const *)a, *y = *(struct arrange_item *const *)b;
    double p = x->x - x->width / 2, q = y->x - y->width / 2;
    return p == q ? (x > y) - (x < y) : (p > q) - (p < q);
}

static bool push_pair(struct arrange_item *a, struct arrange_item *b)
{
    double dx = b->x - a->x, dy = b->y - a->y;
    double over_x = (a->width + b->width) / 2 - fabs(dx), over_y = (a->height + b->height) / 2 - fabs(dy);
    if (over_x <= 1e-6 || over_y <= 1e-6) return false;
    // The larger stays more nearly where it is.
    double of_a = b->width * b->height / (a->width * a->height + b->width * b->height), of_b = 1 - of_a;
    if (over_x / (a->width + b->width) < over_y / (a->height + b->height)) {
        double by = (dx < 0 ? -over_x : over_x) * 1.02 + (dx < 0 ? -1e-3 : 1e-3);
        a->x -= by * of_a;
        b->x += by * of_b;
    } else {
        double by = (dy < 0 ? -over_y : over_y) * 1.02 + (dy < 0 ? -1e-3 : 1e-3);
        a->y -= by * of_a;
        b->y += by * of_b;
    }
    return true;
}

// Pushes whoever overlaps; false when nobody did.
static bool push_round(struct arrange_item **sorted, uint32_t count)
{
    bool any = false;
    qsort(sorted, count, sizeof(struct arrange_item *), by_left);
    double widest = 0;
    for (uint32_t i = 0; i < count; i++)
        if (sorted[i]->width > widest) widest = sorted[i]->width;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = i + 1; k < count; k++) {
            // (Who is pushed leaves its place in the order: looked at a little further.)
            if (sorted[k]->x - sorted[k]->width / 2 > sorted[i]->x + sorted[i]->width / 2 + widest) break;
            any |= push_pair(sorted[i], sorted[k]);
        }
    }
    return any;
}

static enum core_err separate(struct arrange_item *items, uint32_t count)
{
    struct arrange_item **sorted = malloc(count * sizeof *sorted);
    if (!sorted) return CORE_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) sorted[i] = &items[i];
    bool any = true;
    for (int t = 0; any && t < GROW_TRIES; t++) {
        for (int r = 0; any && r < PUSH_ROUNDS; r++) any = push_round(sorted, count);
        if (any) scale(items, count, GROW, GROW);
    }
    free(sorted);
    return CORE_ERR_OK;
}

static void to_corner(struct arrange_item *items, uint32_t count, double *width, double *height)
{
    double left = 0, top = 0, right = 0, bottom = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct arrange_item *t = &items[i];
        double l = t->x - t->width / 2, u = t->y - t->height / 2, r = l + t->width, d = u + t->height;
        if (i == 0 || l < left) left = l;
        if (i == 0 || u < top) top = u;
        if (i == 0 || r > right) right = r;
        if (i == 0 || d > bottom) bottom = d;
    }
    for (uint32_t i = 0; i < count; i++) {
        items[i].x -= left;
        items[i].y -= top;
    }
    *width = right - left;
    *height = bottom - top;
}

enum core_err arrange(struct arrange_item *items, uint32_t count, double aspect, double *width, double *height)
{
    *width = *height = 0;
    if (count == 0) return CORE_ERR_OK;
    start(items, count);
    enum core_err err = stress(items, count);
    if (!err && count > 1) {
        fit(items, count, aspect);
        err = separate(items, count);
    }
    if (!err) to_corner(items, count, width, height);
    return err;
}
