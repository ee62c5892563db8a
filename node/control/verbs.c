// The table of verbs, and what they share.
#include "node/control/verbs.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const struct {
    const char *name;
    void (*handle)(struct node *n, struct session *s);
} verbs[] = {
    {"status", verb_status},
    {"peers", verb_peers},
    {"ping", verb_ping},
    {"map", verb_map},
    {"trace", verb_trace},
    {"invite", verb_invite},
    {"train", verb_train},
    {"attach", verb_attach},
    {"runs", verb_runs},
    {"runs_show", verb_runs_show},
    {"runs_verify", verb_runs_verify},
    {"runs_pause", verb_runs_pause},
    {"runs_resume", verb_runs_resume},
    {"runs_cancel", verb_runs_cancel},
    {"generate", verb_generate},
    {"hw", verb_hw},
    {"doctor", verb_doctor},
    {"leave", verb_leave},
    {"down", verb_down},
};

void node_handle_request(void *context, struct session *s, const char *verb)
{
    struct node *n = context;
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(verbs[i].name, verb)) continue;
        verbs[i].handle(n, s);
        return;
    }
    session_fail(s, CORE_ERR_USAGE, "update the command line or the daemon", "the daemon knows no verb '%s'", verb);
}

json_t *json_hash(const struct core_hash *h)
{
    char hex[2 * CORE_HASH_SIZE + 1];
    hex_encode(hex, h->bytes, CORE_HASH_SIZE);
    return json_string(hex);
}

json_t *json_id(const struct core_id *id)
{
    char hex[CORE_ID_HEX];
    hex_encode(hex, id->bytes, CORE_ID_SIZE);
    return json_string(hex);
}

json_t *json_time(uint64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm parts;
    char text[32];
    if (!gmtime_r(&t, &parts)) return json_null();
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return json_string(text);
}

json_t *json_number(double value)
{
    return __builtin_isfinite(value) ? json_real(value) : json_null();
}

const char *member_name(struct node *n, const struct core_id *id, char out[64])
{
    struct gossip_member m;
    if (gossip_member_find(peer_gossip(n->peer), id, &m) && m.name.size > 0 && m.name.size < 64) {
        memcpy(out, m.name.data, m.name.size);
        out[m.name.size] = 0;
    } else {
        hex_encode(out, id->bytes, 4);
    }
    return out;
}

bool member_resolve(struct node *n, struct session *s, const char *text, struct core_id *out)
{
    const struct gossip *g = peer_gossip(n->peer);
    uint32_t found = 0;
    size_t size = text ? strlen(text) : 0;
    for (int pass = 0; pass < 2 && !found && size; pass++) {
        for (uint32_t i = 0; i < gossip_member_count(g); i++) {
            struct gossip_member m;
            gossip_member_at(g, i, &m);
            char name[64], hex[CORE_ID_HEX];
            member_name(n, &m.id, name);
            hex_encode(hex, m.id.bytes, CORE_ID_SIZE);
            bool match = pass == 0 ? strcmp(name, text) == 0 || strcasecmp(hex, text) == 0
                                   : strncmp(name, text, size) == 0 || strncasecmp(hex, text, size) == 0;
            if (!match) continue;
            found++;
            *out = m.id;
        }
    }
    if (found == 1) return true;
    if (found)
        session_fail(s, CORE_ERR_USAGE, "give more of its name or id", "%u peers begin with '%s'", found, text);
    else
        session_fail(s, CORE_ERR_NOT_FOUND, "`mycel peers` lists them", "no peer is called '%s'", text ? text : "");
    return false;
}

bool run_resolve(struct node *n, struct session *s, struct run_data **run, struct run_status *status)
{
    const char *text = session_text(s, "run");
    size_t size = text ? strlen(text) : 0;
    uint32_t found = 0, count = peer_run_count(n->peer);
    for (uint32_t i = 0; i < count; i++) {
        struct run_status one;
        char hex[2 * CORE_HASH_SIZE + 1];
        peer_run_at(n->peer, i, &one);
        hex_encode(hex, one.run.bytes, CORE_HASH_SIZE);
        struct run_data *data = runs_find(&n->runs, &one.run);
        if (!data || !data->has_spec || (size && strncasecmp(hex, text, size))) continue;
        found++;
        *status = one;
        *run = data;
    }
    if (found == 1) return true;
    if (found && !size)
        session_fail(s, CORE_ERR_USAGE, "name one: `mycel runs` lists them", "%u runs are known", found);
    else if (found)
        session_fail(s, CORE_ERR_USAGE, "give more of its id", "%u runs begin with '%s'", found, text);
    else
        session_fail(s, CORE_ERR_NOT_FOUND, "`mycel runs` lists them",
                     size ? "no run begins with '%s'" : "no run is known%s", size ? text : "");
    return false;
}
