#include "tools/help.h"

#include <string.h>

#include "tools/output.h"

enum { NAME_COLUMN = 12, FLAG_COLUMN = 24, STEP_COLUMN = 28 };

static const char *const exit_statuses[][2] = {
    {"0", "done"},
    {"1", "failed, or unhealthy"},
    {"2", "wrong usage"},
    {"3", "no daemon runs in this home"},
    {"4", "refused"},
    {"5", "unreachable, or timed out"},
    {"6", "verification failed"},
    {"7", "partly done"},
    {"130", "interrupted"},
};

const char *help_exit_status(size_t index, int part)
{
    return index < sizeof exit_statuses / sizeof exit_statuses[0] ? exit_statuses[index][part] : NULL;
}

static void write_form(FILE *file, const struct command *command)
{
    fprintf(file, "mycel %s", command->verb);
    if (command->sub) fprintf(file, " %s", command->sub);
    if (!command->run) fputs(" COMMAND", file);
    if (command->words[0] != '\0') fprintf(file, command->min_words ? " %s" : " [%s]", command->words);
    if (command->flag_count) fputs(" [FLAGS]", file);
    if (command->takes_rest) fputs(" -- COMMAND", file);
}

static const char *flag_text(const struct flag *flag, char *out, size_t size)
{
    char letter[8] = "";
    if (flag->letter) snprintf(letter, sizeof letter, "-%c, ", flag->letter);
    snprintf(out, size, "%s--%s%s%s", letter, flag->name, flag->kind == FLAG_SWITCH ? "" : " ",
             flag->kind == FLAG_SWITCH ? "" : flag->value);
    return out;
}

static void write_flags(FILE *file, const struct flag *flags, size_t count)
{
    char text[96];
    for (size_t i = 0; i < count; i++)
        fprintf(file, "  %-*s %s\n", FLAG_COLUMN, flag_text(&flags[i], text, sizeof text), flags[i].about);
}

// A command to type, and what it does, in two columns.
static void write_step(FILE *file, const char *mycel, const char *words, const char *about)
{
    char line[96];
    int length = snprintf(line, sizeof line, "%s %s", mycel, words);
    if (length <= STEP_COLUMN)
        fprintf(file, "  %-*s  %s\n", STEP_COLUMN, line, about);
    else
        fprintf(file, "  %s %s\n  %*s  %s\n", mycel, words, STEP_COLUMN, "", about);
}

void help_first_page(FILE *file, const char *mycel, const char *home, bool lives, int pid, bool machine)
{
    fputs("mycel: a mesh of machines that trains language models, without a coordinator\n\n", file);
    if (lives && pid > 0) {
        fprintf(file, "A peer runs here: process %d, home %s\n\n", pid, home);
        write_step(file, mycel, "status", "is it healthy");
        write_step(file, mycel, "map", "the mesh as a picture; 'top' shows it live");
        write_step(file, mycel, "invite", "let another machine in");
        write_step(file, mycel, "train --data FILE", "train a model with all of them");
    } else if (lives) {
        fprintf(file, "A peer lives in %s, but it does not run:\n\n", home);
        write_step(file, mycel, "up --detach", "run it");
        write_step(file, mycel, "conf", "what it will use of this machine");
    } else {
        fputs(machine ? "This machine runs a peer: 'sudo mycel' speaks of it. For one of your own:\n\n"
                      : "No peer lives here yet. Begin with one of these:\n\n",
              file);
        write_step(file, mycel, "lab up 4", "try it: a mesh of four peers on this machine");
        write_step(file, mycel, "init NAME", "make a mesh of your own");
        write_step(file, mycel, "join TOKEN --detach", "join one; a member's 'mycel invite' prints TOKEN");
    }
    fputs("\nAll commands: mycel help\n", file);
}

void help_overview(FILE *file, const struct command_table *table)
{
    fputs("mycel: a mesh of machines that trains language models, without a coordinator\n\n", file);
    for (size_t i = 0; i < table->count; i++)
        if (!table->commands[i].sub)
            fprintf(file, "  %-*s %s\n", NAME_COLUMN, table->commands[i].verb, table->commands[i].about);
    fputs("\nFlags of every command:\n", file);
    write_flags(file, table->common, table->common_count);
    fputs("\nTo try it on this machine:  mycel lab up 4\n"
          "A command's flags:          mycel help train\n",
          file);
}

