#include "sched/topology.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/check.h"
#include "sched/cgroup.h"
#include "sched/topology_parts.h"

// Components that would open drivers (and start their threads) only to name what the PCI bus shows anyway; and the one
// over libpciaccess, which leaks and reads what the kernel shows in its files too.
static const char *const unwanted[] = {"pci", "cuda", "nvml", "rsmi", "levelzero", "opencl", "gl"};

static bool read_hex(const char *device, const char *what, unsigned *out)
{
    char path[300];
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%.200s/%s", device, what);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    int got = fscanf(f, "%x", out);
    fclose(f);
    return got == 1;
}

// Does the kernel list a GPU? hwloc reads every device's configuration space, milliseconds each on a virtual machine,
// so it is asked for the bus only where that is worth it.
static bool gpu_on_bus(void)
{
    DIR *bus = opendir("/sys/bus/pci/devices");
    bool found = false;
    for (struct dirent *d; bus && !found && (d = readdir(bus)) != NULL;) {
        unsigned vendor, class_id;
        found = read_hex(d->d_name, "vendor", &vendor) && read_hex(d->d_name, "class", &class_id) &&
                topology_is_gpu(vendor, class_id >> 8);
    }
    if (bus) closedir(bus);
    return found;
}

static enum core_err prepare(hwloc_topology_t tree, bool bus)
{
    if (!bus) return CORE_ERR_OK;
    for (size_t i = 0; i < sizeof unwanted / sizeof *unwanted; i++) {
        int absent = hwloc_topology_set_components(tree, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, unwanted[i]);
        (void)absent;  // one that isn't there needs no keeping out
    }
    return hwloc_topology_set_io_types_filter(tree, HWLOC_TYPE_FILTER_KEEP_IMPORTANT) ? CORE_ERR_IO : CORE_ERR_OK;
}

static enum core_err open_tree(struct sched_topology **out, const char *synthetic, const char *xml, size_t size)
{
    *out = NULL;
    struct sched_topology *t = calloc(1, sizeof *t);
    hwloc_topology_t tree;
    if (!t || hwloc_topology_init(&tree)) {
        free(t);
        return CORE_ERR_NO_MEMORY;
    }
    bool given = synthetic || xml;
    int bad = 0;
    enum core_err err = prepare(tree, given || gpu_on_bus());
    if (synthetic) bad = hwloc_topology_set_synthetic(tree, synthetic);
    if (xml) bad = hwloc_topology_set_xmlbuffer(tree, xml, (int)size);
    if (!err && (bad || hwloc_topology_load(tree))) err = given ? CORE_ERR_MALFORMED : CORE_ERR_IO;
    if (!err) err = topology_extract(tree, !given, t);
    hwloc_topology_destroy(tree);
    if (err) {
        free(t);
        return err;
    }
    *out = t;
    return CORE_ERR_OK;
}

enum core_err sched_topology_open(struct sched_topology **out)
{
    enum core_err err = open_tree(out, NULL, NULL, 0);
    if (err) return err;
    struct sched_cgroup limits;
    sched_cgroup_read("", &limits);
    (*out)->facts.cpus_quota = limits.cpus;
    (*out)->facts.memory_limit_bytes = limits.memory_bytes;
    return CORE_ERR_OK;
}

enum core_err sched_topology_open_synthetic(const char *description, struct sched_topology **out)
{
    return open_tree(out, description, NULL, 0);
}

// ---- XML ----

enum { XML_MAX = 64 << 20 };

static const char head[] = "<topology", tail[] = "</topology>";

static enum core_err told(char *why, enum core_err err, const char *what)
{
    if (why) snprintf(why, SCHED_WHY_SIZE, "%s", what);
    return err;
}

// The version that the file names; the format changed with hwloc 2, and 1 has none or "1.x".
static enum core_err check_version(const char *at, const char *end, char *why)
{
    const char *close = memchr(at, '>', (size_t)(end - at));
    if (!close) return told(why, CORE_ERR_TRUNCATED, "the topology file is cut short in its first element");
    char text[64] = "";
    size_t size = (size_t)(close - at) < sizeof text - 1 ? (size_t)(close - at) : sizeof text - 1;
    memcpy(text, at, size);
    const char *version = strstr(text, "version=\"");
    if (version && strtoul(version + sizeof "version=\"" - 1, NULL, 10) == 2) return CORE_ERR_OK;
    return told(why, CORE_ERR_UNKNOWN_VERSION, "the topology file is not of hwloc's version 2: export it with hwloc 2");
}

