// What the daemon knows of the others: who is lost, whose clock differs, who reaches this peer.
//
// A split: at least SPLIT_LEAST members, a third of those known or more, were lost within SPLIT_SPAN_MS and are still
// lost. Machines that fail one by one are told one by one.
#include "node/doctor/checks.h"

#include <stdlib.h>
#include <string.h>

#include "node/doctor/checks_text.h"

enum {
    SPLIT_LEAST = 2,
    MEET_MS = 5000,  // so long after its start a peer may have met nobody yet
    SPLIT_SPAN_MS = 30000,
    SPLIT_TOLD_MS = 3600000,
    DEAD_TOLD_MS = 300000,
    NAMES_TOLD = 6,
    CLOCK_OFF_MS = 5000,
    PLACE_MAX = 192,
};

static int by_loss(const void *a, const void *b)
{
    uint64_t x = (*(const struct checks_member *const *)a)->for_ms,
             y = (*(const struct checks_member *const *)b)->for_ms;
    return (x > y) - (x < y);
}

// ---- members ----

// What the lost ones have in common, as the end of a sentence.
static void common_place(const struct checks_member *const *lost, uint32_t count, char out[PLACE_MAX])
{
    bool elsewhere = true, one_site = lost[0]->site[0] != 0;
    for (uint32_t i = 0; i < count; i++) {
        elsewhere = elsewhere && !lost[i]->same_host;
        one_site = one_site && strcmp(lost[i]->site, lost[0]->site) == 0;
    }
    out[0] = 0;
    if (one_site)
        snprintf(out, PLACE_MAX, "; all are at %s", lost[0]->site);
    else if (elsewhere)
        snprintf(out, PLACE_MAX, "; all are on other hosts");
}

static void tell_split(struct checks *c, const struct checks_member *const *lost, uint32_t count, uint32_t known)
{
    char counted[CHECKS_SHORT], all[CHECKS_SHORT], span[CHECKS_SHORT], ago[CHECKS_SHORT], where[PLACE_MAX];
    char names[NAMES_TOLD * (CHECKS_NAME_MAX + 2) + 8] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < count && i < NAMES_TOLD; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", lost[i]->name);
    if (count > NAMES_TOLD) snprintf(names + used, sizeof names - used, " ...");
    common_place(lost, count, where);
    uint64_t span_s = (lost[count - 1]->for_ms - lost[0]->for_ms) / 1000 + 1;
    checks_add(c, TROUBLE_MESH_SPLIT, NULL, "count", checks_number(counted, count), "known", checks_number(all, known),
               "span", checks_span(span, span_s), "names", names, "ago", checks_span(ago, lost[0]->for_ms / 1000),
               "where", where, NULL);
}

// The members of the newest loss; how many of `lost`, which begins with the newest, are one split. 0: none are.
static uint32_t split_of(const struct checks_member *const *lost, uint32_t count, uint32_t known)
{
    uint32_t together = 0;
    while (together < count && lost[together]->for_ms <= lost[0]->for_ms + SPLIT_SPAN_MS) together++;
    bool many = together >= SPLIT_LEAST && 3 * (uint64_t)together >= known;
    return many && lost[0]->for_ms < SPLIT_TOLD_MS ? together : 0;
}

static void tell_lost(struct checks *c, const struct checks_members_facts *f)
{
    const struct checks_member **lost = calloc(f->count + 1, sizeof *lost);
    uint32_t count = 0;
    if (!lost) return;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->members[i].state == MEMBER_IS_DEAD) lost[count++] = &f->members[i];
    qsort(lost, count, sizeof *lost, by_loss);
    uint32_t split = split_of(lost, count, f->known);
    if (split) tell_split(c, lost, split, f->known);
    char text[CHECKS_SHORT];
    for (uint32_t i = split; i < count && lost[i]->for_ms < DEAD_TOLD_MS; i++)
        checks_add(c, TROUBLE_MEMBER_DEAD, lost[i]->name, "time", checks_span(text, lost[i]->for_ms / 1000), NULL);
    free(lost);
}

void checks_members(struct checks *c, const struct checks_members_facts *f)
{
    char text[CHECKS_SHORT];
    tell_lost(c, f);
    for (uint32_t i = 0; i < f->count; i++) {
        const struct checks_member *m = &f->members[i];
        if (m->state == MEMBER_IS_SUSPECT)
            checks_add(c, TROUBLE_MEMBER_SUSPECT, m->name, "time", checks_span(text, m->for_ms / 1000), NULL);
    }
    const bool unmet = f->known == 0 && f->sponsor_unmet;
    if (unmet && f->up_ms >= MEET_MS) checks_add(c, TROUBLE_MESH_NOBODY, NULL, NULL);
    if (checks_has(c, CHECK_MESH)) return;
    if (unmet)
        checks_pass(c, CHECK_MESH, "just started; no member has answered yet");
    else if (f->known == 0)
        checks_pass(c, CHECK_MESH, "alone, as far as is known");
    else
        checks_pass(c, CHECK_MESH, "%u of %u other peers are up", f->up, f->known);
}

