#include "node/doctor/checks.h"

#include <stdarg.h>
#include <string.h>

#include "core/check.h"

static const char *const check_names[] = {
#define CHECK_NAME(name, text) text,
    CHECKS(CHECK_NAME)
#undef CHECK_NAME
};

static const struct {
    const char *name;
    enum check check;
    enum checks_state state;
    const char *cause, *remedy;
} troubles[] = {[TROUBLE_NONE] = {.name = ""},
#define TROUBLE_ROW(NAME, text, in, level, why, what) \
    [TROUBLE_##NAME] = {.name = text, .check = CHECK_##in, .state = CHECKS_##level, .cause = why, .remedy = what},
                TROUBLES(TROUBLE_ROW)
#undef TROUBLE_ROW
};

const char *check_name(enum check check)
{
    check(check < CHECK_COUNT);
    return check_names[check];
}

const char *checks_state_name(enum checks_state s)
{
    static const char *const names[] = {"pass", "skip", "warn", "fail"};
    check(s <= CHECKS_FAIL);
    return names[s];
}

const char *trouble_name(enum trouble trouble)
{
    check(trouble < TROUBLE_COUNT);
    return troubles[trouble].name;
}

enum checks_state trouble_state(enum trouble trouble)
{
    check(trouble < TROUBLE_COUNT);
    return troubles[trouble].state;
}

// What stands for the word of `size` bytes at `word`; NULL where the pairs don't have it.
static const char *value_of(const char *word, size_t size, va_list pairs)
{
    va_list at;
    const char *found = NULL;
    va_copy(at, pairs);
    for (const char *key; !found && (key = va_arg(at, const char *));) {
        const char *value = va_arg(at, const char *);
        if (strlen(key) == size && memcmp(key, word, size) == 0) found = value;
    }
    va_end(at);
    return found;
}

// Copies `from` with every {word} replaced; what doesn't fit is cut.
static void fill_in(char out[CHECKS_TEXT_MAX], const char *from, va_list pairs)
{
    size_t used = 0;
    while (*from && used + 1 < CHECKS_TEXT_MAX) {
        const char *end = *from == '{' ? strchr(from, '}') : NULL;
        if (!end) {
            out[used++] = *from++;
            continue;
        }
        const char *value = value_of(from + 1, (size_t)(end - from) - 1, pairs);
        check(value);  // a word of the table that its finder forgot
        size_t room = CHECKS_TEXT_MAX - 1 - used, size = strlen(value);
        if (size > room) size = room;
        memcpy(out + used, value, size);
        used += size;
        from = end + 1;
    }
    out[used] = 0;
}

static struct checks_line *new_line(struct checks *c)
{
    if (c->count == CHECKS_LINES_MAX) {
        c->left_out++;
        return NULL;
    }
    struct checks_line *line = &c->lines[c->count++];
    *line = (struct checks_line){0};
    return line;
}

void checks_add(struct checks *c, enum trouble trouble, const char *peer, ...)
{
    check(trouble > TROUBLE_NONE && trouble < TROUBLE_COUNT);
    struct checks_line *line = new_line(c);
    if (!line) return;
    line->check = troubles[trouble].check;
    line->state = troubles[trouble].state;
    line->trouble = trouble;
    snprintf(line->peer, sizeof line->peer, "%s", peer ? peer : "");
    va_list pairs;
    va_start(pairs, peer);
    fill_in(line->cause, troubles[trouble].cause, pairs);
    fill_in(line->remedy, troubles[trouble].remedy, pairs);
    va_end(pairs);
}

static void add_text(struct checks *c, enum check check, enum checks_state state, const char *format, va_list args)
{
    struct checks_line *line = new_line(c);
    if (!line) return;
    line->check = check;
    line->state = state;
    vsnprintf(line->cause, sizeof line->cause, format, args);
}

void checks_pass(struct checks *c, enum check check, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_text(c, check, CHECKS_PASS, format, args);
    va_end(args);
}

void checks_skip(struct checks *c, enum check check, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_text(c, check, CHECKS_SKIP, format, args);
    va_end(args);
}

bool checks_has(const struct checks *c, enum check check)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->lines[i].check == check) return true;
    return false;
}

enum checks_state checks_worst(const struct checks *c)
{
    enum checks_state worst = CHECKS_PASS;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->lines[i].state > worst) worst = c->lines[i].state;
    return worst;
}

json_t *checks_line_json(const struct checks_line *line)
{
    json_t *o = json_object();
    bool trouble = line->trouble != TROUBLE_NONE;
    json_object_set_new(o, "check", json_string(check_name(line->check)));
    json_object_set_new(o, "state", json_string(checks_state_name(line->state)));
    json_object_set_new(o, "trouble", trouble ? json_string(trouble_name(line->trouble)) : json_null());
    json_object_set_new(o, "peer", json_string(line->peer));
    json_object_set_new(o, "cause", json_string(line->cause));
    json_object_set_new(o, "remedy", trouble ? json_string(line->remedy) : json_null());
    return o;
}

// A bar would end a cell of the table.
static void print_cell(FILE *file, const char *text)
{
    fputs("| ", file);
    for (; *text; text++) {
        if (*text == '|') fputc('\\', file);
        fputc(*text, file);
    }
    fputc(' ', file);
}

void checks_markdown(FILE *file)
{
    fputs("# Troubles, and what to do\n\n"
          "`mycel doctor` looks for these on a machine with or without a running peer; `mycel status` tells those that "
          "the\n"
          "running peer sees by itself. `{word}` stands for what was found. *fail*: something does not work (`doctor`\n"
          "exits 1); *warn*: it works for now. `mycel doctor --markdown` prints this page.\n\n"
          "| trouble | check | state | what doctor says | what to do |\n|---|---|---|---|---|\n",
          file);
    for (int t = TROUBLE_NONE + 1; t < TROUBLE_COUNT; t++) {
        fprintf(file, "| `%s` | %s | %s ", troubles[t].name, check_names[troubles[t].check],
                checks_state_name(troubles[t].state));
        print_cell(file, troubles[t].cause);
        print_cell(file, troubles[t].remedy);
        fputs("|\n", file);
    }
    fputs("\n## To report a trouble\n\n"
          "`mycel doctor --bundle` writes `mycel-bundle-TIME.tar` (or the file that is named) with what doctor finds, "
          "status,\n"
          "peers, runs, hw, the settings, versions and the end of the log. It asks the daemon for a second a part and "
          "makes do\n"
          "without it. No key, token or certificate is in it; names, ids, addresses, hashes and paths became stand-ins "
          "such as\n"
          "`peer-1`, the same one for the same thing throughout. `tar xOf FILE` shows all of it: read it, then attach "
          "it.\n",
          file);
}
