// lab hosts up, down, list, cut, heal, delay, rate, loss, exec: machines made of network namespaces.
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/hash.h"
#include "tools/client.h"
#include "tools/lab/hosts_state.h"
#include "tools/lab/hosts_verbs.h"
#include "tools/lab/relay.h"
#include "tools/verbs.h"

char *hosts_tag_of(const struct call *call, char out[HOSTS_TAG_SIZE])
{
    const char *given = args_text(&call->args, "tag", NULL);
    if (given) {
        snprintf(out, HOSTS_TAG_SIZE, "%s", given);
        return out;
    }
    struct core_hash hash = hash_bytes(call->home, strlen(call->home));
    char hex[2 * sizeof hash.bytes + 1];
    hex_encode(hex, hash.bytes, sizeof hash.bytes);
    snprintf(out, HOSTS_TAG_SIZE, "%.8s", hex);
    return out;
}

int hosts_failed(const struct call *call, enum core_err err, const char *why)
{
    if (err) output_error(&call->out, core_error_name(err), "%s", why[0] ? why : core_error_text(err));
    return core_error_exit(err);
}

struct hosts_options hosts_limits_of(const struct call *call, unsigned count)
{
    struct hosts_options o = {.count = count};
    uint64_t value;
    if (args_read_rate(args_text(&call->args, "rate", ""), &value)) o.rate_bits = value;
    if (args_read_delay(args_text(&call->args, "delay", ""), &value)) o.delay_us = (uint32_t)value;
    if (args_read_percent(args_text(&call->args, "loss", ""), &value)) o.loss_millionth = (uint32_t)value;
    return o;
}

// "100 Mbit/s", "-" for none.
static char *rate_text(char out[TEXT_SIZE], uint64_t bits)
{
    static const char *const units[] = {"bit/s", "kbit/s", "Mbit/s", "Gbit/s"};
    size_t unit = 0;
    double value = (double)bits;
    for (; value >= 1000 && unit < 3; unit++) value /= 1000;
    if (bits == 0)
        snprintf(out, TEXT_SIZE, "-");
    else
        snprintf(out, TEXT_SIZE, "%.4g %s", value, units[unit]);
    return out;
}

// Of the pairs from `from`, the least and the most delay.
static void delays_of(const struct hosts_table *t, unsigned from, uint32_t *least, uint32_t *most)
{
    *least = UINT32_MAX;
    *most = 0;
    for (unsigned to = 1; to <= t->count; to++) {
        if (to == from) continue;
        if (t->delay_us[from][to] < *least) *least = t->delay_us[from][to];
        if (t->delay_us[from][to] > *most) *most = t->delay_us[from][to];
    }
    if (*least == UINT32_MAX) *least = 0;
}

static unsigned unheard_by(const struct hosts_table *t, unsigned from)
{
    unsigned count = 0;
    for (unsigned to = 1; to <= t->count; to++) count += t->cut[from][to];
    return count;
}

static json_t *host_json(const struct hosts_table *t, const char *tag, unsigned k)
{
    char name[HOSTS_NAME_SIZE], address[HOSTS_ADDRESS_SIZE];
    uint32_t least, most;
    delays_of(t, k, &least, &most);
    json_t *cut = json_array();
    for (unsigned to = 1; to <= t->count; to++)
        if (t->cut[k][to]) json_array_append_new(cut, json_integer(to));
    return json_pack("{s:i,s:s,s:s,s:I,s:f,s:f,s:f,s:o}", "host", (int)k, "namespace", hosts_name(name, tag, k),
                     "address", hosts_address(address, k, t->generation[k]), "rate_bits_per_s",
                     (json_int_t)t->rate_bits[k], "delay_min_ms", least / 1000.0, "delay_max_ms", most / 1000.0, "loss",
                     t->loss_millionth[k] / 1e6, "not_heard_by", cut);
}

