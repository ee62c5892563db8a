// What the verbs that draw (map, trace) share: the form that is asked for, the width of a terminal, one file that is
// written whole or not at all, and the JSON that they keep and read again.
#ifndef TOOLS_LOOK_PICTURE_H
#define TOOLS_LOOK_PICTURE_H

#include <jansson.h>
#include <stdio.h>

#include "atlas/json.h"
#include "core/error.h"
#include "tools/call.h"

enum { PICTURE_EXIT_BAD = 4 };

// The place in `forms` of what --as says, else of how the file's name ends, else 0; `json` where --json was given.
size_t picture_form(const struct call *call, const char *const *forms, size_t count, size_t json);
// Of the terminal; OUTPUT_WIDTH where it goes to a file or a pipe.
uint32_t picture_columns(const struct call *call);
// The file of -o, or stdout; NULL after saying why not.
FILE *picture_open(struct call *call);
// Closes it and says what went wrong, with `what` for its name and `why` (or "") for the reason; a file that is not
// whole is removed. An exit status.
int picture_close(struct call *call, FILE *out, enum core_err err, const char *what, const char *why);
// One line of JSON. Takes over `json`; NULL is CORE_ERR_NO_MEMORY.
CORE_MUST_USE enum core_err picture_dump(json_t *json, FILE *out);
// The same, of `fields` with the schema before them. Takes over `fields`.
CORE_MUST_USE enum core_err picture_keep(json_t *fields, FILE *out);
// What was kept in a file ("-": stdin); NULL with a sentence in `why`. The caller's reference.
json_t *picture_load(const char *path, char why[ATLAS_WHY_SIZE]);

#endif
