// mycel.conf: flags of `init`, `join` and `up` that stand in a file. A key is a flag's name without its dashes, so the
// command table says what there is, what it means and what it takes.
//
// Who says it, the first one that does: the command line; the environment, as MYCEL_KEY; HOME/mycel.conf; the system's
// file, /etc/mycel/mycel.conf or the one that MYCEL_CONF names ("": none). An empty value means what nobody's saying it
// would mean, and so hides the files below. The home's own `settings` (name, listen, site) come last: conf_show alone
// reads them here.
//
//   # a comment                             a line of its own, or behind a value and a space
//   cpus = 4
//   advertise = 203.0.113.7:6173            what may be given again stands on several lines
//   quiet = yes                             a switch: yes or no
//
// One thread.
#ifndef TOOLS_CONF_H
#define TOOLS_CONF_H

#include <stdio.h>

#include "node/home.h"
#include "tools/args.h"

enum { CONF_KEYS_MAX = 40, CONF_LINES_MAX = 128, CONF_TEXT_MAX = 1 << 16 };

enum conf_from { CONF_ENVIRONMENT, CONF_HOME, CONF_SYSTEM, CONF_SETTINGS, CONF_FROM_COUNT };

struct conf_line {
    const struct flag *key;
    const char *value;  // "" where it stands with none
    enum conf_from from;
    unsigned line;  // from 1; 0: the environment
};

struct conf {
    const struct flag *keys[CONF_KEYS_MAX];
    size_t key_count;
    struct conf_line lines[CONF_LINES_MAX];
    size_t line_count;
    char path[CONF_FROM_COUNT][HOME_PATH_SIZE + 32];  // of each file; "": there is none
    char *text[CONF_FROM_COUNT];                      // what `lines` point into; freed by conf_close
};

// The keys: flags of up, join and init, and of every command those that say how much is printed.
void conf_open(struct conf *conf, const struct command_table *table);
void conf_close(struct conf *conf);

// Takes one file's text, which it changes and keeps pointers into; `path` is for refusals. CORE_ERR_USAGE with `error`
// filled: "PATH:LINE: what is wrong; what to do".
CORE_MUST_USE enum core_err conf_parse(struct conf *conf, enum conf_from from, const char *path, char *text,
                                       char error[ARGS_ERROR_SIZE]);
// Reads the environment and the files; a file that isn't there is fine, but for one that MYCEL_CONF names.
CORE_MUST_USE enum core_err conf_read(struct conf *conf, const char *home, char error[ARGS_ERROR_SIZE]);
// Reads HOME/settings too. A home without them is fine.
CORE_MUST_USE enum core_err conf_read_settings(struct conf *conf, const char *home, char error[ARGS_ERROR_SIZE]);

// The `index`th line that says what `key` is, of those who say so first; NULL past the last.
const struct conf_line *conf_of(const struct conf *conf, const struct flag *key, size_t index);
// Sets what the command takes and its line left out. CORE_ERR_USAGE with args->error filled.
CORE_MUST_USE enum core_err conf_apply(const struct conf *conf, const struct command_table *table, struct args *args);
// The environment's name of a key: MYCEL_LOG_FORMAT.
char *conf_variable(char out[64], const struct flag *key);
// A file of keys for `mycel conf --example`, every line a comment.
void conf_example(FILE *file, const struct conf *conf);

#endif
