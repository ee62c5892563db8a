// A tar archive of plain files, in the form of POSIX.1-1988 (ustar), which every tar reads. Owner root, mode 0600, so
// that it says nothing of who made it. Errors stay on the stream: ask ferror at the end.
#ifndef TOOLS_DOCTOR_TAR_H
#define TOOLS_DOCTOR_TAR_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// `name` up to 99 bytes, relative, with / between folders; `size` below 8 GiB; `mtime_s` seconds since 1970.
void tar_add(FILE *out, const char *name, const void *data, size_t size, uint64_t mtime_s);
void tar_end(FILE *out);

#endif
