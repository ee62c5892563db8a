// hw: what this machine is, which devices it has and what they reach, and who uses what. Asked of the daemon where one
// runs, found out here where none does.
#include "node/compute/hw.h"

#include <string.h>

#include "tools/client.h"
#include "tools/hw.h"

enum { WHY_INDENT = 10, TEXT_INDENT = 9 };

// A cache's size: "48 KiB", "1.5 MiB".
static char *text_cache(char *out, double bytes)
{
    bool large = bytes >= 0x1p20;
    snprintf(out, TEXT_SIZE, "%.4g %s", bytes / (large ? 0x1p20 : 0x1p10), large ? "MiB" : "KiB");
    return out;
}

static unsigned count_of(const json_t *o, const char *key)
{
    return (unsigned)field_number(o, key, 0);
}

static const char *plural(double n)
{
    return n == 1 ? "" : "s";
}

// ---- the machine ----

static void print_caches(const json_t *caches)
{
    size_t i, used = 0;
    json_t *cache;
    char size[TEXT_SIZE], text[512] = "";
    if (json_array_size(caches) == 0) return;
    json_array_foreach((json_t *)caches, i, cache)
    {
        double cpus = field_number(cache, "cpus", 1);
        if (used > sizeof text - 64) break;
        used += (size_t)snprintf(text + used, sizeof text - used, "%sL%.0f %s", i ? ", " : "",
                                 field_number(cache, "level", 0), text_cache(size, field_number(cache, "bytes", 0)));
        if (cpus > 1) used += (size_t)snprintf(text + used, sizeof text - used, " for %.0f cpus", cpus);
    }
    output_wrapped(stdout, TEXT_INDENT, "caches   ", text);
}

static void print_nodes(const json_t *nodes)
{
    size_t i;
    json_t *node;
    char size[TEXT_SIZE], text[600];
    if (json_array_size(nodes) < 2) return;
    json_array_foreach((json_t *)nodes, i, node)
    {
        const char *cpus = field_text(node, "cpus", "");
        snprintf(text, sizeof text, "node %.0f: %s%s%s", field_number(node, "node", 0),
                 text_bytes(size, field_number(node, "memory_bytes", 0)), cpus[0] ? ", cpus " : ", no cpus", cpus);
        output_wrapped(stdout, TEXT_INDENT, i ? "         " : "nodes    ", text);
    }
}

void hw_print_machine(const json_t *m)
{
    char size[TEXT_SIZE];
    const char *model = field_text(m, "model", "");
    const json_t *kinds = json_object_get(m, "kinds");
    printf("%-8s %s\n", "machine", model[0] ? model : "unknown processor");
    printf("%-8s %u package%s, %u core%s, %u cpu%s", "", count_of(m, "packages"), plural(count_of(m, "packages")),
           count_of(m, "cores"), plural(count_of(m, "cores")), count_of(m, "cpus"), plural(count_of(m, "cpus")));
    if (count_of(m, "cpus_usable") != count_of(m, "cpus")) printf(", %u usable here", count_of(m, "cpus_usable"));
    if (count_of(m, "cpus_quota")) printf(", time of %u (cgroup)", count_of(m, "cpus_quota"));
    printf("\n");
    for (size_t i = 0; i < json_array_size(kinds) && json_array_size(kinds) > 1; i++) {
        const json_t *kind = json_array_get(kinds, i);
        const char *name = field_text(kind, "name", "");
        printf("%-8s %u cores%s%s at %.0f %% of the fastest\n", "", count_of(kind, "cores"), name[0] ? " " : "", name,
               field_number(kind, "speed_percent", 100));
    }
    print_caches(json_object_get(m, "caches"));
    printf("%-8s %s", "memory", text_bytes(size, field_number(m, "memory_bytes", 0)));
    double limit = field_number(m, "memory_limit_bytes", 0);
    if (limit > 0) printf(", %s usable here (cgroup)", text_bytes(size, limit));
    printf("\n");
    print_nodes(json_object_get(m, "nodes"));
}

// ---- devices ----

static void add_number(struct table *t, double value)
{
    if (value > 0)
        table_add(t, TINT_NONE, value < 9.95 ? "%.2f" : "%.0f", value);
    else
        table_add(t, TINT_NONE, "-");
}

