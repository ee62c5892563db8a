// Arguments: one parser for every verb, driven by the command table (tools/commands.h). It checks everything that can
// be checked without doing anything, so that a command that starts has no usage error left in it.
#ifndef TOOLS_ARGS_H
#define TOOLS_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum flag_kind {
    FLAG_SWITCH,    // no value
    FLAG_TEXT,      // any value that isn't empty
    FLAG_COUNT,     // a whole number from 1
    FLAG_NUMBER,    // a whole number from 0
    FLAG_REAL,      // a number from 0, with a fraction if you like
    FLAG_DURATION,  // 90s, 5m, 24h, 7d; a bare number means seconds
    FLAG_ADDRESS,   // HOST:PORT
    FLAG_RATE,      // 100mbit, 1gbit, 64kbit: bits a second
    FLAG_DELAY,     // 20ms, 500us, 1s
    FLAG_PERCENT,   // 1%, 0.5%; the sign may be left out
    FLAG_SIZE,      // 4GB, 512MB, 2GiB: bytes
    FLAG_SHARE,     // a whole number of percent, 1 to 100; the sign may be left out
    FLAG_CHOICE,    // one of `value`, which separates them by '|'
};

struct flag {
    const char *name;  // without the dashes
    char letter;       // 0: none
    enum flag_kind kind;
    const char *value;  // what help calls the value, or the choices
    const char *about;
    bool repeat;  // may be given more than once
};

struct call;

// One row of the command table. `sub` is NULL for a verb's own row; it may be two words, "hosts up", under a row
// "hosts". A row that only groups others has no `run`.
struct command {
    const char *verb;
    const char *sub;
    const char *words;  // its arguments as help shows them: "TOKEN|-"
    unsigned min_words;
    unsigned max_words;
    bool takes_rest;  // everything after `--` belongs to another program
    const struct flag *flags;
    size_t flag_count;
    const char *about;              // one line
    const char *more;               // paragraphs of help, or NULL
    int (*run)(struct call *call);  // exit status
};

enum { ARGS_SET_MAX = 64, ARGS_WORDS_MAX = 8, ARGS_ERROR_SIZE = 512 };

struct args {
    const struct command *command;
    struct {
        const struct flag *flag;
        const char *value;  // "" for a switch
    } set[ARGS_SET_MAX];
    size_t set_count;
    const char *words[ARGS_WORDS_MAX];
    size_t word_count;
    char **rest;  // after `--`
    size_t rest_count;
    bool help;                    // --help stood somewhere
    bool version;                 // so did --version
    bool from_conf;               // a value came from a file or the environment (tools/conf.h)
    char error[ARGS_ERROR_SIZE];  // what failed, why, and what to do next; set with CORE_ERR_USAGE
};

// The table a parse runs over, and the flags that every verb takes.
struct command_table {
    const struct command *commands;
    size_t count;
    const struct flag *common;
    size_t common_count;
};

// Parses argv[1..]; pointers into argv. CORE_ERR_USAGE with `error` filled.
CORE_MUST_USE enum core_err args_parse(struct args *args, const struct command_table *table, int argc, char **argv);

// The flag of a command, or of every command, with that name; NULL for none.
const struct flag *args_flag(const struct command_table *table, const struct command *command, const char *name);
// Sets a flag that the command line left out, as if it stood there: `value` outlives `args` ("" for a switch) and has
// been checked. CORE_ERR_TOO_LARGE when there are too many.
CORE_MUST_USE enum core_err args_add(struct args *args, const struct flag *flag, const char *value);
// CORE_ERR_USAGE, with the sentence in `error`.
__attribute__((format(printf, 2, 3))) enum core_err args_refuse(char error[ARGS_ERROR_SIZE], const char *format, ...);
// Whether `flag` takes `value`; `shown` is what a refusal calls it ("--cpus"). CORE_ERR_USAGE with `error` filled.
CORE_MUST_USE enum core_err args_check_value(char error[ARGS_ERROR_SIZE], const char *shown, const struct flag *flag,
                                             const char *value);

bool args_has(const struct args *args, const char *flag);
// The last value given, or `otherwise`.
const char *args_text(const struct args *args, const char *flag, const char *otherwise);
// Values of a repeated flag: the `index`th, NULL past the end.
const char *args_nth(const struct args *args, const char *flag, size_t index);
uint64_t args_number(const struct args *args, const char *flag, uint64_t otherwise);
uint64_t args_size(const struct args *args, const char *flag, uint64_t otherwise);   // bytes
uint64_t args_share(const struct args *args, const char *flag, uint64_t otherwise);  // percent
double args_real(const struct args *args, const char *flag, double otherwise);
uint64_t args_seconds(const struct args *args, const char *flag, uint64_t otherwise);

// Text to values, whole or not at all.
bool args_read_number(const char *text, uint64_t *out);
bool args_read_real(const char *text, double *out);
bool args_read_duration(const char *text, uint64_t *seconds);
bool args_read_rate(const char *text, uint64_t *bits_per_second);
bool args_read_delay(const char *text, uint64_t *us);       // up to a minute
bool args_read_size(const char *text, uint64_t *bytes);     // more than 0
bool args_read_share(const char *text, uint64_t *percent);  // 1 to 100
bool args_read_percent(const char *text, uint64_t *millionth);
// "HOST:PORT" or "[V6]:PORT"; `port` 0 is allowed: the system picks one.
bool args_read_address(const char *text, unsigned *port);

// The candidate nearest to `word` in edits, or NULL when none is near.
const char *args_nearest(const char *word, const char *const *candidates, size_t count);

#endif
