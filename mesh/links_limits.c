// Token buckets on what a peer sends us, by class, so that one peer cannot take all of our time. They are generous: an
// honest peer never sees them. What is over is dropped unread and counted; every protocol here repairs a lost message.
// A peer that sends a whole burst too much before it lets its bucket fill up again is let go.
#include "mesh/links_internal.h"

enum { TOKEN_BYTES = 4096 };

// 1,000 casts of 1 KiB a second and a round's traffic are a small part of these.
static const struct link_rate defaults[LINK_CLASS_COUNT] = {
    [LINK_CLASS_CONTROL] = {4000, 16000}, [LINK_CLASS_CAST] = {8000, 32000}, [LINK_CLASS_BULK] = {20000, 80000}};

void limits_defaults(struct links_options *o)
{
    for (int i = 0; i < LINK_CLASS_COUNT; i++)
        if (o->rates[i].per_s == 0) o->rates[i] = defaults[i];
}

void limits_begin(const struct links *l, struct link *link)
{
    for (int i = 0; i < LINK_CLASS_COUNT; i++)
        link->limits[i] = (struct limit){.milli = (uint64_t)l->options.rates[i].burst * 1000, .at_ms = l->now_ms};
}

enum limit_verdict limits_take(struct links *l, struct link *link, enum link_class class, size_t bytes)
{
    struct link_rate rate = l->options.rates[class];
    struct limit *b = &link->limits[class];
    uint64_t full = (uint64_t)rate.burst * 1000;
    b->milli += (l->now_ms - b->at_ms) * rate.per_s;
    b->at_ms = l->now_ms;
    if (b->milli >= full) {
        b->milli = full;
        b->over = 0;
    }
    // Bulk bytes are bounded by what we grant.
    uint64_t cost = 1000 * (1 + (class == LINK_CLASS_BULK ? 0 : bytes / TOKEN_BYTES));
    if (b->milli >= cost) {
        b->milli -= cost;
        return LIMIT_FITS;
    }
    b->over += cost;
    link->flooded[class]++;
    l->totals.flooded[class]++;
    return b->over > full ? LIMIT_FLOOD : LIMIT_OVER;
}
