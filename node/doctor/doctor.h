// What `mycel doctor` finds about a home and its machine, with or without a daemon: facts gathered from files, /proc,
// the port and the GPU drivers (in a process of its own, which may hang), judged by node/doctor/checks.h, together with
// what the daemon tells where one answers. Asks each for 1 s at most, the daemon's neighbours included 2 s, a driver 4
// s. Blocks; the process's main thread, without others beside it.
#ifndef NODE_DOCTOR_DOCTOR_H
#define NODE_DOCTOR_DOCTOR_H

#include <jansson.h>
#include <stdio.h>

// {"healthy", "daemon", "checks": [...]} for the absolute path `home`: docs/json.md. `healthy` without a failure.
// `conf`: what mycel.conf says, which is the command line's to read.
struct doctor_conf {
    const char *listen;  // NULL: nothing
    const char *wrong;   // why it cannot be taken; NULL: it can
};
json_t *doctor_examine(const char *home, const struct doctor_conf *conf);
// Every trouble that it knows, as the Markdown of docs/troubles.md.
void doctor_markdown(FILE *file);

#endif
