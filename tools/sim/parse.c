#include "tools/sim/parse.h"

#include <stdlib.h>
#include <string.h>

bool sim_parse_set(const char *text, const char *const *names, uint32_t count, uint32_t all, uint32_t *set)
{
    *set = 0;
    if (strcmp(text, "none") == 0) return true;
    while (*text) {
        const size_t size = strcspn(text, ",");
        uint32_t found = 0;
        if (size == 3 && strncmp(text, "all", 3) == 0) found = all;
        for (uint32_t i = 0; i < count; i++)
            if (strlen(names[i]) == size && strncmp(names[i], text, size) == 0) found = 1u << i;
        if (!found) return false;
        *set |= found;
        text += size;
        if (*text == ',') text++;
    }
    return *set != 0;
}

bool sim_parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *value)
{
    char *end;
    *value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0 && *value >= low && *value <= high;
}
