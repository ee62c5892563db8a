#include "tools/args.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NEAREST_WORD_MAX = 31, CANDIDATES_MAX = 64 };

enum core_err args_refuse(char error[ARGS_ERROR_SIZE], const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(error, ARGS_ERROR_SIZE, format, list);
    va_end(list);
    return CORE_ERR_USAGE;
}

bool args_read_number(const char *text, uint64_t *out)
{
    if (text[0] < '0' || text[0] > '9') return false;
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0') return false;
    *out = value;
    return true;
}

bool args_read_real(const char *text, double *out)
{
    if ((text[0] < '0' || text[0] > '9') && text[0] != '.') return false;
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value)) return false;
    *out = value;
    return true;
}

bool args_read_duration(const char *text, uint64_t *seconds)
{
    char digits[21];
    size_t length = strspn(text, "0123456789");
    if (length == 0 || length >= sizeof digits) return false;
    memcpy(digits, text, length);
    digits[length] = '\0';
    uint64_t value;
    if (!args_read_number(digits, &value)) return false;
    const char *unit = text + length;
    uint64_t scale;
    if (*unit == '\0' || strcmp(unit, "s") == 0)
        scale = 1;
    else if (strcmp(unit, "m") == 0)
        scale = 60;
    else if (strcmp(unit, "h") == 0)
        scale = 3600;
    else if (strcmp(unit, "d") == 0)
        scale = 86400;
    else
        return false;
    if (value > UINT32_MAX / scale) return false;
    *seconds = value * scale;
    return true;
}

// A number with a unit out of `names` (the last NULL), times the unit's scale, at most `most`.
static bool read_scaled(const char *text, const char *const *names, const double *scales, double most, uint64_t *out)
{
    char number[24];
    size_t length = strspn(text, "0123456789.");
    if (length == 0 || length >= sizeof number) return false;
    memcpy(number, text, length);
    number[length] = '\0';
    double value;
    if (!args_read_real(number, &value)) return false;
    for (size_t i = 0; names[i]; i++) {
        if (strcmp(text + length, names[i]) != 0) continue;
        value = value * scales[i] + 0.5;
        if (value > most + 0.5) return false;
        *out = (uint64_t)value;
        return true;
    }
    return false;
}

bool args_read_rate(const char *text, uint64_t *bits_per_second)
{
    static const char *const names[] = {"bit", "kbit", "mbit", "gbit", NULL};
    static const double scales[] = {1, 1e3, 1e6, 1e9};
    return read_scaled(text, names, scales, 1e12, bits_per_second) && *bits_per_second > 0;
}

bool args_read_delay(const char *text, uint64_t *us)
{
    static const char *const names[] = {"us", "ms", "s", NULL};
    static const double scales[] = {1, 1e3, 1e6};
    return read_scaled(text, names, scales, 60e6, us);
}

bool args_read_percent(const char *text, uint64_t *millionth)
{
    static const char *const names[] = {"%", "", NULL};
    static const double scales[] = {1e4, 1e4};
    return read_scaled(text, names, scales, 1e6, millionth);
}

bool args_read_size(const char *text, uint64_t *bytes)
{
    static const char *const names[] = {"B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB", NULL};
    static const double scales[] = {1, 1e3, 1e6, 1e9, 1e12, 0x1p10, 0x1p20, 0x1p30, 0x1p40};
    return read_scaled(text, names, scales, 0x1p62, bytes) && *bytes > 0;
}

bool args_read_share(const char *text, uint64_t *percent)
{
    char digits[8];
    size_t length = strspn(text, "0123456789");
    if (length == 0 || length >= sizeof digits || (text[length] && strcmp(text + length, "%") != 0)) return false;
    memcpy(digits, text, length);
    digits[length] = '\0';
    return args_read_number(digits, percent) && *percent >= 1 && *percent <= 100;
}

bool args_read_address(const char *text, unsigned *port)
{
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text) return false;
    if (text[0] == '[') {
        if (colon[-1] != ']' || colon - text < 4) return false;
    } else if (memchr(text, ':', (size_t)(colon - text))) {
        return false;  // an IPv6 address without brackets
    }
    uint64_t value;
    if (!args_read_number(colon + 1, &value) || value > 65535) return false;
    *port = (unsigned)value;
    return true;
}

