// init, up, join: what makes a home and runs its peer in this process; leave, down and invite, which ask it.
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/bytes.h"
#include "node/machine.h"
#include "node/node.h"
#include "tools/client.h"
#include "tools/service.h"
#include "tools/verbs.h"

enum { TOKEN_MAX = 4096, LEAVE_PATIENCE_MS = 120000 };

static int failed(struct call *call, enum core_err err, const struct node_failure *why)
{
    bool explained = why->what[0] != '\0';
    output_error(&call->out, core_error_name(err), "%s%s%s", explained ? why->what : core_error_text(err),
                 why->remedy[0] ? "; " : "", why->remedy);
    if (err == CORE_ERR_USAGE && call->args.from_conf && !call->out.json)
        output_note(&call->out, "'mycel conf' shows which values came from a file or the environment.");
    return core_error_exit(err);
}

int command_init(struct call *call)
{
    const struct args *args = &call->args;
    struct node_init_options options = {
        .home = call->home,
        .mesh_name = args->words[0],
        .peer_name = args_text(args, "name", NULL),
        .listen = args_text(args, "listen", NULL),
    };
    struct node_created created;
    struct node_failure why = {0};
    enum core_err err = machine_as_owner(call->home, false);
    if (!err) err = node_init(&options, &created, &why);
    if (err) return failed(call, err, &why);
    char mesh[CORE_ID_HEX], id[CORE_ID_HEX], mycel[CALL_WORDS_SIZE];
    hex_encode(mesh, created.mesh.bytes, sizeof created.mesh.bytes);
    hex_encode(id, created.id.bytes, sizeof created.id.bytes);
    if (call->out.json) {
        output_json(json_pack("{s:s,s:s,s:s,s:s}", "mesh", mesh, "name", args->words[0], "id", id, "home", call->home));
        return 0;
    }
    printf("mesh  %s  %s\npeer  %s\nhome  %s\n", mesh, args->words[0], id, call->home);
    call_mycel(call, mycel);
    output_note(&call->out, "\nNext:\n  %s up --detach    run this peer\n  %s invite         let another in", mycel,
                mycel);
    return 0;
}

static void run_options(struct node_options *options, struct call *call)
{
    const struct args *args = &call->args;
    uint64_t cpus = args_number(args, "cpus", 0);
    *options = (struct node_options){
        .home = call->home,
        .listen = args_text(args, "listen", NULL),
        .site = args_text(args, "site", NULL),
        .no_lan = args_has(args, "no-lan"),
        .map_port = args_has(args, "map-port"),
        .cpus = cpus > UINT32_MAX ? UINT32_MAX : (uint32_t)cpus,
        .memory_bytes = args_size(args, "memory", 0),
        .gpus = args_text(args, "gpus", NULL),
        .share_percent = (uint32_t)args_share(args, "share", 0),
        .http = args_has(args, "http"),
        .http_port = (uint16_t)args_number(args, "http", 0),
        .log_json = strcmp(args_text(args, "log-format", "text"), "json") == 0,
        .quiet = call->out.quiet,
        .verbose = call->out.verbose,
        .detach = args_has(args, "detach"),
    };
    const char *address;
    while (options->advertise_count < NODE_ADVERTISE_MAX &&
           (address = args_nth(args, "advertise", options->advertise_count)) != NULL)
        options->advertise[options->advertise_count++] = address;
}

// In the background: who runs, and what to type next. On a terminal the bare number would only puzzle.
static int say_runs(const struct call *call, bool as_service)
{
    const int pid = home_holder(call->home);
    char mycel[CALL_WORDS_SIZE];
    if (call->out.json) {
        output_json(json_pack("{s:i,s:s}", "pid", pid, "home", call->home));
        return 0;
    }
    if (call->out.quiet || !isatty(STDOUT_FILENO)) printf("%d\n", pid);
    if (as_service)
        output_note(&call->out, "The peer runs as the service mycel (process %d); its log: journalctl -u mycel", pid);
    else
        output_note(&call->out, "The peer runs (process %d); its log: %s/log", pid, call->home);
    const uint64_t port = args_number(&call->args, "http", 0);
    if (port) output_note(&call->out, "The live page: http://127.0.0.1:%u/", (unsigned)port);
    call_mycel(call, mycel);
    const bool joined = strcmp(call->args.command->verb, "join") == 0;  // who has just come may not invite
    output_note(&call->out, "\nNext:\n  %s map       see the mesh\n  %s %s", mycel, mycel,
                joined ? "status    is it healthy" : "invite    let another machine in");
    return 0;
}

