#include "tools/doctor/tar.h"

#include <inttypes.h>
#include <string.h>

#include "core/check.h"

// POSIX.1-1988, "ustar": one block of header, then the data, filled up to whole blocks. Numbers are octal text.
enum { TAR_BLOCK = 512, TAR_NAME_MAX = 99 };

struct tar_header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
    char magic[6], version[2], owner[32], group[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct tar_header) == TAR_BLOCK, "a header is one block");

static void octal(char *field, size_t size, uint64_t value)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%0*" PRIo64, (int)size - 1, value);
    check(n > 0 && (size_t)n == size - 1);
    memcpy(field, text, size);
}

void tar_add(FILE *out, const char *name, const void *data, size_t size, uint64_t mtime_s)
{
    struct tar_header h = {.type = '0', .magic = "ustar", .version = {'0', '0'}};
    const uint8_t *bytes = (const uint8_t *)&h;
    const size_t length = strlen(name);
    unsigned sum = 0;
    check(length > 0 && length <= TAR_NAME_MAX);
    memcpy(h.name, name, length);
    octal(h.mode, sizeof h.mode, 0600);
    octal(h.uid, sizeof h.uid, 0);
    octal(h.gid, sizeof h.gid, 0);
    octal(h.size, sizeof h.size, size);
    octal(h.mtime, sizeof h.mtime, mtime_s);
    memset(h.checksum, ' ', sizeof h.checksum);  // as it is summed
    for (size_t i = 0; i < sizeof h; i++) sum += bytes[i];
    octal(h.checksum, sizeof h.checksum - 1, sum);
    fwrite(&h, 1, sizeof h, out);
    fwrite(data, 1, size, out);
    for (size_t at = size; at % TAR_BLOCK; at++) fputc(0, out);
}

void tar_end(FILE *out)
{
    for (int i = 0; i < 2 * TAR_BLOCK; i++) fputc(0, out);
}
