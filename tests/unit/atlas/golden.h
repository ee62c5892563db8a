// Files that were looked at and are kept (tests/golden/atlas); MYCEL_GOLDEN=write makes them anew.
#ifndef TESTS_UNIT_ATLAS_GOLDEN_H
#define TESTS_UNIT_ATLAS_GOLDEN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void golden_compare(const char *name, const char *made_now)
{
    char path[128];
    snprintf(path, sizeof path, "tests/golden/atlas/%s", name);
    const char *mode = getenv("MYCEL_GOLDEN");
    if (mode && strcmp(mode, "write") == 0) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(made_now, f);
        fclose(f);
        return;
    }
    FILE *f = fopen(path, "r");
    if (!f) fail_msg("%s is missing", path);
    static char golden[1 << 20];
    golden[fread(golden, 1, sizeof golden - 1, f)] = 0;
    fclose(f);
    if (strcmp(golden, made_now) != 0) fail_msg("the picture is no longer %s", path);
}

#endif
