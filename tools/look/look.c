// status, peers, ping: what a peer says of itself and of the others.
#include <string.h>
#include <time.h>

#include "tools/client.h"
#include "tools/verbs.h"

static enum tint state_tint(const char *state)
{
    if (strcmp(state, "alive") == 0 || strcmp(state, "up") == 0 || strcmp(state, "running") == 0) return TINT_GOOD;
    if (strcmp(state, "suspect") == 0 || strcmp(state, "waiting") == 0 || strcmp(state, "leaving") == 0)
        return TINT_WARN;
    if (strcmp(state, "dead") == 0 || strcmp(state, "failed") == 0) return TINT_BAD;
    return TINT_NONE;
}

static void print_problems(const struct output *out, const json_t *problems)
{
    size_t i;
    json_t *problem;
    json_array_foreach(problems, i, problem)
    {
        char text[512];
        if (json_is_string(problem))
            snprintf(text, sizeof text, "%s", json_string_value(problem));
        else
            client_describe_wait(text, sizeof text, problem);
        char lead[32];
        snprintf(lead, sizeof lead, "  %s!%s ", output_tint(out, TINT_BAD), output_plain(out));
        output_wrapped(stdout, 4, lead, text);
    }
}

static void print_liars(const struct output *out, const json_t *run)
{
    size_t i;
    json_t *liar;
    json_array_foreach(json_object_get(run, "liars"), i, liar) printf(
        "         %slied%s      %s (%.8s) %s: it is left out of the run\n", output_tint(out, TINT_BAD),
        output_plain(out), field_text(liar, "peer", "?"), field_text(liar, "id", ""), field_text(liar, "what", ""));
}

static void print_runs(const struct output *out, const json_t *runs)
{
    size_t i;
    json_t *run;
    json_array_foreach(runs, i, run)
    {
        const char *state = field_text(run, "state", "?");
        char loss[TEXT_SIZE];
        printf("%-8s %.8s  %s%s%s  round %.0f of %.0f  loss %s\n", i == 0 ? "runs" : "", field_text(run, "id", ""),
               output_tint(out, state_tint(state)), state, output_plain(out), field_number(run, "round", 0),
               field_number(run, "rounds", 0), text_loss(loss, field_number(run, "loss", -1)));
        print_liars(out, run);
        const json_t *wait = json_object_get(run, "waiting");
        if (!json_is_object(wait)) continue;
        char text[512];
        client_describe_wait(text, sizeof text, wait);
        output_wrapped(stdout, 21, "         waiting for ", text);
    }
}

// Appends "name 3, other 1" for what isn't 0 in `counts`, under the names that JSON has.
static void add_counts(char *text, size_t size, const json_t *counts)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)counts, key, value)
    {
        size_t used = strlen(text);
        if (!json_is_number(value) || json_number_value(value) <= 0) continue;
        snprintf(text + used, size - used, "%s%s %.0f", used ? ", " : "", key, json_number_value(value));
    }
}

// A line of counts under `name`; nothing when all are 0.
static void print_counts(const char *name, const json_t *const *lists, size_t count)
{
    char text[2048] = "", lead[16];
    for (size_t i = 0; i < count; i++) add_counts(text, sizeof text, lists[i]);
    snprintf(lead, sizeof lead, "%-8s ", name);
    if (text[0]) output_wrapped(stdout, 9, lead, text);
}

// The gateway's port, where one was asked for.
static void print_gateway(const json_t *s)
{
    const json_t *map = json_object_get(s, "port_map");
    const char *state = field_text(map, "state", "off"), *why = field_text(map, "why", "");
    if (strcmp(state, "off") == 0) return;
    printf("%-8s ", "gateway");
    if (strcmp(state, "mapped") == 0)
        printf("%s by %s%s%s\n", field_text(map, "external", "?"), field_text(map, "by", "?"), *why ? ", but " : "",
               why);
    else
        printf("no port: %s\n", *why ? why : "it is being asked");
}

static void print_network(const json_t *s)
{
    static const struct {
        const char *key;
        const char *name;
    } others[] = {{"peers_suspect", "suspect"}, {"peers_unreachable", "out of reach"}, {"peers_left", "left"}};
    printf("%-8s ", "peers");
    if (field_number(s, "peers_known", 0) > 0)
        printf("%.0f of %.0f up", field_number(s, "peers_up", 0), field_number(s, "peers_known", 0));
    else
        printf("no other yet%s", strcmp(field_text(s, "role", ""), "member") ? "; 'mycel invite' lets one in" : "");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (field_number(s, others[i].key, 0) > 0)
            printf(", %.0f %s", field_number(s, others[i].key, 0), others[i].name);
    char tx[TEXT_SIZE], rx[TEXT_SIZE];
    printf("\n%-8s port %.0f, sent %s, received %s, %.0f refused\n", "net", field_number(s, "port", 0),
           text_bytes(tx, field_number(s, "tx_bytes", 0)), text_bytes(rx, field_number(s, "rx_bytes", 0)),
           field_number(s, "refused", 0));
    print_gateway(s);
    const json_t *gossip = json_object_get(s, "gossip"), *by = json_object_get(s, "refused_by");
    const json_t *refused[] = {json_object_get(by, "links"), json_object_get(by, "messages"),
                               json_object_get(gossip, "refused_by")};
    const json_t *links = json_object_get(s, "links"), *dropped = json_object_get(s, "dropped");
    print_counts("links", &links, 1);
    print_counts("refused", refused, sizeof refused / sizeof refused[0]);
    print_counts("dropped", &dropped, 1);
}