// Whether `sub` is one of the commands that `command` groups.
static bool lies_under(const struct command *sub, const struct command *command)
{
    if (!sub->sub || strcmp(sub->verb, command->verb) != 0) return false;
    const char *gap = strchr(sub->sub, ' ');
    if (!command->sub) return gap == NULL;
    size_t length = strlen(command->sub);
    return gap == sub->sub + length && strncmp(sub->sub, command->sub, length) == 0;
}

static void write_command(FILE *file, const struct command_table *table, const struct command *command)
{
    fputs("usage: ", file);
    write_form(file, command);
    fprintf(file, "\n\n%s\n", command->about);
    if (command->more) {
        fputc('\n', file);
        output_wrapped(file, 0, "", command->more);
    }
    bool heading = false;
    for (size_t i = 0; i < table->count; i++) {
        const struct command *sub = &table->commands[i];
        if (!lies_under(sub, command)) continue;
        if (!heading) fputs("\nCommands:\n", file);
        heading = true;
        char text[96];
        snprintf(text, sizeof text, "%s%s%s%s", sub->sub + (command->sub ? strlen(command->sub) + 1 : 0),
                 sub->words[0] ? " " : "", sub->words,
                 sub->takes_rest ? " -- COMMAND"
                 : sub->run      ? ""
                                 : " COMMAND");
        fprintf(file, "  %-*s %s\n", FLAG_COLUMN, text, sub->about);
    }
    if (command->flag_count) fputs("\nFlags:\n", file);
    write_flags(file, command->flags, command->flag_count);
    fputs("\nFlags of every command:\n", file);
    write_flags(file, table->common, table->common_count);
}

bool help_command(FILE *file, const struct command_table *table, const char *verb, const char *sub)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct command *command = &table->commands[i];
        if (strcmp(command->verb, verb) != 0) continue;
        if (sub ? !command->sub || strcmp(command->sub, sub) != 0 : command->sub != NULL) continue;
        write_command(file, table, command);
        return true;
    }
    return false;
}

// Table cells: a bar would end them.
static void write_cell(FILE *file, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|') fputc('\\', file);
        fputc(*text, file);
    }
}

static void markdown_flags(FILE *file, const struct flag *flags, size_t count)
{
    if (count == 0) return;
    fputs("\n| flag | what it does |\n|---|---|\n", file);
    for (size_t i = 0; i < count; i++) {
        char text[96];
        fputs("| `", file);
        write_cell(file, flag_text(&flags[i], text, sizeof text));
        fputs("` | ", file);
        write_cell(file, flags[i].about);
        fputs(" |\n", file);
    }
}

void help_markdown(FILE *file, const struct command_table *table)
{
    fputs("# Commands\n\nWritten by `mycel help --markdown` from the command table in `tools/commands.c`.\n"
          "Data goes to standard output, progress and errors to standard error. A default stands in brackets.\n\n"
          "## Flags of every command\n",
          file);
    markdown_flags(file, table->common, table->common_count);
    fputs("\n## Exit status\n\n| status | meaning |\n|---|---|\n", file);
    for (size_t i = 0; i < sizeof exit_statuses / sizeof exit_statuses[0]; i++)
        fprintf(file, "| %s | %s |\n", exit_statuses[i][0], exit_statuses[i][1]);
    for (size_t i = 0; i < table->count; i++) {
        const struct command *command = &table->commands[i];
        fputs(command->sub ? "\n### `" : "\n## `", file);
        write_form(file, command);
        fprintf(file, "`\n\n%c%s.\n",
                command->about[0] >= 'a' && command->about[0] <= 'z' ? command->about[0] - 32 : command->about[0],
                command->about + 1);
        if (command->more) fprintf(file, "\n%s\n", command->more);
        markdown_flags(file, command->flags, command->flag_count);
    }
}
