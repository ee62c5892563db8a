#include "tools/doctor/bundle_names.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "core/sign.h"

enum { WORD_SIZE = 256 };

// ---- one peer, one place ----

// A peer goes by its name and its id, either may be NULL or "".
static void learn_peer(struct stand_ins *s, const char *id, const char *name)
{
    if (!name) name = "";
    if (!id) id = "";
    unsigned number = stand_ins_number(s, STAND_IN_PEER, id);
    if (!number) number = stand_ins_number(s, STAND_IN_PEER, name);
    if (!number && (id[0] || name[0])) number = stand_ins_next(s, STAND_IN_PEER);
    stand_ins_add(s, STAND_IN_PEER, number, id);
    stand_ins_add(s, STAND_IN_PEER, number, name);
}

// HOST:PORT, [V6]:PORT or a host alone. What is an address by its form needs no learning.
static void learn_address(struct stand_ins *s, const char *text)
{
    char host[WORD_SIZE];
    snprintf(host, sizeof host, "%s", text);
    char *colon = strrchr(host, ':');
    if (colon) *colon = '\0';
    if (host[0] == '[' || strspn(host, "0123456789.:") == strlen(host) || strcmp(host, "localhost") == 0) return;
    stand_ins_add_new(s, STAND_IN_ADDRESS, host);
}

// What a field of that name says of anybody.
static void learn_field(struct stand_ins *s, const char *key, const char *value)
{
    static const char *const addresses[] = {"address", "addresses", "from",      "first",  "external",
                                            "gateway", "listen",    "advertise", "sponsor"};
    if (strcmp(key, "site") == 0) stand_ins_add_new(s, STAND_IN_SITE, value);
    if (strcmp(key, "mesh") == 0 || strcmp(key, "mesh_name") == 0) stand_ins_add(s, STAND_IN_MESH, 1, value);
    if (strcmp(key, "home") == 0 && value[0] == '/') stand_ins_add(s, STAND_IN_HOME, 0, value);
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        if (strcmp(key, addresses[i]) == 0) learn_address(s, value);
}

// ---- the machine ----

void bundle_names_of_machine(struct stand_ins *s, const char *home)
{
    // The list of users may lie on a server that does not answer.
    static const char *const users[] = {"HOME", "USER", "LOGNAME", "SUDO_USER"};
    struct utsname u;
    stand_ins_add(s, STAND_IN_HOME, 0, home);
    for (size_t i = 0; i < sizeof users / sizeof *users; i++) {
        const char *value = getenv(users[i]);
        if (value && strcmp(value, "/") != 0 && strcmp(value, "root") != 0) stand_ins_add(s, STAND_IN_USER, 0, value);
    }
    if (uname(&u) || strcmp(u.nodename, "localhost") == 0) return;
    stand_ins_add(s, STAND_IN_HOST, 0, u.nodename);
    u.nodename[strcspn(u.nodename, ".")] = '\0';  // without its domain
    stand_ins_add(s, STAND_IN_HOST, 0, u.nodename);
}

// ---- answers ----

void bundle_names_of_json(struct stand_ins *s, const json_t *json)
{
    size_t i;
    const char *key, *id = json_string_value(json_object_get(json, "id"));
    json_t *item;
    if (id && strlen(id) == CORE_ID_HEX - 1 && json_object_get(json, "name"))
        learn_peer(s, id, json_string_value(json_object_get(json, "name")));
    if (json_is_string(json_object_get(json, "cause")))  // a check's or a wait's peer
        learn_peer(s, NULL, json_string_value(json_object_get(json, "peer")));
    json_array_foreach((json_t *)json, i, item) bundle_names_of_json(s, item);
    json_object_foreach((json_t *)json, key, item)
    {
        size_t k;
        json_t *one;
        if (json_is_string(item)) learn_field(s, key, json_string_value(item));
        json_array_foreach(item, k, one) if (json_is_string(one)) learn_field(s, key, json_string_value(one));
        bundle_names_of_json(s, item);
    }
}

// ---- the log ----

// The events whose `name` is a peer's; others name devices.
static bool of_peers(const char *event)
{
    static const char *const names[] = {"node.", "admission.", "link.", "lan."};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(event, names[i], strlen(names[i])) == 0) return true;
    return false;
}

static void learn_json_line(struct stand_ins *s, const char *line)
{
    json_t *o = json_loads(line, 0, NULL), *item;
    const char *event = json_string_value(json_object_get(o, "event")), *key;
    const char *id = json_string_value(json_object_get(o, "peer"));
    if (!id) id = json_string_value(json_object_get(o, "id"));
    if (event && of_peers(event)) {
        json_object_foreach(o, key, item) if (json_is_string(item)) learn_field(s, key, json_string_value(item));
        learn_peer(s, id, json_string_value(json_object_get(o, "name")));
    }
    json_decref(o);
}

// "TIME EVENT KEY=VALUE KEY=VALUE"
static void learn_text_line(struct stand_ins *s, char *line)
{
    char *rest = line, *id = NULL, *name = NULL;
    (void)strsep(&rest, " ");
    const char *event = strsep(&rest, " ");
    if (!event || !of_peers(event)) return;
    for (char *word; (word = strsep(&rest, " "));) {
        char *value = strchr(word, '=');
        if (!value) continue;
        *value++ = '\0';
        if (strcmp(word, "peer") == 0 || strcmp(word, "id") == 0) id = value;
        if (strcmp(word, "name") == 0) name = value;
        learn_field(s, word, value);
    }
    learn_peer(s, id, name);
}

void bundle_names_of_log(struct stand_ins *s, const char *log)
{
    char *copy = strdup(log), *rest = copy, *line;
    while (copy && (line = strsep(&rest, "\n"))) {
        if (line[0] == '{')
            learn_json_line(s, line);
        else
            learn_text_line(s, line);
    }
    free(copy);
}
