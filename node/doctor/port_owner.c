#include "node/doctor/port_owner.h"

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LISTENING = 0x0a };

// The inode of a listening socket on `port`; 0 for none. The table's columns: proc(5), /proc/net/tcp.
static unsigned long listener_inode(const char *table, uint16_t port)
{
    FILE *f = fopen(table, "re");
    char line[512];
    unsigned long found = 0;
    if (!f) return 0;
    while (!found && fgets(line, sizeof line, f)) {
        unsigned local, state;
        unsigned long inode;
        if (sscanf(line, "%*d: %*[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*s %*s %lu", &local, &state, &inode) != 3) continue;
        if (local == port && state == LISTENING) found = inode;
    }
    fclose(f);
    return found;
}

static bool holds(const char *pid, const char *wanted)
{
    char folder[300], path[600], target[64];
    snprintf(folder, sizeof folder, "/proc/%.250s/fd", pid);
    DIR *d = opendir(folder);
    bool found = false;
    if (!d) return false;
    for (struct dirent *e; !found && (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%.250s", folder, e->d_name);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n <= 0) continue;
        target[n] = 0;
        found = strcmp(target, wanted) == 0;
    }
    closedir(d);
    return found;
}

// A process may call itself anything: what is no plain letter is not shown.
static void name_of(const char *pid, char *out, size_t size)
{
    char path[300], name[32] = "a process";
    snprintf(path, sizeof path, "/proc/%.250s/comm", pid);
    FILE *f = fopen(path, "re");
    if (f && fgets(name, sizeof name, f)) name[strcspn(name, "\n")] = 0;
    if (f) fclose(f);
    for (char *at = name; *at; at++)
        if (!isgraph((unsigned char)*at) && *at != ' ') *at = '?';
    snprintf(out, size, "%s (process %.16s)", name, pid);
}

void port_owner(uint16_t port, char *out, size_t size)
{
    char wanted[64];
    out[0] = 0;
    unsigned long inode = listener_inode("/proc/net/tcp", port);
    if (!inode) inode = listener_inode("/proc/net/tcp6", port);
    DIR *d = inode ? opendir("/proc") : NULL;
    if (!d) return;
    snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
    for (struct dirent *e; !out[0] && (e = readdir(d));)
        if (isdigit((unsigned char)e->d_name[0]) && holds(e->d_name, wanted)) name_of(e->d_name, out, size);
    closedir(d);
}
