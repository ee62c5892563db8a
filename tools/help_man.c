// Manual pages, written from the command table: mycel(1), and mycel-VERB(1) for each verb.
#include <string.h>

#include "node/about.h"
#include "tools/conf.h"
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

static void heading(FILE *file, const char *name, int section, const char *about)
{
    char title[64];
    size_t n = 0;
    for (; name[n] && n + 1 < sizeof title; n++)
        title[n] = (char)(name[n] >= 'a' && name[n] <= 'z' ? name[n] - 32 : name[n]);
    title[n] = 0;
    fprintf(file, ".TH %s %d \"\" \"mycel %s\" \"%s\"\n.SH NAME\n", title, section, NODE_VERSION,
            section == 5 ? "File Formats" : "User Commands");
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
    heading(file, "mycel", 1, "a mesh of machines that trains language models, without a coordinator");
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
    fputs(".SH FILES\n.TP\n.I /etc/mycel/mycel.conf\nwhat peers of this machine do: mycel.conf(5)\n"
          ".TP\n.I $XDG_STATE_HOME/mycel\nthe home of a user's peer: key, charter, certificate, record, runs\n"
          ".TP\n.I /var/lib/mycel\nthe home of the machine's peer, where the package is installed: what root "
          "speaks of, unless it has a home of its own\n",
          file);
}

static void conf_page(FILE *file, const struct command_table *t)
{
    struct conf conf;
    conf_open(&conf, t);
    heading(file, "mycel.conf", 5, "what a peer does unless its command line says otherwise");
    fputs(
        ".SH SYNOPSIS\n.I HOME/mycel.conf\n.br\n.I /etc/mycel/mycel.conf\n.SH DESCRIPTION\n"
        "Lines of\n.I key = value.\nA key is a flag of\n.BR mycel\\-up (1),\n.BR mycel\\-join (1)\nor\n"
        ".BR mycel\\-init (1)\nwithout its dashes, and acts as if that flag had been given. A line that begins with # "
        "is a comment, and so is what follows a # behind a space.\n.PP\n"
        "Who names a key first wins: the command line; the environment, as MYCEL_ and the key in capitals "
        "(MYCEL_LOG_FORMAT); mycel.conf in the home; the system's file, /etc/mycel/mycel.conf or the one that "
        "MYCEL_CONF names. A key without a value means the default, and hides the files below.\n.PP\n"
        "An unknown key, a value that a flag would refuse, and a key that stands twice are errors: the peer does not "
        "start and names file and line.\n.B mycel conf\nshows what holds, and where it stands. The home keeps name, "
        "listen and site: they stay when the line goes.\n.SH KEYS\n",
        file);
    for (size_t i = 0; i < conf.key_count; i++) {
        const struct flag *key = conf.keys[i];
        fputs(".TP\n.B ", file);
        escaped(file, key->name);
        fputs(" = \\fI", file);
        escaped(file, key->kind == FLAG_SWITCH ? "yes|no" : key->value);
        fputs("\\fR\n", file);
        escaped(file, key->about);
        fputs(key->repeat ? "; one a line\n" : "\n", file);
    }
    fputs(".SH EXAMPLE\n.nf\n# Leave half of this machine to others.\nshare = 50%\ngpus = none\nhttp = 6180\n.fi\n"
          ".SH SEE ALSO\n.BR mycel (1),\n.BR mycel\\-conf (1)\n",
          file);
}

bool help_man(FILE *file, const struct command_table *t, const char *verb)
{
    if (!verb) {
        overview(file, t);
        return true;
    }
    if (strcmp(verb, "mycel.conf") == 0) {
        conf_page(file, t);
        return true;
    }
    char name[64];
    bool found = false;
    for (size_t i = 0; i < t->count; i++) {
        const struct command *c = &t->commands[i];
        if (strcmp(c->verb, verb) != 0) continue;
        if (!found) {
            snprintf(name, sizeof name, "mycel-%s", verb);
            heading(file, name, 1, c->about);
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