// A line a device: what runs on it, how busy it is, or why it is lost.
static void print_lanes(const json_t *s)
{
    size_t i;
    json_t *l;
    const char *name = "devices";
    json_array_foreach(json_object_get(s, "lanes"), i, l)
    {
        const char *state = field_text(l, "state", "up"), *device = field_text(l, "device", "?");
        const char *why = field_text(l, "why", ""), *doing = field_text(l, "doing", NULL);
        double waiting = field_number(l, "waiting", 0);
        if (strcmp(state, "elsewhere") == 0) continue;
        printf("%-8s %-9s", name, device);
        name = "";
        if (why[0]) {
            printf(" %s\n", state);
            continue;
        }
        if (strcmp(device, "cpu") == 0)
            printf(" %.0f thread%s,", field_number(l, "threads", 0), field_number(l, "threads", 0) == 1 ? "" : "s");
        else
            printf(" %.24s,", field_text(l, "model", ""));
        printf(" %.0f %% busy", 100 * field_number(l, "busy", 0));
        if (doing) printf(", %s %.8s", doing, field_text(l, "run", ""));
        if (waiting > 0) printf(", %.0f waiting", waiting);
        printf("\n");
    }
}

int command_status(struct call *call)
{
    json_t *s;
    int status = client_ask(call, "status", NULL, CLIENT_PATIENCE_MS, &s);
    if (!s) return status;
    if (call->out.json) {
        output_json(s);
        return status;
    }
    const struct output *out = &call->out;
    bool healthy = field_true(s, "healthy");
    char used[TEXT_SIZE], budget[TEXT_SIZE], uptime[TEXT_SIZE];
    printf("%s%s%s\n", output_tint(out, healthy ? TINT_GOOD : TINT_BAD), healthy ? "healthy" : "unhealthy",
           output_plain(out));
    print_problems(out, json_object_get(s, "problems"));
    printf("%-8s %s  %.8s  %s, %s, up %s\n", "peer", field_text(s, "name", ""), field_text(s, "id", ""),
           field_text(s, "role", "member"), field_text(s, "state", "up"),
           text_seconds(uptime, field_number(s, "uptime_s", 0)));
    printf("%-8s %s  %.8s\n", "mesh", field_text(s, "mesh_name", ""), field_text(s, "mesh", ""));
    print_network(s);
    print_lanes(s);
    printf("%-8s %s of %s\n", "memory", text_bytes(used, field_number(s, "memory_used_bytes", 0)),
           text_bytes(budget, field_number(s, "memory_bytes", 0)));
    const json_t *process = json_object_get(s, "process");
    if (process)
        printf("%-8s %.0f, %s resident, %.1f s of processor time\n", "process", field_number(s, "pid", 0),
               text_bytes(used, field_number(process, "rss_bytes", 0)), field_number(process, "cpu_s", 0));
    printf("%-8s %s\n", "home", field_text(s, "home", call->home));
    printf("%-8s %.0f decisions in the log\n", "record", field_number(s, "record_height", 0));
    print_runs(out, json_object_get(s, "runs"));
    json_decref(s);
    return status;
}

// "3s" since an RFC 3339 time.
static char *since(char *out, const char *stamp)
{
    struct tm tm = {0};
    if (!strptime(stamp, "%Y-%m-%dT%H:%M:%S", &tm)) return snprintf(out, TEXT_SIZE, "-"), out;
    double seconds = difftime(time(NULL), timegm(&tm));
    return text_seconds(out, seconds < 0 ? 0 : seconds);
}