static void print_devices(const struct output *out, const json_t *devices)
{
    static const struct table_column columns[] = {{"DEVICE", false, 10}, {"MODEL", false, 24}, {"IMAGE", false, 8},
                                                  {"DRIVER", false, 10}, {"MEMORY", true, 0},  {"GFLOP/S", true, 0},
                                                  {"GB/S", true, 0}};
    struct table table;
    size_t i;
    json_t *d;
    char size[TEXT_SIZE], threads[32];
    bool unmeasured = false;
    table_open(&table, columns, sizeof columns / sizeof columns[0]);
    json_array_foreach((json_t *)devices, i, d)
    {
        if (!field_true(d, "usable")) continue;
        bool cpu = strcmp(field_text(d, "name", ""), "cpu") == 0;
        double memory = field_number(d, "memory_bytes", 0), rate = field_number(d, "gflops", 0);
        snprintf(threads, sizeof threads, "%u thread%s", count_of(d, "threads"), plural(count_of(d, "threads")));
        table_add(&table, TINT_BOLD, "%s", field_text(d, "name", ""));
        table_add(&table, TINT_NONE, "%s", cpu ? threads : field_text(d, "model", ""));
        table_add(&table, TINT_NONE, "%s", field_text(d, "image", ""));
        table_add(&table, TINT_NONE, "%s", cpu ? "-" : field_text(d, "driver", "-"));
        table_add(&table, TINT_NONE, "%s", memory > 0 ? text_bytes(size, memory) : "-");
        add_number(&table, rate);
        add_number(&table, field_number(d, "gbytes_per_s", 0));
        unmeasured = unmeasured || rate <= 0;
    }
    printf("\n");
    table_print(&table, out);
    json_array_foreach((json_t *)devices, i, d)
    {
        if (field_true(d, "usable")) continue;
        char lead[64];
        snprintf(lead, sizeof lead, "%s%-8s%s ", output_tint(out, TINT_BAD), field_text(d, "name", ""),
                 output_plain(out));
        output_wrapped(stdout, WHY_INDENT - 1, lead, field_text(d, "why", "cannot be used"));
    }
    if (unmeasured) output_note(out, "\nNot measured yet: 'mycel hw --measure' does it.");
}

// What the PCI bus shows and no driver answers for.
static void print_idle_cards(const struct output *out, const json_t *pci, const json_t *devices)
{
    size_t i, k;
    json_t *card, *d;
    json_array_foreach((json_t *)pci, i, card)
    {
        const char *at = field_text(card, "pci", "");
        bool used = false;
        json_array_foreach((json_t *)devices, k, d)
        {
            used = used || strcasecmp(field_text(d, "pci", ""), at) == 0;
        }
        char lead[64], text[256];
        snprintf(lead, sizeof lead, "%s%s%s ", output_tint(out, TINT_WARN), "card", output_plain(out));
        snprintf(text, sizeof text, "%s (%s) is on the PCI bus, but no driver shows it: is one installed?", at,
                 field_text(card, "name", "?"));
        if (!used) output_wrapped(stdout, WHY_INDENT - 1, lead, text);
    }
}

// ---- the running peer ----

static void print_limits(const json_t *limits)
{
    char size[TEXT_SIZE], text[256] = "";
    size_t used = 0;
    double cpus = field_number(limits, "cpus", 0), memory = field_number(limits, "memory_bytes", 0),
           share = field_number(limits, "share_percent", 100);
    const char *gpus = field_text(limits, "gpus", "all");
    if (cpus > 0) used += (size_t)snprintf(text + used, sizeof text - used, " --cpus %.0f", cpus);
    if (memory > 0) used += (size_t)snprintf(text + used, sizeof text - used, " --memory %s", text_bytes(size, memory));
    if (strcmp(gpus, "all") != 0) used += (size_t)snprintf(text + used, sizeof text - used, " --gpus %.60s", gpus);
    if (share < 100) used += (size_t)snprintf(text + used, sizeof text - used, " --share %.0f%%", share);
    if (used) printf("%-8s%s\n", "limits", text);
}

