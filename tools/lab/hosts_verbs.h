// What the verbs over hosts and those over lab peers share. One thread.
#ifndef TOOLS_LAB_HOSTS_VERBS_H
#define TOOLS_LAB_HOSTS_VERBS_H

#include "tools/call.h"
#include "tools/lab/hosts.h"

// --tag, or, without it, one that belongs to the home.
char *hosts_tag_of(const struct call *call, char out[HOSTS_TAG_SIZE]);
// --rate, --delay and --loss.
struct hosts_options hosts_limits_of(const struct call *call, unsigned count);
// Prints what failed, if anything did; the exit status.
int hosts_failed(const struct call *call, enum core_err err, const char *why);

#endif
