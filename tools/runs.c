// runs: the list, one run, one round, its replay, and the commands to it.
#include <string.h>

#include "tools/look/follow.h"
#include "tools/verbs.h"

static enum tint state_tint(const char *state)
{
    if (strcmp(state, "running") == 0 || strcmp(state, "done") == 0) return TINT_GOOD;
    return strcmp(state, "cancelled") == 0 ? TINT_BAD : TINT_WARN;
}

int command_runs(struct call *call)
{
    json_t *answer;
    int status = client_ask(call, "runs", NULL, CLIENT_PATIENCE_MS, &answer);
    if (!answer) return status;
    if (call->out.json) {
        output_json(answer);
        return status;
    }
    static const struct table_column columns[] = {
        {"ID", false, 0},      {"STATE", false, 0}, {"MODEL", false, 12}, {"ROUND", true, 0}, {"LOSS", true, 0},
        {"VAL LOSS", true, 0}, {"TOK/S", true, 0},  {"PEERS", true, 0},   {"AGE", true, 0},
    };
    struct table table;
    table_open(&table, columns, sizeof columns / sizeof columns[0]);
    size_t i;
    json_t *run;
    json_array_foreach(json_object_get(answer, "runs"), i, run)
    {
        char text[TEXT_SIZE];
        const char *state = field_text(run, "state", "?");
        table_add(&table, TINT_BOLD, "%.8s", field_text(run, "id", ""));
        table_add(&table, state_tint(state), "%s", state);
        table_add(&table, TINT_NONE, "%s", field_text(run, "model", "?"));
        table_add(&table, TINT_NONE, "%.0f/%.0f", field_number(run, "round", 0), field_number(run, "rounds", 0));
        table_add(&table, TINT_NONE, "%s", text_loss(text, field_number(run, "loss", -1)));
        table_add(&table, TINT_NONE, "%s", text_loss(text, field_number(run, "val_loss", -1)));
        table_add(&table, TINT_NONE, "%s", text_count(text, field_number(run, "tokens_per_s", 0)));
        table_add(&table, TINT_NONE, "%.0f", field_number(run, "peers", 0));
        table_add(&table, TINT_NONE, "%s", text_seconds(text, field_number(run, "age_s", -1)));
    }
    size_t count = i;
    table_print(&table, &call->out);
    if (count == 0) output_note(&call->out, "No runs yet; 'mycel train --data FILE' starts one.");
    json_array_foreach(json_object_get(answer, "runs"), i, run)
    {
        char text[512];
        const json_t *wait = json_object_get(run, "waiting");
        if (!json_is_object(wait)) continue;
        client_describe_wait(text, sizeof text, wait);
        char lead[32];
        snprintf(lead, sizeof lead, "%.8s waits for ", field_text(run, "id", ""));
        if (!call->out.quiet) output_wrapped(stderr, 19, lead, text);
    }
    json_decref(answer);
    return status;
}

static void print_commits(const json_t *round, const struct output *out)
{
    static const struct table_column columns[] = {
        {"SLOT", true, 0},   {"PEER", false, 16}, {"ID", false, 0},      {"TOKENS", true, 0},
        {"WEIGHT", true, 0}, {"LOSS", true, 0},   {"UPDATE", false, 16},
    };
    const json_t *commits = json_object_get(round, "commits");
    if (json_array_size(commits) == 0) return;
    struct table table;
    table_open(&table, columns, sizeof columns / sizeof columns[0]);
    size_t i;
    json_t *commit;
    json_array_foreach(commits, i, commit)
    {
        char text[TEXT_SIZE];
        table_add(&table, TINT_NONE, "%.0f", field_number(commit, "slot", 0));
        table_add(&table, TINT_BOLD, "%s", field_text(commit, "peer", ""));
        table_add(&table, TINT_NONE, "%.8s", field_text(commit, "id", ""));
        table_add(&table, TINT_NONE, "%s", text_count(text, field_number(commit, "tokens", 0)));
        table_add(&table, TINT_NONE, "%.0f", field_number(commit, "weight", 0));
        table_add(&table, TINT_NONE, "%s", text_loss(text, field_number(commit, "loss", -1)));
        table_add(&table, TINT_NONE, "%.16s", field_text(commit, "update_root", ""));
    }
    printf("\n");
    table_print(&table, out);
}