static void print_lanes(const struct output *out, const json_t *lanes)
{
    static const struct table_column columns[] = {{"LANE", false, 10}, {"STATE", false, 0}, {"CPUS", false, 12},
                                                  {"MEMORY", true, 0}, {"SHARE", true, 0},  {"BUSY", true, 0},
                                                  {"DOING", false, 0}, {"WAITING", true, 0}};
    struct table table;
    size_t i;
    json_t *l;
    char size[TEXT_SIZE];
    table_open(&table, columns, sizeof columns / sizeof columns[0]);
    json_array_foreach((json_t *)lanes, i, l)
    {
        const char *state = field_text(l, "state", "?"), *run = field_text(l, "run", "");
        bool here = strcmp(state, "elsewhere") != 0, up = strcmp(state, "up") == 0;
        table_add(&table, TINT_BOLD, "%s", field_text(l, "device", ""));
        table_add(&table, up ? TINT_GOOD : here ? TINT_BAD : TINT_DIM, "%s", state);
        const char *cpus = field_text(l, "cpus", "");
        table_add(&table, TINT_NONE, "%s", !here ? "-" : cpus[0] ? cpus : "any");
        table_add(&table, TINT_NONE, "%s", here ? text_bytes(size, field_number(l, "memory_bytes", 0)) : "-");
        table_add(&table, TINT_NONE, here ? "%.0f %%" : "-", field_number(l, "duty_percent", 100));
        table_add(&table, TINT_NONE, here ? "%.0f %%" : "-", 100 * field_number(l, "busy", 0));
        table_add(&table, TINT_NONE, "%s%s%.8s", field_text(l, "doing", "-"), run[0] ? " " : "", run);
        table_add(&table, TINT_NONE, "%u", count_of(l, "waiting"));
    }
    table_print(&table, out);
    json_array_foreach((json_t *)lanes, i, l)
    {
        const char *why = field_text(l, "why", "");
        char text[512], lead[64];
        if (!why[0]) continue;
        snprintf(lead, sizeof lead, "%s%-8s%s ", output_tint(out, TINT_BAD), field_text(l, "device", ""),
                 output_plain(out));
        snprintf(text, sizeof text, "lost: %s; tried again in %.0f s", why, field_number(l, "retry_s", 0));
        output_wrapped(stdout, WHY_INDENT - 1, lead, text);
    }
}

static void print_peer(const struct output *out, const json_t *p)
{
    char size[TEXT_SIZE];
    printf("\n%-8s %s, %.0f of %.0f on this machine: %.0f cpu%s, %s of memory\n", "peer", field_text(p, "name", ""),
           field_number(p, "index", 1), field_number(p, "peers", 1), field_number(p, "cpus", 0),
           plural(field_number(p, "cpus", 0)), text_bytes(size, field_number(p, "memory_bytes", 0)));
    print_limits(json_object_get(p, "limits"));
    if (strcmp(field_text(p, "gpus", ""), "looking") == 0) printf("%-8s still looking for them\n", "gpus");
    print_lanes(out, json_object_get(p, "lanes"));
}

int command_hw(struct call *call)
{
    if (args_has(&call->args, "topology")) return command_hw_plan(call);
    if (args_has(&call->args, "peers")) {
        output_error(&call->out, core_error_name(CORE_ERR_USAGE), "--peers is for a described machine; add --topology");
        return core_error_exit(CORE_ERR_USAGE);
    }
    json_t *hw = NULL;
    bool measure = args_has(&call->args, "measure");
    int status = 0;
    if (home_holder(call->home) > 0) {
        status = client_ask(call, "hw", json_pack("{s:b}", "measure", measure), CLIENT_PATIENCE_MS, &hw);
    } else {
        struct node_failure why = {0};
        enum core_err err = node_hw(call->home, measure, &hw, &why);
        if (err) output_error(&call->out, core_error_name(err), "%s; %s", why.what, why.remedy);
        status = err ? core_error_exit(err) : 0;
    }
    if (!hw) return status;
    if (call->out.json) {
        output_json(hw);
        return status;
    }
    const json_t *machine = json_object_get(hw, "machine"), *devices = json_object_get(hw, "devices"),
                 *peer = json_object_get(hw, "peer");
    hw_print_machine(machine);
    print_devices(&call->out, devices);
    print_idle_cards(&call->out, json_object_get(machine, "pci"), devices);
    if (json_is_object(peer))
        print_peer(&call->out, peer);
    else
        output_note(&call->out, "\nNo peer runs in %s: what it would use shows once it is up.", call->home);
    json_decref(hw);
    return status;
}
