// Manual pages, written from the command table: mycel(1), and mycel-VERB(1) for each verb.
#include <string.h>

#include "node/about.h"
#include "tools/help.h"

static void escaped(FILE *file, const char *text)
{
    if (*text == '.' || *text == '\'') fputs("\\&", file);
    for (; *text; text++) {
        if (*text == '-')
            fputs("\\-", file);
        else if (*text == '\\')
            fputs("\\e", file);
        else
            fputc(*text, file);
    }
}

static void heading(FILE *file, const char *name, const char *about)
{
    char title[64];
    size_t n = 0;
    for (; name[n] && n + 1 < sizeof title; n++)
        title[n] = (char)(name[n] >= 'a' && name[n] <= 'z' ? name[n] - 32 : name[n]);
    title[n] = 0;
    fprintf(file, ".TH %s 1 \"\" \"mycel %s\" \"User Commands\"\n.SH NAME\n", title, NODE_VERSION);
    escaped(file, name);
    fputs(" \\- ", file);
    escaped(file, about);
    fputc('\n', file);
}

static void flags(FILE *file, const struct flag *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct flag *f = &list[i];
        fputs(".TP\n.B ", file);
        if (f->letter) fprintf(file, "\\-%c, ", f->letter);
        fputs("\\-\\-", file);
        escaped(file, f->name);
        if (f->kind != FLAG_SWITCH) {
            fputs(" \\fI", file);
            escaped(file, f->value);
            fputs("\\fR", file);
        }
        fputc('\n', file);
        escaped(file, f->about);
        fputc('\n', file);
    }
}

static void form(FILE *file, const struct command *c)
{
    fprintf(file, ".B mycel %s%s%s\n", c->verb, c->sub ? " " : "", c->sub ? c->sub : "");
    if (!c->run) fputs(".I COMMAND\n", file);
    if (c->words[0]) {
        fputs(c->min_words ? ".I " : ".RI [ ", file);
        escaped(file, c->words);
        fputs(c->min_words ? "\n" : " ]\n", file);
    }
    if (c->flag_count) fputs(".RI [ FLAGS ]\n", file);
    if (c->takes_rest) fputs("\\-\\-\n.I COMMAND\n", file);
}

static void describe(FILE *file, const struct command *c)
{
    const char first = c->about[0];
    fputc(first >= 'a' && first <= 'z' ? first - 32 : first, file);
    escaped(file, c->about + 1);
    fputs(".\n", file);
    if (c->more) {
        fputs(".PP\n", file);
        escaped(file, c->more);
        fputc('\n', file);
    }
    flags(file, c->flags, c->flag_count);
}

static void statuses(FILE *file)
{
    fputs(".SH EXIT STATUS\n", file);
    const char *text;
    for (size_t i = 0; (text = help_exit_status(i, 1)); i++) {
        fprintf(file, ".TP\n.B %s\n", help_exit_status(i, 0));
        escaped(file, text);
        fputc('\n', file);
    }
}

static void overview(FILE *file, const struct command_table *t)
{
    heading(file, "mycel", "a mesh of machines that trains language models, without a coordinator");
    fputs(".SH SYNOPSIS\n.B mycel\n.I COMMAND\n.RI [ ARGUMENTS ]\n.SH DESCRIPTION\n"
          "A machine that runs mycel is a peer in a mesh that nobody owns all of. The mesh trains language models, and "
          "anyone can replay any part of the training and compare the bits.\n.SH COMMANDS\n",
          file);
    for (size_t i = 0; i < t->count; i++) {
        const struct command *c = &t->commands[i];
        if (c->sub) continue;
        fprintf(file, ".TP\n.BR mycel\\-%s (1)\n", c->verb);
        escaped(file, c->about);
        fputc('\n', file);
    }
    fputs(".SH FLAGS OF EVERY COMMAND\n", file);
    flags(file, t->common, t->common_count);
    statuses(file);
    fputs(
        ".SH FILES\n.TP\n.I $XDG_STATE_HOME/mycel\nthe home of a user's peer: key, charter, certificate, record, runs\n"
        ".TP\n.I /var/lib/mycel\nthe home of the machine's peer, where the package runs one\n",
        file);
}

bool help_man(FILE *file, const struct command_table *t, const char *verb)
{
    if (!verb) {
        overview(file, t);
        return true;
    }
    char name[64];
    bool found = false;
    for (size_t i = 0; i < t->count; i++) {
        const struct command *c = &t->commands[i];
        if (strcmp(c->verb, verb) != 0) continue;
        if (!found) {
            snprintf(name, sizeof name, "mycel-%s", verb);
            heading(file, name, c->about);
            fputs(".SH SYNOPSIS\n", file);
        } else {
            fputs(".SS ", file);
            fprintf(file, "mycel %s %s\n", c->verb, c->sub);
        }
        form(file, c);
        if (!found) fputs(".SH DESCRIPTION\n", file);
        if (found) fputs(".PP\n", file);
        describe(file, c);
        found = true;
    }
    if (found) {
        statuses(file);
        fputs(".SH SEE ALSO\n.BR mycel (1)\n", file);
    }
    return found;
}
