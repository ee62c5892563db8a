#include "tools/look/follow.h"

#include <string.h>

enum { HEADING_EVERY = 20 };

static void print_baselines(const json_t *baselines)
{
    if (!json_is_object(baselines)) return;
    printf("counting   unigram %.2f  bigram %.2f  trigram %.2f  (held-out loss to beat)\n",
           field_number(baselines, "unigram", -1), field_number(baselines, "bigram", -1),
           field_number(baselines, "trigram", -1));
    fflush(stdout);
}

static void print_plan(const struct output *out, const json_t *plan)
{
    char bytes[TEXT_SIZE], held[TEXT_SIZE], parameters[TEXT_SIZE], memory[TEXT_SIZE];
    printf("run        %s%.8s%s\n", output_tint(out, TINT_BOLD), field_text(plan, "run", ""), output_plain(out));
    printf("data       %.8s  %s to train on, %s held out\n", field_text(plan, "data", ""),
           text_bytes(bytes, field_number(plan, "bytes", 0)),
           text_bytes(held, field_number(plan, "held_out_bytes", 0)));
    printf("model      %s, %s parameters, %s of memory a peer\n", field_text(plan, "model", "?"),
           text_count(parameters, field_number(plan, "parameters", 0)),
           text_bytes(memory, field_number(plan, "memory_bytes", 0)));
    double peers = field_number(plan, "peers", 1);
    printf("plan       %.0f rounds of %.0f steps on %.0f peer%s\n", field_number(plan, "rounds", 0),
           field_number(plan, "inner_steps", 0), peers, peers == 1 ? "" : "s");
    print_baselines(json_object_get(plan, "baselines"));
    fflush(stdout);
}

static void print_heading(const struct output *out)
{
    printf("%s%6s  %7s  %8s  %8s  %7s  %5s  %9s  %7s%s\n", output_tint(out, TINT_DIM), "ROUND", "LOSS", "VAL LOSS",
           "TOKENS", "TOK/S", "PEERS", "SENT", "ETA", output_plain(out));
}

static void print_round(const struct output *out, const json_t *round)
{
    char loss[TEXT_SIZE], val_loss[TEXT_SIZE], tokens[TEXT_SIZE], rate[TEXT_SIZE], sent[TEXT_SIZE], eta[TEXT_SIZE];
    double val = field_number(round, "val_loss", -1);
    printf("%6.0f  %7s  %s%8s%s  %8s  %7s  %5.0f  %9s  %7s\n", field_number(round, "round", 0),
           text_loss(loss, field_number(round, "loss", -1)), output_tint(out, val >= 0 ? TINT_BOLD : TINT_NONE),
           text_loss(val_loss, val), output_plain(out), text_count(tokens, field_number(round, "tokens", 0)),
           text_count(rate, field_number(round, "tokens_per_s", 0)), field_number(round, "peers", 0),
           text_bytes(sent, field_number(round, "bytes_sent", 0)), text_seconds(eta, field_number(round, "eta_s", -1)));
    fflush(stdout);
}

static void print_end(const struct output *out, const json_t *end)
{
    const char *state = field_text(end, "state", "?");
    char loss[TEXT_SIZE];
    printf("%s%s%s after round %.0f, held-out loss %s, parameters %.16s\n",
           output_tint(out, strcmp(state, "done") == 0 ? TINT_GOOD : TINT_WARN), state, output_plain(out),
           field_number(end, "round", 0), text_loss(loss, field_number(end, "val_loss", -1)),
           field_text(end, "params_hash", "-"));
    fflush(stdout);
    if (strcmp(state, "done") == 0)
        output_note(out, "\nNext:\n  mycel generate --run %.8s --prompt 'To be'\n  mycel runs verify %.8s",
                    field_text(end, "run", ""), field_text(end, "run", ""));
}

static void remember_run(char run[65], const json_t *answer)
{
    const json_t *plan = json_object_get(answer, "plan");
    const char *id = field_text(json_is_object(plan) ? plan : answer, "run", NULL);
    if (id) snprintf(run, 65, "%s", id);
}

// `rows` counts the lines under the last heading.
static void print_answer(const struct output *out, const json_t *answer, bool last, bool detach, unsigned *rows)
{
    const json_t *plan = json_object_get(answer, "plan");
    if (json_is_object(plan))
        print_plan(out, plan);
    else if (last && detach) {
        output_note(out, "The run goes on; 'mycel runs watch %.8s' follows it.", field_text(answer, "run", ""));
        printf("%s\n", field_text(answer, "run", ""));
    } else if (last)
        print_end(out, answer);
    else if (json_object_get(answer, "loss")) {
        if ((*rows)++ % HEADING_EVERY == 0) print_heading(out);
        print_round(out, answer);
    } else if (json_object_get(answer, "baselines")) {
        print_baselines(json_object_get(answer, "baselines"));
        *rows = 0;
    }
}

int follow_run(struct client *c, bool detach, char run[65])
{
    const struct output *out = &c->call->out;
    int status = 0, final = 0;
    unsigned rows = 0;
    run[0] = '\0';
    for (bool last = false; status == 0 && !last;) {
        json_t *answer;
        status = client_next(c, -1, &answer, &last, &final);
        if (!answer) break;
        if (!out->json) client_make_safe(answer);
        remember_run(run, answer);
        // Detached, --json is one object: the run.
        if (!out->json)
            print_answer(out, answer, last, detach, &rows);
        else if (last || !detach)
            output_json(json_incref(answer));
        json_decref(answer);
    }
    if (status == core_error_exit(CORE_ERR_INTERRUPTED)) {
        if (run[0])
            output_note(out,
                        "\nThe run goes on without this window; 'mycel runs watch %.8s' follows it again,\n"
                        "'mycel runs cancel %.8s' ends it.",
                        run, run);
        else
            output_note(out, "\nInterrupted before the run began.");
    }
    return status ? status : final;
}