static void print_one_round(const json_t *round, const struct output *out)
{
    char a[TEXT_SIZE], b[TEXT_SIZE];
    printf("%-9s %.0f, attempt %.0f, %.0f peers, %s\n", "round", field_number(round, "round", 0),
           field_number(round, "attempt", 0), field_number(round, "peers", 0),
           text_seconds(a, field_number(round, "seconds", -1)));
    printf("%-9s %s, held out %s\n", "loss", text_loss(a, field_number(round, "loss", -1)),
           text_loss(b, field_number(round, "val_loss", -1)));
    printf("%-9s %s\n", "params", field_text(round, "params_hash", "-"));
    printf("%-9s %s\n", "manifest", field_text(round, "manifest", "-"));
    print_commits(round, out);
}

static void print_slots(const json_t *run, const struct output *out)
{
    static const struct table_column columns[] = {
        {"SLOT", true, 0}, {"PEER", false, 16}, {"ID", false, 0}, {"STATE", false, 0}, {"MISSED", true, 0}};
    const json_t *slots = json_object_get(run, "slots");
    if (json_array_size(slots) == 0) return;
    struct table table;
    table_open(&table, columns, sizeof columns / sizeof columns[0]);
    size_t i;
    json_t *slot;
    json_array_foreach(slots, i, slot)
    {
        table_add(&table, TINT_NONE, "%.0f", field_number(slot, "slot", 0));
        table_add(&table, TINT_BOLD, "%s", field_text(slot, "peer", ""));
        table_add(&table, TINT_NONE, "%.8s", field_text(slot, "id", ""));
        table_add(&table, TINT_NONE, "%s%s", field_text(slot, "state", "?"),
                  field_true(slot, "fresh") ? ", fresh" : "");
        table_add(&table, TINT_NONE, "%.0f", field_number(slot, "absent", 0));
    }
    printf("\n");
    table_print(&table, out);
}

static void print_one_run(const json_t *run, const struct output *out)
{
    const char *state = field_text(run, "state", "?");
    char a[TEXT_SIZE], b[TEXT_SIZE];
    printf("%-9s %s\n", "run", field_text(run, "id", ""));
    printf("%-9s %s%s%s, round %.0f of %.0f, started %s ago\n", "state", output_tint(out, state_tint(state)), state,
           output_plain(out), field_number(run, "round", 0), field_number(run, "rounds", 0),
           text_seconds(a, field_number(run, "age_s", -1)));
    const json_t *wait = json_object_get(run, "waiting");
    char text[512];
    client_describe_wait(text, sizeof text, wait);
    if (json_is_object(wait)) output_wrapped(stdout, 10, "waits for ", text);
    printf("%-9s %s, %s parameters\n", "model", field_text(run, "model", "?"),
           text_count(a, field_number(run, "parameters", 0)));
    printf("%-9s %s\n", "data", field_text(run, "data", "-"));
    printf("%-9s %s, held out %s\n", "loss", text_loss(a, field_number(run, "loss", -1)),
           text_loss(b, field_number(run, "val_loss", -1)));
    const json_t *baselines = json_object_get(run, "baselines");
    if (json_is_object(baselines))
        printf("%-9s unigram %.2f, bigram %.2f, trigram %.2f\n", "counting", field_number(baselines, "unigram", -1),
               field_number(baselines, "bigram", -1), field_number(baselines, "trigram", -1));
    printf("%-9s %s seen, %s/s, %.0f peers, %s sent from here\n", "tokens",
           text_count(a, field_number(run, "tokens", 0)), text_count(b, field_number(run, "tokens_per_s", 0)),
           field_number(run, "peers", 0), text_bytes(text, field_number(run, "bytes_sent", 0)));
    printf("%-9s %s\n", "params", field_text(run, "params_hash", "-"));
    print_slots(run, out);
}