// Levenshtein's distance, one row at a time.
static size_t edits(const char *a, const char *b)
{
    size_t row[NEAREST_WORD_MAX + 1];
    size_t n = strlen(b);
    if (n > NEAREST_WORD_MAX) return SIZE_MAX;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t add = row[j - 1] + 1, drop = row[j] + 1;
            row[j] = change < add ? change : add;
            if (drop < row[j]) row[j] = drop;
        }
    }
    return row[n];
}

const char *args_nearest(const char *word, const char *const *candidates, size_t count)
{
    const char *best = NULL;
    size_t best_edits = strlen(word) / 3 + 1;  // further away than this is no typing mistake
    size_t length = strlen(word);
    for (size_t i = 0; i < count; i++) {
        size_t distance = edits(word, candidates[i]);
        bool begins = length >= 2 && strncmp(word, candidates[i], length) == 0;
        if (begins && distance > 1) distance = 1;
        if (distance > best_edits || (best && distance == best_edits)) continue;
        best = candidates[i];
        best_edits = distance;
    }
    return best;
}

static const struct flag *find_flag(const struct command_table *table, const struct command *command, const char *name,
                                    size_t length, char letter)
{
    for (size_t i = 0; i < command->flag_count + table->common_count; i++) {
        const struct flag *flag =
            i < command->flag_count ? &command->flags[i] : &table->common[i - command->flag_count];
        if (letter ? flag->letter == letter : (strlen(flag->name) == length && memcmp(flag->name, name, length) == 0))
            return flag;
    }
    return NULL;
}

const struct flag *args_flag(const struct command_table *table, const struct command *command, const char *name)
{
    return find_flag(table, command, name, strlen(name), 0);
}

static const char *command_text(const struct command *command, char *out, size_t size)
{
    snprintf(out, size, "%s%s%s", command->verb, command->sub ? " " : "", command->sub ? command->sub : "");
    return out;
}

static enum core_err unknown_flag(struct args *args, const struct command_table *table, const char *given)
{
    const char *names[CANDIDATES_MAX];
    size_t count = 0;
    const struct command *command = args->command;
    for (size_t i = 0; i < command->flag_count && count < CANDIDATES_MAX; i++) names[count++] = command->flags[i].name;
    for (size_t i = 0; i < table->common_count && count < CANDIDATES_MAX; i++) names[count++] = table->common[i].name;
    char bare[NEAREST_WORD_MAX + 1], text[48];
    snprintf(bare, sizeof bare, "%.*s", (int)strcspn(given + strspn(given, "-"), "="), given + strspn(given, "-"));
    const char *near = strlen(bare) > 1 ? args_nearest(bare, names, count) : NULL;
    command_text(command, text, sizeof text);
    if (near) return args_refuse(args->error, "'%s' takes no flag %.60s; did you mean --%s?", text, given, near);
    const bool none = strcmp(text, "mycel") == 0;  // no command stands before it
    return args_refuse(args->error, "'%s' takes no flag %.60s; 'mycel help%s%s' lists its flags", text, given,
                       none ? "" : " ", none ? "" : text);
}

static bool choice_allowed(const char *choices, const char *value)
{
    size_t length = strlen(value);
    for (const char *at = choices; length > 0;) {
        size_t span = strcspn(at, "|");
        if (span == length && memcmp(at, value, length) == 0) return true;
        if (at[span] == '\0') return false;
        at += span + 1;
    }
    return false;
}