enum core_err sched_topology_open_xml(const char *xml, size_t size, struct sched_topology **out, char *why)
{
    *out = NULL;
    while (size && (xml[size - 1] == 0 || isspace((unsigned char)xml[size - 1]))) size--;
    if (!size) return told(why, CORE_ERR_TOO_SHORT, "the topology file is empty");
    if (size > XML_MAX) return told(why, CORE_ERR_TOO_LARGE, "the topology file has more than 64 MiB");
    if (memchr(xml, 0, size)) return told(why, CORE_ERR_MALFORMED, "the topology file is not text");
    char *text = malloc(size + 1);
    if (!text) return told(why, CORE_ERR_NO_MEMORY, "there is no memory for the topology file");
    memcpy(text, xml, size);
    text[size] = 0;
    const char *at = strstr(text, head);
    enum core_err err = CORE_ERR_OK;
    if (!at) err = told(why, CORE_ERR_MALFORMED, "the topology file is not hwloc's XML: it has no <topology>");
    if (!err) err = check_version(at, text + size, why);
    if (!err && (size < sizeof tail - 1 || strcmp(text + size - (sizeof tail - 1), tail) != 0))
        err = told(why, CORE_ERR_TRUNCATED, "the topology file is cut short: it does not end with </topology>");
    if (!err) {
        err = open_tree(out, NULL, text, size + 1);  // hwloc counts the final zero
        if (err == CORE_ERR_MALFORMED) told(why, err, "hwloc cannot read the topology file: its XML is malformed");
    }
    free(text);
    return err;
}

static enum core_err read_all(FILE *f, char **text, size_t *size)
{
    char part[16384];
    *text = NULL;
    *size = 0;
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;) {
        char *more = *size + n > XML_MAX ? NULL : realloc(*text, *size + n);
        if (!more) return *size + n > XML_MAX ? CORE_ERR_TOO_LARGE : CORE_ERR_NO_MEMORY;
        memcpy(more + *size, part, n);
        *text = more;
        *size += n;
    }
    return ferror(f) ? CORE_ERR_IO : CORE_ERR_OK;
}

enum core_err sched_topology_open_file(const char *path, struct sched_topology **out, char *why)
{
    char what[SCHED_WHY_SIZE] = "", *text = NULL;
    size_t size = 0;
    *out = NULL;
    FILE *f = fopen(path, "re");
    enum core_err err = f ? read_all(f, &text, &size) : core_error_from_errno(errno);
    if (f) fclose(f);
    if (err) snprintf(what, sizeof what, "the topology file cannot be read: %s", core_error_text(err));
    if (!err) err = sched_topology_open_xml(text ? text : "", size, out, what);
    if (err && why) snprintf(why, SCHED_WHY_SIZE, "%.100s: %.150s", path, what);
    free(text);
    return err;
}

void sched_topology_close(struct sched_topology *t)
{
    free(t);
}

// ---- queries ----

uint64_t sched_topology_memory(const struct sched_topology *t)
{
    const struct sched_facts *f = &t->facts;
    bool limited = f->memory_limit_bytes && (!f->memory_bytes || f->memory_limit_bytes < f->memory_bytes);
    return limited ? f->memory_limit_bytes : f->memory_bytes;
}

const struct sched_pci *sched_topology_pci(const struct sched_topology *t, const char *address)
{
    for (uint32_t i = 0; i < t->pci_count; i++)
        if (!strcasecmp(t->pci[i].address, address)) return &t->pci[i];
    return NULL;
}

uint32_t sched_cpus_count(const struct sched_cpus *s)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < SCHED_MAX_CPUS / 64; i++) count += (uint32_t)__builtin_popcountll(s->bits[i]);
    return count;
}

uint32_t sched_cpus_at(const struct sched_cpus *s, uint32_t at)
{
    for (uint32_t i = 0; i < SCHED_MAX_CPUS; i++)
        if (sched_cpus_has(s, i) && at-- == 0) return i;
    return UINT32_MAX;
}

void sched_cpus_text(const struct sched_cpus *s, char *out, size_t size)
{
    check(size > 0);
    size_t used = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < SCHED_MAX_CPUS; i++) {
        if (!sched_cpus_has(s, i)) continue;
        uint32_t last = i;
        while (sched_cpus_has(s, last + 1)) last++;
        char part[32];
        int n = snprintf(part, sizeof part, last > i ? "%s%u-%u" : "%s%u", used ? "," : "", i, last);
        if (used + (size_t)n >= size) return;
        memcpy(out + used, part, (size_t)n + 1);
        used += (size_t)n;
        i = last;
    }
}
