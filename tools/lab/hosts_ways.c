// "3", "1..16", "1..16-17..32", "3->5": which hosts, and which way.
#include <stdio.h>
#include <string.h>

#include "tools/lab/hosts.h"

// K or A..B at `*at`, which moves past it.
static bool read_side(const char **at, bool side[HOSTS_MAX + 1], unsigned count)
{
    unsigned ends[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        const char *begin = *at;
        while (**at >= '0' && **at <= '9' && ends[i] <= HOSTS_MAX) ends[i] = ends[i] * 10 + (unsigned)(*(*at)++ - '0');
        if (*at == begin) return false;
        if (i == 0 && strncmp(*at, "..", 2) != 0) {
            ends[1] = ends[0];
            break;
        }
        if (i == 0) *at += 2;
    }
    if (ends[0] == 0 || ends[0] > ends[1] || ends[1] > count) return false;
    for (unsigned k = ends[0]; k <= ends[1]; k++) side[k] = true;
    return true;
}

enum core_err hosts_ways_parse(struct hosts_ways *ways, const char *text, unsigned count, char why[HOSTS_WHY_SIZE])
{
    *ways = (struct hosts_ways){.both = true, .alone = true};
    if (!text) {
        for (unsigned k = 1; k <= count; k++) ways->from[k] = ways->to[k] = true;
        return CORE_ERR_OK;
    }
    const char *at = text;
    bool good = read_side(&at, ways->from, count);
    if (good && *at == '-') {
        ways->alone = false;
        at++;
        if (*at == '>') ways->both = false;
        at += *at == '>';
        good = read_side(&at, ways->to, count);
    } else if (good) {
        for (unsigned k = 1; k <= count; k++) ways->to[k] = !ways->from[k];
    }
    if (good && *at == '\0') return CORE_ERR_OK;
    snprintf(why, HOSTS_WHY_SIZE,
             "'%.60s' names no hosts from 1 to %u; write K, A..B, A-B (between the two) or 'A->B' (one way)", text,
             count);
    return CORE_ERR_USAGE;
}
