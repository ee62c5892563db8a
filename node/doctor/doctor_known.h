// Whom a home knows, out of its files alone: for a bug report, where every name and address gets a stand-in also while
// no daemon answers.
#ifndef NODE_DOCTOR_DOCTOR_KNOWN_H
#define NODE_DOCTOR_DOCTOR_KNOWN_H

#include <jansson.h>

// {"mesh", "mesh_name", "id", "name", "site", "addresses", "peers": [{"id", "name", "site", "addresses"}]} of the home
// at the absolute path, what cannot be read left out; of no use to judge by, nothing in it is verified. Blocks; any
// thread. NULL without memory.
json_t *doctor_known(const char *home);

#endif
