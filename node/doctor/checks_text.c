#include "node/doctor/checks_text.h"

#include <stdio.h>

char *checks_span(char out[CHECKS_SHORT], uint64_t seconds)
{
    unsigned long long s = seconds;
    if (s < 120)
        snprintf(out, CHECKS_SHORT, "%llu s", s);
    else if (s < 7200)
        snprintf(out, CHECKS_SHORT, "%llu min", s / 60);
    else if (s < 2 * 86400)
        snprintf(out, CHECKS_SHORT, "%llu h", s / 3600);
    else
        snprintf(out, CHECKS_SHORT, "%llu days", s / 86400);
    return out;
}

char *checks_size(char out[CHECKS_SHORT], uint64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    if (bytes == UINT64_MAX) return snprintf(out, CHECKS_SHORT, "no limit"), out;
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1000 && unit < 5; unit++) value /= 1000;
    snprintf(out, CHECKS_SHORT, value < 10 && unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return out;
}

char *checks_number(char out[CHECKS_SHORT], uint64_t number)
{
    if (number == UINT64_MAX)
        snprintf(out, CHECKS_SHORT, "no limit");
    else
        snprintf(out, CHECKS_SHORT, "%llu", (unsigned long long)number);
    return out;
}

char *checks_offset(char out[CHECKS_SHORT], int64_t ahead_ms)
{
    char span[CHECKS_SHORT];
    uint64_t off_ms = ahead_ms < 0 ? 0 - (uint64_t)ahead_ms : (uint64_t)ahead_ms;
    checks_span(span, (off_ms + 500) / 1000);
    snprintf(out, CHECKS_SHORT, "%.15s %s", span, ahead_ms < 0 ? "behind" : "ahead of");
    return out;
}
