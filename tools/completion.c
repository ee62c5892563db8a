#include "tools/completion.h"

#include <string.h>

#include "tools/commands.h"
#include "tools/verbs.h"

static const char *key_of(const struct command *c, char *out, size_t size)
{
    snprintf(out, size, "%s%s%s", c->verb, c->sub ? " " : "", c->sub ? c->sub : "");
    return out;
}

// The last word of its key where it lies directly under `key` ("" for the verbs); NULL otherwise.
static const char *word_under(const struct command *c, const char *key)
{
    char own[96];
    key_of(c, own, sizeof own);
    const size_t n = strlen(key);
    if (n && (strncmp(own, key, n) != 0 || own[n] != ' ')) return NULL;
    const char *rest = own + (n ? n + 1 : 0);
    if (!*rest || strchr(rest, ' ')) return NULL;
    return c->sub ? (strrchr(c->sub, ' ') ? strrchr(c->sub, ' ') + 1 : c->sub) : c->verb;
}

// Single quotes for any of the three shells.
static void quoted(FILE *file, const char *text)
{
    fputc('\'', file);
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", file);
        else
            fputc(*text, file);
    }
    fputc('\'', file);
}

static void choices(FILE *file, const struct flag *flag)
{
    for (const char *p = flag->value; *p; p++) fputc(*p == '|' ? ' ' : *p, file);
}

// ---- bash and zsh: one function, since zsh runs bash's ----

static void case_of(FILE *file, const struct command_table *t, const char *key, const struct command *c)
{
    fprintf(file, "    \"%s\") words=\"", key);
    for (size_t i = 0; i < t->count; i++) {
        const char *word = word_under(&t->commands[i], key);
        if (word) fprintf(file, "%s ", word);
    }
    fputs("\" flags=\"", file);
    for (size_t i = 0; c && i < c->flag_count; i++) fprintf(file, "--%s ", c->flags[i].name);
    for (size_t i = 0; i < t->common_count; i++) fprintf(file, "--%s ", t->common[i].name);
    fputs("\" ;;\n", file);
}

static void value_case(FILE *file, const char *key, const struct flag *flag)
{
    if (flag->kind == FLAG_SWITCH) return;
    fprintf(file, "    \"%s --%s\") ", key, flag->name);
    if (flag->kind == FLAG_CHOICE) {
        fputs("values=\"", file);
        choices(file, flag);
        fputs("\" ;;\n", file);
    } else {
        fprintf(file, "files=%d values=\" \" ;;\n", strstr(flag->value, "FILE") || strstr(flag->value, "DIR"));
    }
}

static void bash(FILE *file, const struct command_table *t)
{
    fputs("# bash completion for mycel, from `mycel completion bash`\n"
          "_mycel() {\n"
          "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} key='' words='' flags='' values='' "
          "files=0 i\n"
          "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "    case \"${key:+$key }${COMP_WORDS[i]}\" in\n      ",
          file);
    for (size_t i = 0; i < t->count; i++) {
        char key[96];
        fprintf(file, "%s\"%s\"", i ? "|" : "", key_of(&t->commands[i], key, sizeof key));
    }
    fputs(") key=\"${key:+$key }${COMP_WORDS[i]}\" ;;\n    esac\n  done\n  case \"$key $prev\" in\n", file);
    for (size_t i = 0; i < t->count; i++) {
        const struct command *c = &t->commands[i];
        char key[96];
        key_of(c, key, sizeof key);
        for (size_t k = 0; k < c->flag_count; k++) value_case(file, key, &c->flags[k]);
    }
    fputs("  esac\n"
          "  if [[ -n $values ]]; then\n"
          "    if ((files)); then COMPREPLY=($(compgen -f -- \"$cur\")); else COMPREPLY=($(compgen -W \"$values\" -- "
          "\"$cur\")); fi\n"
          "    return\n"
          "  fi\n"
          "  case \"$key\" in\n",
          file);
    case_of(file, t, "", NULL);
    for (size_t i = 0; i < t->count; i++) {
        char key[96];
        case_of(file, t, key_of(&t->commands[i], key, sizeof key), &t->commands[i]);
    }
    fputs("  esac\n"
          "  [[ $cur == -* ]] && words=$flags\n"
          "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "}\n",
          file);
}

// ---- fish ----

static void fish_condition(FILE *file, const char *key)
{
    fputs("__mycel_at ", file);
    quoted(file, key);
}

static void fish_flag(FILE *file, const struct flag *flag)
{
    fprintf(file, " -l %s", flag->name);
    if (flag->letter) fprintf(file, " -s %c", flag->letter);
    if (flag->kind == FLAG_CHOICE) {
        fputs(" -xa '", file);
        choices(file, flag);
        fputc('\'', file);
    } else if (flag->kind != FLAG_SWITCH) {
        fputs(strstr(flag->value, "FILE") || strstr(flag->value, "DIR") ? " -rF" : " -x", file);
    }
    fputs(" -d ", file);
    quoted(file, flag->about);
    fputc('\n', file);
}

static void fish(FILE *file, const struct command_table *t)
{
    fputs("# fish completion for mycel, from `mycel completion fish`\n"
          "function __mycel_key\n"
          "  set -l key\n"
          "  for word in (commandline -opc)[2..]\n"
          "    switch (string join ' ' $key $word)\n      case",
          file);
    for (size_t i = 0; i < t->count; i++) {
        char key[96];
        fprintf(file, " '%s'", key_of(&t->commands[i], key, sizeof key));
    }
    fputs("\n        set -a key $word\n    end\n  end\n  string join ' ' $key\nend\n"
          "function __mycel_at\n  test (__mycel_key | string collect -a) = \"$argv\"\nend\n"
          "complete -c mycel -f\n",
          file);
    for (size_t i = 0; i < t->common_count; i++) {
        fputs("complete -c mycel", file);
        fish_flag(file, &t->common[i]);
    }
    for (size_t i = 0; i < t->count; i++) {
        const struct command *c = &t->commands[i];
        char own[96], above[96];
        snprintf(above, sizeof above, "%s", key_of(c, own, sizeof own));
        char *gap = strrchr(above, ' ');
        *(gap ? gap : above) = 0;
        fputs("complete -c mycel -n \"", file);
        fish_condition(file, above);
        fprintf(file, "\" -a %s -d ", gap ? own + (gap - above) + 1 : own);
        quoted(file, c->about);
        fputc('\n', file);
        for (size_t k = 0; k < c->flag_count; k++) {
            fputs("complete -c mycel -n \"", file);
            fish_condition(file, own);
            fputc('"', file);
            fish_flag(file, &c->flags[k]);
        }
    }
}

bool completion_write(FILE *file, const struct command_table *table, const char *shell)
{
    if (strcmp(shell, "bash") == 0) {
        bash(file, table);
        fputs("complete -F _mycel mycel\n", file);
        return true;
    }
    if (strcmp(shell, "zsh") == 0) {
        fputs("#compdef mycel\nautoload -U +X bashcompinit && bashcompinit\n", file);
        bash(file, table);
        fputs("complete -F _mycel mycel\n", file);
        return true;
    }
    if (strcmp(shell, "fish") != 0) return false;
    fish(file, table);
    return true;
}

int command_completion(struct call *call)
{
    if (completion_write(stdout, &command_table, call->args.words[0])) return 0;
    output_error(&call->out, "USAGE", "no completion for '%s'; there is bash, zsh and fish", call->args.words[0]);
    return 2;
}