int command_runs_show(struct call *call)
{
    const struct args *args = &call->args;
    json_t *answer, *fields = json_pack("{s:s}", "run", args->words[0]);
    bool one_round = args_has(args, "round");
    if (one_round) json_object_set_new(fields, "round", json_integer((json_int_t)args_number(args, "round", 0)));
    int status = client_ask(call, "runs_show", fields, CLIENT_PATIENCE_MS, &answer);
    if (!answer) return status;
    if (call->out.json) {
        output_json(answer);
        return status;
    }
    if (one_round)
        print_one_round(answer, &call->out);
    else
        print_one_run(answer, &call->out);
    json_decref(answer);
    return status;
}

static void print_verdict(const json_t *answer, const struct output *out)
{
    bool equal = field_true(answer, "equal");
    printf("round %.0f, slot %.0f (%s): %s%s%s\n", field_number(answer, "round", 0), field_number(answer, "slot", 0),
           field_text(answer, "peer", "?"), output_tint(out, equal ? TINT_GOOD : TINT_BAD), equal ? "equal" : "DIFFERS",
           output_plain(out));
    printf("  committed  %s\n", field_text(answer, "update_root", "-"));
    printf("  replayed   %s\n", field_text(answer, "replayed_root", "-"));
    if (equal) return;
    printf("  first tensor that differs: %s\n", field_text(answer, "tensor", "?"));
    printf("    committed  %s\n    replayed   %s\n", field_text(answer, "tensor_hash", "-"),
           field_text(answer, "replayed_hash", "-"));
}

int command_runs_verify(struct call *call)
{
    const struct args *args = &call->args;
    json_t *fields = json_pack("{s:s}", "run", args->words[0]);
    static const char *const numbers[] = {"round", "slot"};
    for (size_t i = 0; i < 2; i++)
        if (args_has(args, numbers[i]))
            json_object_set_new(fields, numbers[i], json_integer((json_int_t)args_number(args, numbers[i], 0)));
    struct client c;
    client_catch_interrupts();
    int status = client_open(&c, call), final = 0;
    if (status) {
        json_decref(fields);
        return status;
    }
    status = client_send(&c, "runs_verify", fields);
    for (bool last = false; status == 0 && !last;) {
        json_t *answer;
        status = client_next(&c, -1, &answer, &last, &final);
        if (!answer) break;
        if (!call->out.json) client_make_safe(answer);
        if (!last)
            output_note(&call->out, "%s: %s", field_text(answer, "stage", ""), field_text(answer, "detail", ""));
        else if (call->out.json)
            output_json(json_incref(answer));
        else
            print_verdict(answer, &call->out);
        json_decref(answer);
    }
    client_close(&c);
    return status ? status : final;
}

int command_runs_watch(struct call *call)
{
    struct client c;
    client_catch_interrupts();
    int status = client_open(&c, call);
    if (status) return status;
    char run[65];
    status = client_send(&c, "attach", json_pack("{s:s}", "run", call->args.words[0]));
    if (status == 0) status = follow_run(&c, false, run);
    client_close(&c);
    return status;
}

static int steer(struct call *call, const char *verb)
{
    json_t *answer;
    int status = client_ask(call, verb, json_pack("{s:s}", "run", call->args.words[0]), CLIENT_PATIENCE_MS, &answer);
    if (!answer) return status;
    if (call->out.json) {
        output_json(answer);
        return status;
    }
    printf("%.8s  %s\n", field_text(answer, "id", ""), field_text(answer, "state", "?"));
    json_decref(answer);
    return status;
}

int command_runs_pause(struct call *call)
{
    return steer(call, "runs_pause");
}

int command_runs_resume(struct call *call)
{
    return steer(call, "runs_resume");
}

int command_runs_cancel(struct call *call)
{
    return steer(call, "runs_cancel");
}