static int run_service(const struct call *call)
{
    char said[512];
    const enum core_err err = service_start(said, sizeof said);
    if (!err) return say_runs(call, true);
    output_error(&call->out, core_error_name(err),
                 "the service mycel did not start: %s; 'journalctl -u mycel' says why", said);
    return core_error_exit(err);
}

static int run_peer(struct call *call)
{
    struct node_options options;
    struct node_failure why = {0};
    if (args_number(&call->args, "http", 0) > UINT16_MAX) {
        output_error(&call->out, "USAGE", "--http takes a port, 0 to 65535");
        return core_error_exit(CORE_ERR_USAGE);
    }
    run_options(&options, call);
    fflush(stdout);
    enum core_err err = machine_as_root();
    if (!err && service_takes(call)) return run_service(call);
    if (!err) err = machine_as_owner(call->home, true);
    if (!err) err = node_run(&options, &why);
    if (err) return failed(call, err, &why);
    return options.detach ? say_runs(call, false) : 0;
}

int command_up(struct call *call)
{
    return run_peer(call);
}

// The token as given, or the first word of standard input for "-". False when there is none or it is too long.
static bool read_token(const char *word, char out[TOKEN_MAX])
{
    if (strcmp(word, "-") != 0) return snprintf(out, TOKEN_MAX, "%s", word) < TOKEN_MAX;
    size_t size = fread(out, 1, TOKEN_MAX - 1, stdin);
    out[size] = '\0';
    size_t begin = strspn(out, " \t\r\n");
    size_t length = strcspn(out + begin, " \t\r\n");
    memmove(out, out + begin, length);
    out[length] = '\0';
    return length > 0 && size < TOKEN_MAX - 1;
}

static void join_progress(void *context, const char *text)
{
    const struct call *call = context;
    output_note(&call->out, "%s", text);
}

int command_join(struct call *call)
{
    const struct args *args = &call->args;
    char token[TOKEN_MAX];
    if (!read_token(args->words[0], token)) {
        output_error(&call->out, "MALFORMED",
                     "there is no token on standard input, or it is too long; 'mycel invite' "
                     "on a member prints one");
        return core_error_exit(CORE_ERR_MALFORMED);
    }
    struct node_join_options options = {
        .home = call->home,
        .token = token,
        .peer_name = args_text(args, "name", NULL),
        .listen = args_text(args, "listen", NULL),
        .progress = join_progress,
        .context = call,
    };
    const char *address;
    while (options.sponsor_count < NODE_ADVERTISE_MAX &&
           (address = args_nth(args, "sponsor", options.sponsor_count)) != NULL)
        options.sponsors[options.sponsor_count++] = address;
    struct node_created created;
    struct node_failure why = {0};
    enum core_err err = machine_as_owner(call->home, false);
    if (!err) err = node_join(&options, &created, &why);
    if (err) return failed(call, err, &why);
    char mesh[CORE_ID_HEX];
    hex_encode(mesh, created.mesh.bytes, sizeof created.mesh.bytes);
    output_note(&call->out, "Admitted to the mesh %s (%.8s).", created.name, mesh);
    return run_peer(call);
}

