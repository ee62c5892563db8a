// generate: text as it is written.
#include <string.h>

#include "tools/client.h"
#include "tools/verbs.h"

// The newest run's id, for a call without --run. 0, or the exit status with the reason printed.
static int newest_run(struct call *call, char run[65])
{
    json_t *answer;
    int status = client_ask(call, "runs", NULL, CLIENT_PATIENCE_MS, &answer);
    if (!answer) return status;
    const json_t *runs = json_object_get(answer, "runs"), *best = NULL;
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *candidate = json_array_get(runs, i);
        if (!best || field_number(candidate, "age_s", 0) <= field_number(best, "age_s", 0)) best = candidate;
    }
    if (best)
        snprintf(run, 65, "%s", field_text(best, "id", ""));
    else
        output_error(&call->out, "NOT_FOUND", "there is no run to generate from; 'mycel train --data FILE' starts one");
    json_decref(answer);
    return best ? 0 : core_error_exit(CORE_ERR_NOT_FOUND);
}

int command_generate(struct call *call)
{
    const struct args *args = &call->args;
    char run[65] = "";
    int status = 0, final = 0;
    client_catch_interrupts();
    if (args_has(args, "run"))
        snprintf(run, sizeof run, "%s", args_text(args, "run", ""));
    else if ((status = newest_run(call, run)) != 0)
        return status;
    const char *prompt = args_text(args, "prompt", "");
    json_t *fields =
        json_pack("{s:s,s:I,s:I,s:f}", "run", run, "max_tokens", (json_int_t)args_number(args, "max-tokens", 256),
                  "seed", (json_int_t)args_number(args, "seed", 1), "temperature", args_real(args, "temperature", 0.8));
    json_t *text = json_string(prompt);
    if (!text) {
        json_decref(fields);
        output_error(&call->out, "MALFORMED", "the prompt isn't UTF-8 text");
        return core_error_exit(CORE_ERR_MALFORMED);
    }
    json_object_set_new(fields, "prompt", text);
    struct client c;
    if ((status = client_open(&c, call)) != 0) {
        json_decref(fields);
        return status;
    }
    status = client_send(&c, "generate", fields);
    bool begun = false;  // the prompt comes with the first of the text, so that a refusal stands alone
    for (bool last = false; status == 0 && !last;) {
        json_t *answer;
        status = client_next(&c, -1, &answer, &last, &final);
        if (!answer) break;
        if (call->out.json)
            output_json(json_incref(answer));
        else
            printf("%s%s", begun ? "" : prompt, field_text(answer, "text", ""));
        begun = true;
        fflush(stdout);
        if (last && !call->out.json) {
            char rate[TEXT_SIZE];
            putchar('\n');
            fflush(stdout);
            if (call->out.verbose)
                output_note(&call->out, "round %.0f, %s tokens/s", field_number(answer, "round", 0),
                            text_count(rate, field_number(answer, "tokens_per_s", 0)));
        }
        json_decref(answer);
    }
    client_close(&c);
    return status ? status : final;
}
