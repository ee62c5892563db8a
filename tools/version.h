// What this program is, for `version` and a bug report.
#ifndef TOOLS_VERSION_H
#define TOOLS_VERSION_H

#include <jansson.h>

json_t *version_json(void);  // docs/json.md, version

#endif
