// Help and the command reference, written from the command table.
#ifndef TOOLS_HELP_H
#define TOOLS_HELP_H

#include <stdio.h>

#include "tools/args.h"

// What `mycel` alone prints: what it is and what to type next, after whether a peer `lives` in `home` and which process
// runs it (0: none); `mycel` is how a command begins that speaks of it (call_mycel). `machine`: a peer of the machine's
// own runs here too.
void help_first_page(FILE *file, const char *mycel, const char *home, bool lives, int pid, bool machine);
// Every verb with its line.
void help_overview(FILE *file, const struct command_table *table);
// A verb with its sub-verbs, or one sub-verb (`sub` not NULL): form, flags, what it does. False when there is none.
bool help_command(FILE *file, const struct command_table *table, const char *verb, const char *sub);
// The whole as Markdown: docs/commands.md.
void help_markdown(FILE *file, const struct command_table *table);
// A manual page in roff: mycel(1), a verb's, or mycel.conf(5) for "mycel.conf". False when there is none.
bool help_man(FILE *file, const struct command_table *table, const char *verb);
// An exit status (`part` 0) and what it means (1), NULL past the last.
const char *help_exit_status(size_t index, int part);

#endif
