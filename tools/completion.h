// What shells need to complete mycel's command line, written from the command table.
#ifndef TOOLS_COMPLETION_H
#define TOOLS_COMPLETION_H

#include <stdio.h>

#include "tools/args.h"

// `shell` is "bash", "zsh" or "fish"; false for another. A script to be sourced (bash: or put into
// bash-completion's folder; zsh: as _mycel on fpath; fish: as mycel.fish).
bool completion_write(FILE *file, const struct command_table *table, const char *shell);

#endif