// ---- dials ----

void checks_dial(struct checks *c, const struct checks_dial_facts *f)
{
    switch (f->reason) {
    case LINK_WRONG_MESH: checks_add(c, TROUBLE_MESH_WRONG, NULL, "who", f->name, "address", f->address, NULL); break;
    case LINK_HANDSHAKE:
    case LINK_WRONG_KEY: checks_add(c, TROUBLE_MESH_STRANGER, NULL, "who", f->name, "address", f->address, NULL); break;
    case LINK_REVOKED:
        if (f->told) checks_add(c, TROUBLE_CERTIFICATE_REVOKED, NULL, "who", f->name, NULL);
        break;
    case LINK_EXPIRED:
        if (f->told)
            checks_add(c, TROUBLE_CERTIFICATE_DISPUTED, NULL, "who", f->name, NULL);
        else
            checks_add(c, TROUBLE_MEMBER_EXPIRED, f->name, NULL);
        break;
    default: break;  // refused, silent: what becomes of the member tells it
    }
}

// ---- clocks ----

static int by_ahead(const void *a, const void *b)
{
    int64_t x = ((const struct checks_clock *)a)->ahead_ms, y = ((const struct checks_clock *)b)->ahead_ms;
    return (x > y) - (x < y);
}

static bool is_off(int64_t ahead_ms)
{
    return ahead_ms > CLOCK_OFF_MS || ahead_ms < -CLOCK_OFF_MS;
}

// One that is off alone: where others agree with this machine it is that peer's, else it may be either.
static void tell_off(struct checks *c, const struct checks_clock *clock, uint32_t agree)
{
    char offset[CHECKS_SHORT], counted[CHECKS_SHORT];
    if (agree)
        checks_add(c, TROUBLE_CLOCK_PEER, clock->name, "offset", checks_offset(offset, -clock->ahead_ms), "count",
                   checks_number(counted, agree), NULL);
    else
        checks_add(c, TROUBLE_CLOCK_DIFFERS, NULL, "offset", checks_offset(offset, clock->ahead_ms), "who", clock->name,
                   NULL);
}

// Most of the others decide what the time is.
void checks_clocks(struct checks *c, const struct checks_clock *clocks, uint32_t count)
{
    char offset[CHECKS_SHORT], counted[CHECKS_SHORT];
    struct checks_clock *sorted = calloc(count + 1, sizeof *sorted);
    uint32_t ahead = 0, behind = 0;
    if (count == 0 || !sorted) {
        checks_skip(c, CHECK_CLOCK, "no peer told its own");
        free(sorted);
        return;
    }
    memcpy(sorted, clocks, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_ahead);
    for (uint32_t i = 0; i < count; i++) {
        ahead += sorted[i].ahead_ms > CLOCK_OFF_MS;
        behind += sorted[i].ahead_ms < -CLOCK_OFF_MS;
    }
    int64_t median_ms = sorted[count / 2].ahead_ms;
    if (count >= 2 && (2 * ahead > count || 2 * behind > count)) {
        checks_add(c, TROUBLE_CLOCK_OFF, NULL, "offset", checks_offset(offset, median_ms), "count",
                   checks_number(counted, count), NULL);
    } else {
        for (uint32_t i = 0; i < count; i++)
            if (is_off(sorted[i].ahead_ms)) tell_off(c, &sorted[i], count - ahead - behind);
    }
    if (!checks_has(c, CHECK_CLOCK))
        checks_pass(c, CHECK_CLOCK, "within %.1f s of %u peer%s", (double)llabs(median_ms) / 1000 + 0.05, count,
                    count == 1 ? "'s" : "s'");
    free(sorted);
}

// ---- who reaches this peer ----

void checks_reach(struct checks *c, const struct checks_reach *reach, uint32_t count, uint16_t port)
{
    uint32_t tried = 0;
    char addresses[512] = "", text[CHECKS_SHORT];
    size_t used = 0;
    enum dialback_result why = DIALBACK_NOT_TRIED;
    for (uint32_t i = 0; i < count; i++) {
        if (reach[i].result == DIALBACK_ANSWERS) {
            checks_pass(c, CHECK_ADDRESS, "%s reaches %s", reach[i].name, reach[i].address);
            return;
        }
        if (reach[i].result == DIALBACK_NOT_TRIED) continue;
        tried++;
        why = reach[i].result;
        bool told = strstr(addresses, reach[i].address) != NULL;
        if (told || used + strlen(reach[i].address) + 3 > sizeof addresses) continue;
        used += (size_t)snprintf(addresses + used, sizeof addresses - used, "%s%s", used ? ", " : "", reach[i].address);
    }
    if (tried == 0) {
        checks_skip(c, CHECK_ADDRESS, "no peer could be asked to dial it");
        return;
    }
    checks_add(c, TROUBLE_ADDRESS_CLOSED, NULL, "addresses", addresses, "why", dialback_result_text(why), "port",
               checks_number(text, port), NULL);
}