static void print_hosts(const struct output *out, const struct hosts_table *t, const char *tag)
{
    static const struct table_column columns[] = {{"HOST", true, 0},   {"NAMESPACE", false, 0}, {"ADDRESS", false, 0},
                                                  {"RATE", true, 0},   {"DELAY", true, 0},      {"LOSS", true, 0},
                                                  {"CUT OFF", true, 0}};
    struct table table;
    table_open(&table, columns, sizeof columns / sizeof columns[0]);
    for (unsigned k = 1; k <= t->count; k++) {
        char name[HOSTS_NAME_SIZE], address[HOSTS_ADDRESS_SIZE], text[TEXT_SIZE];
        uint32_t least, most;
        delays_of(t, k, &least, &most);
        unsigned unheard = unheard_by(t, k);
        table_add(&table, TINT_BOLD, "%u", k);
        table_add(&table, TINT_NONE, "%s", hosts_name(name, tag, k));
        table_add(&table, TINT_NONE, "%s", hosts_address(address, k, t->generation[k]));
        table_add(&table, TINT_NONE, "%s", rate_text(text, t->rate_bits[k]));
        if (least != most)
            table_add(&table, TINT_NONE, "%.4g-%.4g ms", least / 1000.0, most / 1000.0);
        else if (most > 0)
            table_add(&table, TINT_NONE, "%.4g ms", most / 1000.0);
        else
            table_add(&table, TINT_NONE, "-");
        if (t->loss_millionth[k])
            table_add(&table, TINT_NONE, "%.4g %%", t->loss_millionth[k] / 1e4);
        else
            table_add(&table, TINT_NONE, "-");
        if (unheard)
            table_add(&table, TINT_WARN, "from %u", unheard);
        else
            table_add(&table, TINT_NONE, "-");
    }
    table_print(&table, out);
}

// Prints what there is of the tag; status 1 when nothing is.
static int show(struct call *call, const char *tag)
{
    struct hosts_state state;
    enum core_err err = hosts_state_peek(&state, tag);
    if (err && !call->out.json) {
        output_note(&call->out, "There are no hosts of tag %s; 'mycel lab hosts up 4' makes some.", tag);
        return 0;
    }
    if (call->out.json) {
        json_t *list = json_array();
        for (unsigned k = 1; !err && k <= state.table->count; k++)
            json_array_append_new(list, host_json(state.table, tag, k));
        output_json(json_pack("{s:s,s:b,s:o}", "tag", tag, "relay", relay_runs(tag), "hosts", list));
    } else {
        print_hosts(&call->out, state.table, tag);
    }
    if (!err) hosts_state_close(&state);
    return 0;
}

int command_hosts_up(struct call *call)
{
    char tag[HOSTS_TAG_SIZE], why[HOSTS_WHY_SIZE] = "";
    uint64_t count;
    if (!args_read_number(call->args.words[0], &count) || count == 0 || count > HOSTS_MAX) {
        snprintf(why, sizeof why, "'%.40s' is no number of hosts from 1 to %d", call->args.words[0], HOSTS_MAX);
        return hosts_failed(call, CORE_ERR_USAGE, why);
    }
    struct hosts_options options = hosts_limits_of(call, (unsigned)count);
    enum core_err err = hosts_up(hosts_tag_of(call, tag), &options, why);
    return err ? hosts_failed(call, err, why) : show(call, tag);
}

int command_hosts_down(struct call *call)
{
    char tag[HOSTS_TAG_SIZE], why[HOSTS_WHY_SIZE] = "";
    enum core_err err = hosts_down(hosts_tag_of(call, tag), why);
    if (err) return hosts_failed(call, err, why);
    if (call->out.json) return show(call, tag);
    output_note(&call->out, "The hosts of tag %s are gone, with all that ran in them.", tag);
    return 0;
}

static void add_tag(void *context, const char *tag)
{
    json_array_append_new(context, json_pack("{s:s,s:i}", "tag", tag, "hosts", (int)hosts_count(tag)));
}

static int list_tags(const struct call *call)
{
    json_t *tags = json_array(), *tag;
    size_t i;
    hosts_state_tags(add_tag, tags);
    if (call->out.json) {
        output_json(json_pack("{s:o}", "tags", tags));
        return 0;
    }
    static const struct table_column columns[] = {{"TAG", false, 0}, {"HOSTS", true, 0}};
    struct table table;
    table_open(&table, columns, sizeof columns / sizeof columns[0]);
    json_array_foreach(tags, i, tag)
    {
        table_add(&table, TINT_BOLD, "%s", field_text(tag, "tag", ""));
        table_add(&table, TINT_NONE, "%.0f", field_number(tag, "hosts", 0));
    }
    table_print(&table, &call->out);
    json_decref(tags);
    return 0;
}