// Waits until nobody holds the home's lock: the process is gone, and `up` will find the home free.
static bool wait_until_free(const char *home, int timeout_ms)
{
    for (int waited = 0; waited < timeout_ms; waited += 20) {
        if (home_holder(home) == 0) return true;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return home_holder(home) == 0;
}

static int stop(struct call *call, const char *verb, int patience_ms, const char *said)
{
    json_t *answer;
    int status = client_ask(call, verb, NULL, patience_ms, &answer);
    if (status == 0 && !wait_until_free(call->home, 10000)) {
        output_error(&call->out, "TIMED_OUT", "process %d has answered, but doesn't end; 'kill %d' ends it",
                     home_holder(call->home), home_holder(call->home));
        status = core_error_exit(CORE_ERR_TIMED_OUT);
    }
    if (status == 0 && call->out.json) {
        output_json(answer);
        return 0;
    }
    if (status == 0) output_note(&call->out, "%s", said);
    json_decref(answer);
    return status;
}

int command_leave(struct call *call)
{
    return stop(call, "leave", LEAVE_PATIENCE_MS, "Left the mesh; the peer is stopped.");
}

int command_down(struct call *call)
{
    char mycel[CALL_WORDS_SIZE], said[CALL_WORDS_SIZE + 64];
    snprintf(said, sizeof said, "Stopped; '%s up --detach' brings the peer back.", call_mycel(call, mycel));
    return stop(call, "down", CLIENT_PATIENCE_MS, said);
}

// Whether the token leads nowhere but to the machine that made it.
static bool only_here(const json_t *answer)
{
    size_t i;
    json_t *address;
    json_array_foreach(json_object_get(answer, "addresses"), i, address)
    {
        const char *text = json_string_value(address);
        if (!text || (strncmp(text, "127.", 4) != 0 && strncmp(text, "[::1]", 5) != 0)) return false;
    }
    return true;
}

int command_invite(struct call *call)
{
    const struct args *args = &call->args;
    json_t *answer,
        *fields =
            json_pack("{s:s,s:s,s:I,s:I}", "action", "create", "role", args_text(args, "role", "member"), "ttl_s",
                      (json_int_t)args_seconds(args, "ttl", 86400), "uses", (json_int_t)args_number(args, "uses", 1));
    int status = client_ask(call, "invite", fields, CLIENT_PATIENCE_MS, &answer);
    if (!answer) return status;
    if (call->out.json) {
        output_json(answer);
        return status;
    }
    // On a terminal the line to type, which holds the token; for a script the token alone.
    const bool shown = isatty(STDOUT_FILENO) && !call->out.quiet;
    const double uses = field_number(answer, "uses", 1);
    const char *line = field_text(answer, "join", "");
    if (!shown) printf("%s\n", field_text(answer, "token", ""));
    output_note(&call->out, "On the other machine, until %s, for %.0f peer%s:\n%s%s",
                field_text(answer, "expires", "?"), uses, uses == 1 ? "" : "s", shown ? "" : "  ", shown ? "" : line);
    if (shown) printf("  %s\n", line);
    output_note(&call->out, "\nWhoever has it can join: send it over a channel that you trust.");
    if (only_here(answer))
        output_note(&call->out,
                    "It leads to this machine's loopback alone, so only peers on this machine can join by it:\n"
                    "'mycel conf' shows where the peer listens, 'up --advertise HOST:PORT' tells another address.");
    json_decref(answer);
    return status;
}

int command_invite_ls(struct call *call)
{
    json_t *answer;
    int status = client_ask(call, "invite", json_pack("{s:s}", "action", "ls"), CLIENT_PATIENCE_MS, &answer);
    if (!answer) return status;
    if (call->out.json) {
        output_json(answer);
        return status;
    }
    static const struct table_column columns[] = {
        {"ID", false, 16}, {"LEFT", true, 0}, {"USES", true, 0}, {"EXPIRES", false, 0}};
    struct table table;
    table_open(&table, columns, 4);
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(answer, "invitations"), i, row)
    {
        table_add(&table, TINT_NONE, "%.8s", field_text(row, "id", ""));
        table_add(&table, TINT_NONE, "%.0f", field_number(row, "uses_left", 0));
        table_add(&table, TINT_NONE, "%.0f", field_number(row, "uses", 0));
        table_add(&table, TINT_NONE, "%s", field_text(row, "expires", ""));
    }
    table_print(&table, &call->out);
    json_decref(answer);
    return status;
}

int command_invite_revoke(struct call *call)
{
    json_t *answer;
    json_t *fields = json_pack("{s:s,s:s}", "action", "revoke", "id", call->args.words[0]);
    int status = client_ask(call, "invite", fields, CLIENT_PATIENCE_MS, &answer);
    if (!answer) return status;
    if (call->out.json) {
        output_json(answer);
        return status;
    }
    output_note(&call->out, "Closed invitation %.8s.", field_text(answer, "id", call->args.words[0]));
    json_decref(answer);
    return status;
}
