// Tells the kernel what a tag's hosts are to be, by the programs ip, tc and nft. Inside tools/lab/hosts*. One thread.
#ifndef TOOLS_LAB_HOSTS_KERNEL_H
#define TOOLS_LAB_HOSTS_KERNEL_H

#include "tools/lab/hosts_state.h"

enum { HOSTS_OUTSIDE = -1, HOSTS_ROUTER = 0 };  // places beside a host's number

// Text that grows; lines for a program's standard input.
struct hosts_script {
    char *text;
    size_t size;
    size_t capacity;
};

__attribute__((format(printf, 2, 3))) void hosts_script_add(struct hosts_script *s, const char *format, ...);
void hosts_script_free(struct hosts_script *s);

// Runs `program` ("ip", "tc" or "nft") over the script in a host, in the router or in this network, then empties the
// script. `force`: one line that fails doesn't end it, and isn't a failure.
CORE_MUST_USE enum core_err hosts_script_run(struct hosts_script *s, const char *tag, int place, const char *program,
                                             bool force, char why[HOSTS_WHY_SIZE]);
// CORE_ERR_UNSUPPORTED with `why` when one of the programs is missing or may not do what it must.
CORE_MUST_USE enum core_err hosts_kernel_ready(char why[HOSTS_WHY_SIZE]);
// Writes `value` into /proc/sys/net/NAME of a place.
CORE_MUST_USE enum core_err hosts_kernel_set(const char *tag, int place, const char *name, const char *value);

// Each brings the kernel to what the state says.
CORE_MUST_USE enum core_err hosts_kernel_drops(const char *tag, const struct hosts_table *table,
                                               char why[HOSTS_WHY_SIZE]);
// With loss on any host, every host sends single packets, so that it strikes those and not segments of many.
CORE_MUST_USE enum core_err hosts_kernel_segments(const char *tag, const struct hosts_table *table,
                                                  char why[HOSTS_WHY_SIZE]);
CORE_MUST_USE enum core_err hosts_kernel_rate(const char *tag, const struct hosts_table *table, unsigned number,
                                              char why[HOSTS_WHY_SIZE]);
CORE_MUST_USE enum core_err hosts_kernel_delays(const char *tag, struct hosts_state *state, char why[HOSTS_WHY_SIZE]);

#endif
