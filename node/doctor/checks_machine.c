// What the machine says: its port, disk, limits and devices.
#include "node/doctor/checks.h"

#include <string.h>

#include "node/doctor/checks_text.h"

enum {
    FILES_WANTED = 1024,  // some eight for each of 128 links
    LOCKED_WANTED = 64 << 10,
    GROUP_WANTED = 256 << 20,
    DISK_FULL_BYTES = 16 << 20,  // a vote, a record and a probe of 4 MiB go on a while
    FILES_LEFT = 64,
    PER_CENT_LOW = 3,
};
static const uint64_t disk_low_bytes = (uint64_t)1 << 30;

void checks_port(struct checks *c, const struct checks_port_facts *f)
{
    char port[16];
    snprintf(port, sizeof port, "%u", f->port);
    switch (f->state) {
    case PORT_FREE: checks_pass(c, CHECK_PORT, "%s is free", f->listen); break;
    case PORT_ANSWERS: checks_pass(c, CHECK_PORT, "%u answers on this machine", f->port); break;
    case PORT_UNKNOWN: checks_skip(c, CHECK_PORT, "which one is not known"); break;
    case PORT_TAKEN:
        checks_add(c, TROUBLE_PORT_IN_USE, NULL, "port", port, "who", f->who[0] ? f->who : "another process", NULL);
        break;
    case PORT_ELSEWHERE: checks_add(c, TROUBLE_PORT_NOT_HERE, NULL, "listen", f->listen, NULL); break;
    case PORT_DENIED: checks_add(c, TROUBLE_PORT_FORBIDDEN, NULL, "listen", f->listen, "why", f->why, NULL); break;
    case PORT_MUTE: checks_add(c, TROUBLE_PORT_CLOSED, NULL, "port", port, "why", f->why, NULL); break;
    }
}

void checks_disk(struct checks *c, const struct checks_disk_facts *f)
{
    char room[CHECKS_SHORT], size[CHECKS_SHORT];
    checks_size(room, f->free_bytes);
    checks_size(size, f->size_bytes);
    bool no_files = f->files && f->files_free < FILES_LEFT;
    if (no_files) snprintf(room, sizeof room, "%llu files", (unsigned long long)f->files_free);
    // A small disk with room is not nearly full.
    bool low = f->free_bytes < disk_low_bytes && f->free_bytes < f->size_bytes / 100 * PER_CENT_LOW;
    if (f->free_bytes < DISK_FULL_BYTES || no_files)
        checks_add(c, TROUBLE_DISK_FULL, NULL, "free", room, "size", size, "home", f->home, NULL);
    else if (low)
        checks_add(c, TROUBLE_DISK_LOW, NULL, "free", room, "size", size, "home", f->home, NULL);
    else
        checks_pass(c, CHECK_DISK, "%s free of %s", room, size);
}

void checks_limits(struct checks *c, const struct checks_limits_facts *f)
{
    char have[CHECKS_SHORT], want[CHECKS_SHORT];
    if (f->open_files < FILES_WANTED)
        checks_add(c, TROUBLE_LIMIT_FILES, NULL, "have", checks_number(have, f->open_files), "want",
                   checks_number(want, FILES_WANTED), NULL);
    if (f->locked_bytes < LOCKED_WANTED)
        checks_add(c, TROUBLE_LIMIT_LOCKED, NULL, "have", checks_size(have, f->locked_bytes), "want",
                   checks_size(want, LOCKED_WANTED), NULL);
    if (f->group_bytes < GROUP_WANTED)
        checks_add(c, TROUBLE_LIMIT_MEMORY, NULL, "have", checks_size(have, f->group_bytes), "want",
                   checks_size(want, GROUP_WANTED), NULL);
    if (f->cpus < 2 && f->cpus_machine > f->cpus)
        checks_add(c, TROUBLE_LIMIT_CPUS, NULL, "have", checks_number(have, f->cpus), "size",
                   checks_number(want, f->cpus_machine), NULL);
    if (!checks_has(c, CHECK_LIMITS))
        checks_pass(c, CHECK_LIMITS, "%s open files, memory %s, %u of %u cpus", checks_number(have, f->open_files),
                    checks_size(want, f->group_bytes), f->cpus, f->cpus_machine);
}

// One that works is named in `names`, one that doesn't is a trouble; false for the CPU.
static bool device(struct checks *c, const json_t *d, char *names, size_t size)
{
    const char *name = json_string_value(json_object_get(d, "name")),
               *why = json_string_value(json_object_get(d, "why"));
    size_t used = strlen(names);
    if (!name) return false;
    if (json_is_true(json_object_get(d, "usable")))
        snprintf(names + used, size - used, "%s%s", used ? ", " : "", name);
    else
        checks_add(c, TROUBLE_DRIVER_BROKEN, NULL, "device", name, "why", why ? why : "it does not say why", NULL);
    return strcmp(name, "cpu") != 0;
}

void checks_devices(struct checks *c, const json_t *devices, const json_t *pci, uint32_t silent_s)
{
    char names[256] = "", time[CHECKS_SHORT];
    if (silent_s) {
        checks_add(c, TROUBLE_DRIVER_SILENT, NULL, "time", checks_span(time, silent_s), NULL);
        return;
    }
    if (!json_is_array(devices)) {
        checks_skip(c, CHECK_DEVICES, "nobody could tell which there are");
        return;
    }
    uint32_t gpus = 0;
    size_t i;
    json_t *d;
    json_array_foreach((json_t *)devices, i, d) gpus += device(c, d, names, sizeof names);
    const char *card = json_string_value(json_object_get(json_array_get(pci, 0), "name"));
    if (card && gpus == 0) checks_add(c, TROUBLE_DRIVER_MISSING, NULL, "device", card, NULL);
    if (!checks_has(c, CHECK_DEVICES)) checks_pass(c, CHECK_DEVICES, "%s", names[0] ? names : "none");
}
