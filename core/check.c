#include "core/check.h"

#include <stdio.h>
#include <stdlib.h>

void core_check_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "mycel: check failed: %s (%s:%d). This is a bug in mycel.\n", what, file, line);
    abort();
}
