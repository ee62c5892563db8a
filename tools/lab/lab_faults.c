// lab kill, stop, cont, split, heal: what goes wrong in a mesh, done to the lab's on purpose.
#include <signal.h>
#include <string.h>

#include "tools/lab/lab.h"
#include "tools/lab/lab_place.h"
#include "tools/verbs.h"

// "K" or "A..B", from 1 to `most`.
static bool read_peers(const char *text, unsigned most, unsigned *first, unsigned *last)
{
    char head[8];
    uint64_t a, b;
    size_t length = strcspn(text, ".");
    if (length >= sizeof head) return false;
    memcpy(head, text, length);
    head[length] = '\0';
    if (!args_read_number(head, &a)) return false;
    b = a;
    if (text[length] && (strncmp(text + length, "..", 2) != 0 || !args_read_number(text + length + 2, &b)))
        return false;
    *first = (unsigned)a;
    *last = (unsigned)b;
    return a > 0 && a <= b && b <= most;
}

// Sends `number` to the processes of the peers named; those that don't run are named, too.
static int signal_peers(struct call *call, int number)
{
    unsigned count = lab_count(call->home), first, last, absent = 0;
    for (size_t i = 0; i < call->args.word_count; i++) {
        const char *word = call->args.words[i];
        if (!read_peers(word, count, &first, &last)) {
            output_error(&call->out, "USAGE", "'%s' is no lab peer; there are %u, named as K or A..B", word, count);
            return core_error_exit(CORE_ERR_USAGE);
        }
    }
    json_t *done = json_array();
    for (size_t i = 0; i < call->args.word_count; i++) {
        if (!read_peers(call->args.words[i], count, &first, &last)) continue;
        for (unsigned k = first; k <= last; k++) {
            char home[HOME_PATH_SIZE];
            snprintf(home, sizeof home, "%.*s/lab/%u", HOME_PATH_SIZE - 32, call->home, k);
            int pid = home_holder(home);
            if (pid > 0 && kill(pid, number) == 0) {
                json_array_append_new(done, json_integer(k));
                continue;
            }
            absent++;
            if (!call->out.json) output_error(&call->out, "NOT_FOUND", "lab peer %u doesn't run", k);
        }
    }
    if (call->out.json)
        output_json(json_pack("{s:o}", "peers", done));
    else
        json_decref(done);
    return absent ? core_error_exit(CORE_ERR_PARTLY) : 0;
}

int command_lab_kill(struct call *call)
{
    return signal_peers(call, SIGKILL);
}

int command_lab_stop(struct call *call)
{
    return signal_peers(call, SIGSTOP);
}

int command_lab_cont(struct call *call)
{
    return signal_peers(call, SIGCONT);
}

static int split_or_heal(struct call *call, bool cut)
{
    struct lab_place place;
    struct hosts_ways ways;
    char why[HOSTS_WHY_SIZE] = "", half[16];
    lab_place_read(&place, call->home);
    enum core_err err = CORE_ERR_OK;
    if (place.hosts.count < 2) {
        snprintf(why, sizeof why,
                 "the lab doesn't lie on several hosts; 'mycel lab up N --hosts H' makes one that does");
        err = CORE_ERR_REFUSED;
    }
    const char *which = call->args.word_count ? call->args.words[0] : NULL;
    if (!which && cut) {
        snprintf(half, sizeof half, "1..%u", place.hosts.count / 2);
        which = half;
    }
    if (!err) err = hosts_ways_parse(&ways, which, place.hosts.count, why);
    if (!err) err = hosts_cut(place.tag, &ways, cut, why);
    return hosts_failed(call, err, why);
}

int command_lab_split(struct call *call)
{
    return split_or_heal(call, true);
}

int command_lab_heal(struct call *call)
{
    return split_or_heal(call, false);
}