// How many are in which state, and how near those are that this one has links to.
static void print_peers_summary(const json_t *peers)
{
    static const char *const states[] = {"alive", "suspect", "dead", "left"};
    double nearest = -1, furthest = -1;
    unsigned counts[sizeof states / sizeof states[0]] = {0}, linked = 0;
    size_t i;
    json_t *peer;
    json_array_foreach((json_t *)peers, i, peer)
    {
        const char *state = field_text(peer, "state", "");
        for (size_t k = 0; k < sizeof states / sizeof states[0]; k++) counts[k] += strcmp(state, states[k]) == 0;
        linked += strcmp(field_text(peer, "path", ""), "direct") == 0;
        double rtt = field_number(peer, "rtt_ms", -1);
        if (rtt < 0) continue;
        if (nearest < 0 || rtt < nearest) nearest = rtt;
        if (rtt > furthest) furthest = rtt;
    }
    printf("\n%zu peers: ", json_array_size(peers));
    const char *gap = "";
    for (size_t k = 0; k < sizeof states / sizeof states[0]; k++) {
        if (counts[k] == 0) continue;
        printf("%s%u %s", gap, counts[k], states[k]);
        gap = ", ";
    }
    printf("; %u direct", linked);
    if (nearest >= 0) printf(", round trips %.1f to %.1f ms", nearest, furthest);
    printf("\n");
}

int command_peers(struct call *call)
{
    json_t *answer;
    int status = client_ask(call, "peers", NULL, CLIENT_PATIENCE_MS, &answer);
    if (!answer) return status;
    if (call->out.json) {
        output_json(answer);
        return status;
    }
    static const struct table_column columns[] = {
        {"NAME", false, 16}, {"ID", false, 0}, {"ROLE", false, 8}, {"STATE", false, 0}, {"PATH", false, 0},
        {"RTT", true, 0},    {"TX", true, 0},  {"RX", true, 0},    {"SEEN", true, 0},
    };
    struct table table;
    table_open(&table, columns, sizeof columns / sizeof columns[0]);
    size_t i;
    json_t *peer;
    json_array_foreach(json_object_get(answer, "peers"), i, peer)
    {
        const char *state = field_text(peer, "state", "?");
        bool self = field_true(peer, "self");
        double rtt = field_number(peer, "rtt_ms", -1);
        char text[TEXT_SIZE];
        table_add(&table, TINT_BOLD, "%s", field_text(peer, "name", ""));
        table_add(&table, TINT_NONE, "%.8s", field_text(peer, "id", ""));
        table_add(&table, TINT_NONE, "%s", field_text(peer, "role", ""));
        table_add(&table, state_tint(state), "%s", state);
        bool gone = strcmp(state, "dead") == 0 || strcmp(state, "left") == 0;
        table_add(&table, TINT_NONE, "%s", self ? "self" : gone ? "-" : field_text(peer, "path", "-"));
        if (rtt < 0)
            table_add(&table, TINT_NONE, "-");
        else
            table_add(&table, TINT_NONE, "%.1f ms", rtt);
        table_add(&table, TINT_NONE, "%s", self ? "-" : text_bytes(text, field_number(peer, "tx_bytes", 0)));
        table_add(&table, TINT_NONE, "%s", self ? "-" : text_bytes(text, field_number(peer, "rx_bytes", 0)));
        table_add(&table, TINT_NONE, "%s", self ? "now" : since(text, field_text(peer, "seen", "")));
    }
    table_print(&table, &call->out);
    if (json_array_size(json_object_get(answer, "peers")) > 8) print_peers_summary(json_object_get(answer, "peers"));
    json_decref(answer);
    return status;
}

static void print_ping(const json_t *answer, bool last)
{
    const char *peer = field_text(answer, "peer", "?");
    if (!last) {
        double rtt = field_number(answer, "rtt_ms", -1);
        if (rtt < 0)
            printf("%s  %.0f  no answer within 1 s\n", peer, field_number(answer, "seq", 0));
        else
            printf("%s  %.0f  %.2f ms\n", peer, field_number(answer, "seq", 0), rtt);
    } else {
        printf("%.0f of %.0f answered", field_number(answer, "received", 0), field_number(answer, "sent", 0));
        if (field_number(answer, "received", 0) > 0)
            printf("  min %.2f  median %.2f  max %.2f ms", field_number(answer, "rtt_min_ms", 0),
                   field_number(answer, "rtt_median_ms", 0), field_number(answer, "rtt_max_ms", 0));
        printf("\n");
    }
    fflush(stdout);
}

int command_ping(struct call *call)
{
    const struct args *args = &call->args;
    struct client c;
    client_catch_interrupts();
    int status = client_open(&c, call), final = 0;
    if (status) return status;
    status = client_send(
        &c, "ping", json_pack("{s:s,s:I}", "peer", args->words[0], "count", (json_int_t)args_number(args, "count", 4)));
    for (bool last = false; status == 0 && !last;) {
        json_t *answer;
        status = client_next(&c, CLIENT_PATIENCE_MS, &answer, &last, &final);
        if (!answer) break;
        if (!call->out.json) client_make_safe(answer);
        if (!call->out.json)
            print_ping(answer, last);
        else if (last)
            output_json(json_incref(answer));  // one object: the summary
        json_decref(answer);
    }
    client_close(&c);
    return status ? status : final;
}