int command_hosts_list(struct call *call)
{
    char tag[HOSTS_TAG_SIZE];
    if (args_has(&call->args, "all")) return list_tags(call);
    return show(call, hosts_tag_of(call, tag));
}

// The ways that word `index` names; all of them when there is none.
static enum core_err ways_of(struct call *call, size_t index, const char *tag, struct hosts_ways *ways, char *why)
{
    const char *text = call->args.word_count > index ? call->args.words[index] : NULL;
    return hosts_ways_parse(ways, text, hosts_count(tag), why);
}

static int cut_or_heal(struct call *call, bool cut)
{
    char tag[HOSTS_TAG_SIZE], why[HOSTS_WHY_SIZE] = "";
    struct hosts_ways ways;
    enum core_err err = ways_of(call, 0, hosts_tag_of(call, tag), &ways, why);
    if (!err) err = hosts_cut(tag, &ways, cut, why);
    return hosts_failed(call, err, why);
}

int command_hosts_cut(struct call *call)
{
    return cut_or_heal(call, true);
}

int command_hosts_heal(struct call *call)
{
    return cut_or_heal(call, false);
}

// Reads the first word as a limit, or "none".
static enum core_err limit_of(struct call *call, bool (*read)(const char *text, uint64_t *out), const char *form,
                              uint64_t *out, char *why)
{
    const char *text = call->args.words[0];
    *out = 0;
    if (strcmp(text, "none") == 0 || read(text, out)) return CORE_ERR_OK;
    snprintf(why, HOSTS_WHY_SIZE, "'%.40s' is not %s, nor none", text, form);
    return CORE_ERR_USAGE;
}

int command_hosts_delay(struct call *call)
{
    char tag[HOSTS_TAG_SIZE], why[HOSTS_WHY_SIZE] = "";
    struct hosts_ways ways;
    uint64_t value;
    enum core_err err = limit_of(call, args_read_delay, "a delay like 20ms, 500us or 1s", &value, why);
    if (!err) err = ways_of(call, 1, hosts_tag_of(call, tag), &ways, why);
    if (!err) err = hosts_delay(tag, &ways, (uint32_t)value, why);
    return hosts_failed(call, err, why);
}

int command_hosts_rate(struct call *call)
{
    char tag[HOSTS_TAG_SIZE], why[HOSTS_WHY_SIZE] = "";
    struct hosts_ways ways;
    uint64_t value;
    enum core_err err = limit_of(call, args_read_rate, "a rate like 100mbit, 1gbit or 64kbit", &value, why);
    if (!err) err = ways_of(call, 1, hosts_tag_of(call, tag), &ways, why);
    if (!err) err = hosts_rate(tag, &ways, value, why);
    return hosts_failed(call, err, why);
}

int command_hosts_loss(struct call *call)
{
    char tag[HOSTS_TAG_SIZE], why[HOSTS_WHY_SIZE] = "";
    struct hosts_ways ways;
    uint64_t value;
    enum core_err err = limit_of(call, args_read_percent, "a part like 1% or 0.5%", &value, why);
    if (!err) err = ways_of(call, 1, hosts_tag_of(call, tag), &ways, why);
    if (!err) err = hosts_loss(tag, &ways, (uint32_t)value, why);
    return hosts_failed(call, err, why);
}

int command_hosts_exec(struct call *call)
{
    char tag[HOSTS_TAG_SIZE], why[HOSTS_WHY_SIZE] = "";
    uint64_t number;
    int network = -1;
    hosts_tag_of(call, tag);
    if (args_read_number(call->args.words[0], &number) && number > 0 && number <= HOSTS_MAX)
        network = hosts_open(tag, (unsigned)number);
    if (network < 0) {
        snprintf(why, sizeof why, "there is no host %.20s of tag %s; 'mycel lab hosts list' shows them",
                 call->args.words[0], tag);
        return hosts_failed(call, CORE_ERR_NOT_FOUND, why);
    }
    if (setns(network, CLONE_NEWNET) != 0) {
        snprintf(why, sizeof why, "cannot enter host %.20s: %s; it needs root", call->args.words[0], strerror(errno));
        return hosts_failed(call, CORE_ERR_REFUSED, why);
    }
    char **command = call->args.rest;
    fflush(stdout);
    execvp(command[0], command);
    snprintf(why, sizeof why, "cannot run %.200s: %s", command[0], strerror(errno));
    return hosts_failed(call, CORE_ERR_NOT_FOUND, why);
}