enum core_err args_check_value(char error[ARGS_ERROR_SIZE], const char *shown, const struct flag *flag,
                               const char *value)
{
    uint64_t number;
    double real;
    unsigned port;
    switch (flag->kind) {
    case FLAG_SWITCH: return CORE_ERR_OK;
    case FLAG_TEXT:
        if (value[0] != '\0') return CORE_ERR_OK;
        return args_refuse(error, "%s is empty; give it %s", shown, flag->value);
    case FLAG_COUNT:
        if (args_read_number(value, &number) && number > 0) return CORE_ERR_OK;
        return args_refuse(error, "%s %.60s is not a whole number from 1", shown, value);
    case FLAG_NUMBER:
        if (args_read_number(value, &number)) return CORE_ERR_OK;
        return args_refuse(error, "%s %.60s is not a whole number", shown, value);
    case FLAG_REAL:
        if (args_read_real(value, &real)) return CORE_ERR_OK;
        return args_refuse(error, "%s %.60s is not a number from 0", shown, value);
    case FLAG_DURATION:
        if (args_read_duration(value, &number)) return CORE_ERR_OK;
        return args_refuse(error, "%s %.60s is not a duration; write it as 90s, 5m, 24h or 7d", shown, value);
    case FLAG_ADDRESS:
        if (args_read_address(value, &port)) return CORE_ERR_OK;
        return args_refuse(error, "%s %.60s is not HOST:PORT; write it as 0.0.0.0:6173 or [::]:6173", shown, value);
    case FLAG_RATE:
        if (args_read_rate(value, &number)) return CORE_ERR_OK;
        return args_refuse(error, "%s %.60s is not a rate; write it as 100mbit, 1gbit or 64kbit", shown, value);
    case FLAG_DELAY:
        if (args_read_delay(value, &number)) return CORE_ERR_OK;
        return args_refuse(error, "%s %.60s is not a delay; write it as 20ms, 500us or 1s", shown, value);
    case FLAG_PERCENT:
        if (args_read_percent(value, &number)) return CORE_ERR_OK;
        return args_refuse(error, "%s %.60s is not from 0%% to 100%%; write it as 1%% or 0.5%%", shown, value);
    case FLAG_SIZE:
        if (args_read_size(value, &number)) return CORE_ERR_OK;
        return args_refuse(error, "%s %.60s is no size above 0; write it as 4GB, 512MB or 2GiB", shown, value);
    case FLAG_SHARE:
        if (args_read_share(value, &number)) return CORE_ERR_OK;
        return args_refuse(error, "%s %.60s is not a whole number of percent, 1 to 100", shown, value);
    case FLAG_CHOICE:
        if (choice_allowed(flag->value, value)) return CORE_ERR_OK;
        return args_refuse(error, "%s %.60s is not one of %s", shown, value, flag->value);
    }
    return CORE_ERR_FAILED;
}

enum core_err args_add(struct args *args, const struct flag *flag, const char *value)
{
    if (args->set_count == ARGS_SET_MAX) return CORE_ERR_TOO_LARGE;
    args->set[args->set_count].flag = flag;
    args->set[args->set_count++].value = value;
    return CORE_ERR_OK;
}

static enum core_err set_flag(struct args *args, const struct flag *flag, const char *value)
{
    if (strcmp(flag->name, "help") == 0) {
        args->help = true;
        return CORE_ERR_OK;
    }
    if (strcmp(flag->name, "version") == 0) {
        args->version = true;
        return CORE_ERR_OK;
    }
    if (args->set_count == ARGS_SET_MAX) return args_refuse(args->error, "more than %d flags", ARGS_SET_MAX);
    if (!flag->repeat && flag->kind != FLAG_SWITCH && args_has(args, flag->name))
        return args_refuse(args->error, "--%s is given twice; give it once", flag->name);
    char shown[NEAREST_WORD_MAX + 3];
    snprintf(shown, sizeof shown, "--%s", flag->name);
    enum core_err err = args_check_value(args->error, shown, flag, value);
    return err ? err : args_add(args, flag, value);
}

// -qv is -q -v.
static enum core_err set_switches(struct args *args, const struct command_table *table, const char *given)
{
    enum core_err err = CORE_ERR_OK;
    for (const char *letter = given + 1; *letter != '\0' && !err; letter++) {
        const struct flag *flag = find_flag(table, args->command, NULL, 0, *letter);
        if (!flag || flag->kind != FLAG_SWITCH) return unknown_flag(args, table, given);
        err = set_flag(args, flag, "");
    }
    return err;
}

