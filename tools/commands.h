// The one command table. Parsing, help, the suggestions and docs/commands.md come from it; nothing is listed twice.
#ifndef TOOLS_COMMANDS_H
#define TOOLS_COMMANDS_H

#include "tools/args.h"

// In the order of help. A verb's own row stands before its sub-verbs'.
extern const struct command_table command_table;

#endif