// One argument that begins with '-'. `*i` moves past a value taken from the next argument.
static enum core_err parse_flag(struct args *args, const struct command_table *table, int argc, char **argv, int *i)
{
    const char *given = argv[*i];
    bool is_long = given[1] == '-';
    const char *name = is_long ? given + 2 : given + 1;
    size_t length = is_long ? strcspn(name, "=") : 1;
    const struct flag *flag = find_flag(table, args->command, name, length, is_long ? 0 : name[0]);
    if (!flag) return unknown_flag(args, table, given);
    const char *inside = name[length] == '=' && is_long ? name + length + 1 : NULL;
    if (!is_long && name[1] != '\0') inside = name + 1;  // -c5
    if (flag->kind == FLAG_SWITCH && !is_long) return set_switches(args, table, given);
    if (flag->kind == FLAG_SWITCH) {
        if (inside) return args_refuse(args->error, "--%s takes no value, but stands here as %.60s", flag->name, given);
        return set_flag(args, flag, "");
    }
    if (inside) return set_flag(args, flag, inside);
    if (*i + 1 >= argc)
        return args_refuse(args->error, "--%s needs a value: --%s %s", flag->name, flag->name, flag->value);
    return set_flag(args, flag, argv[++*i]);
}

static const struct command *find_command(const struct command_table *table, const char *verb, const char *sub)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct command *command = &table->commands[i];
        if (strcmp(command->verb, verb) != 0) continue;
        if (sub ? command->sub && strcmp(command->sub, sub) == 0 : command->sub == NULL) return command;
    }
    return NULL;
}

static enum core_err unknown_verb(struct args *args, const struct command_table *table, const char *verb,
                                  const char *sub)
{
    const char *names[CANDIDATES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < table->count && count < CANDIDATES_MAX; i++) {
        const struct command *command = &table->commands[i];
        if (sub ? strcmp(command->verb, verb) == 0 && command->sub : command->sub == NULL)
            names[count++] = sub ? command->sub : command->verb;
    }
    const char *near = args_nearest(sub ? sub : verb, names, count);
    const char *before = sub ? verb : "", *gap = sub ? " " : "", *word = sub ? sub : verb;
    if (near)
        return args_refuse(args->error, "there is no command '%s%s%.60s'; did you mean 'mycel %s%s%s'?", before, gap,
                           word, before, gap, near);
    return args_refuse(args->error, "there is no command '%s%s%.60s'; 'mycel help%s%s' lists what there is", before,
                       gap, word, gap, before);
}

static bool has_subs(const struct command_table *table, const char *verb)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->commands[i].sub && strcmp(table->commands[i].verb, verb) == 0) return true;
    return false;
}

// Finds the verb, which may stand behind flags of every verb, and its sub-verb of one or two words directly after it:
// `*verb_at` is the verb's index, `*last` that of the last of these words. Flags before the verb are common ones: their
// values are skipped here, parsed later.
static enum core_err choose_command(struct args *args, const struct command_table *table, int argc, char **argv,
                                    int *verb_at, int *last)
{
    static const struct command none = {.verb = "mycel"};
    *verb_at = *last = -1;
    args->command = &none;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            enum core_err err = parse_flag(args, table, argc, argv, &i);
            if (err) return err;
            continue;
        }
        *verb_at = i;
        break;
    }
    if (*verb_at < 0) {
        if (args->help || args->version) return CORE_ERR_OK;
        return args_refuse(args->error, "no command is given; 'mycel help' lists them");
    }
    args->set_count = 0;  // parsed again, with the verb known
    const char *verb = argv[*verb_at];
    const char *next = *verb_at + 1 < argc ? argv[*verb_at + 1] : NULL;
    const struct command *own = find_command(table, verb, NULL);
    if (!own) return unknown_verb(args, table, verb, NULL);
    args->command = own;
    *last = *verb_at;
    if (!next || next[0] == '-' || !has_subs(table, verb)) return CORE_ERR_OK;
    const struct command *sub = find_command(table, verb, next);
    if (!sub && own->max_words == 0) return unknown_verb(args, table, verb, next);
    if (!sub) return CORE_ERR_OK;
    args->command = sub;
    ++*last;
    const char *second = *last + 1 < argc ? argv[*last + 1] : NULL;
    if (sub->run || !second || second[0] == '-') return CORE_ERR_OK;
    char both[64];
    snprintf(both, sizeof both, "%s %.40s", next, second);
    sub = find_command(table, verb, both);
    if (!sub) return unknown_verb(args, table, verb, both);
    args->command = sub;
    ++*last;
    return CORE_ERR_OK;
}

static enum core_err check_words(struct args *args)
{
    const struct command *command = args->command;
    char text[48];
    command_text(command, text, sizeof text);
    if (!command->run)
        return args_refuse(args->error, "'%s' needs one of its commands; 'mycel help %s' lists them", text, text);
    if (args->word_count < command->min_words)
        return args_refuse(args->error, "'%s' needs %s; 'mycel help %s' shows how", text, command->words, text);
    if (command->takes_rest && args->rest_count == 0)
        return args_refuse(args->error, "'%s' needs a command after --; 'mycel help %s' shows how", text, text);
    return CORE_ERR_OK;
}

enum core_err args_parse(struct args *args, const struct command_table *table, int argc, char **argv)
{
    memset(args, 0, sizeof *args);
    int verb_at, last;
    enum core_err err = choose_command(args, table, argc, argv, &verb_at, &last);
    if (err || verb_at < 0) return err;
    for (int i = 1; i < argc; i++) {
        if (i >= verb_at && i <= last) continue;
        const char *given = argv[i];
        if (strcmp(given, "--") == 0 && args->command->takes_rest) {
            args->rest = argv + i + 1;
            args->rest_count = (size_t)(argc - i - 1);
            break;
        }
        if (given[0] == '-' && given[1] != '\0') {
            err = parse_flag(args, table, argc, argv, &i);
            if (err) return err;
            continue;
        }
        if (args->word_count == args->command->max_words || args->word_count == ARGS_WORDS_MAX) {
            char text[48];
            return args_refuse(args->error,
                               "'%s' does not know what to do with '%.60s'; 'mycel help %s' shows its form",
                               command_text(args->command, text, sizeof text), given, text);
        }
        args->words[args->word_count++] = given;
    }
    return args->help || args->version ? CORE_ERR_OK : check_words(args);
}

bool args_has(const struct args *args, const char *flag)
{
    return args_nth(args, flag, 0) != NULL;
}

const char *args_text(const struct args *args, const char *flag, const char *otherwise)
{
    for (size_t i = args->set_count; i > 0; i--)
        if (strcmp(args->set[i - 1].flag->name, flag) == 0) return args->set[i - 1].value;
    return otherwise;
}

const char *args_nth(const struct args *args, const char *flag, size_t index)
{
    for (size_t i = 0; i < args->set_count; i++)
        if (strcmp(args->set[i].flag->name, flag) == 0 && index-- == 0) return args->set[i].value;
    return NULL;
}

uint64_t args_number(const struct args *args, const char *flag, uint64_t otherwise)
{
    const char *text = args_text(args, flag, NULL);
    uint64_t value;
    return text && args_read_number(text, &value) ? value : otherwise;
}

double args_real(const struct args *args, const char *flag, double otherwise)
{
    const char *text = args_text(args, flag, NULL);
    double value;
    return text && args_read_real(text, &value) ? value : otherwise;
}

uint64_t args_size(const struct args *args, const char *flag, uint64_t otherwise)
{
    const char *text = args_text(args, flag, NULL);
    uint64_t value;
    return text && args_read_size(text, &value) ? value : otherwise;
}

uint64_t args_share(const struct args *args, const char *flag, uint64_t otherwise)
{
    const char *text = args_text(args, flag, NULL);
    uint64_t value;
    return text && args_read_share(text, &value) ? value : otherwise;
}

uint64_t args_seconds(const struct args *args, const char *flag, uint64_t otherwise)
{
    const char *text = args_text(args, flag, NULL);
    uint64_t value;
    return text && args_read_duration(text, &value) ? value : otherwise;
}
