#include "tools/call.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/sign.h"
#include "node/machine.h"
#include "tools/commands.h"
#include "tools/conf.h"
#include "tools/help.h"
#include "tools/verbs.h"

static void find_program(struct call *call, const char *fallback)
{
    ssize_t length = readlink("/proc/self/exe", call->program, sizeof call->program - 1);
    if (length > 0)
        call->program[length] = '\0';
    else
        snprintf(call->program, sizeof call->program, "%s", fallback);
}

const char *call_mycel(const struct call *call, char out[CALL_WORDS_SIZE])
{
    char usual[HOME_PATH_SIZE];
    if (machine_is_home(call->home) && getenv("SUDO_UID"))
        snprintf(out, CALL_WORDS_SIZE, "sudo mycel");
    else if (home_path(usual, NULL) == CORE_ERR_OK && strcmp(usual, call->home) == 0)
        snprintf(out, CALL_WORDS_SIZE, "mycel");
    else
        snprintf(out, CALL_WORDS_SIZE, "mycel --home %s", call->home);
    return out;
}

static int show_help(const struct args *args)
{
    const struct command *command = args->command;
    if (!command || strcmp(command->verb, "mycel") == 0)
        help_overview(stdout, &command_table);
    else
        (void)help_command(stdout, &command_table, command->verb, command->sub);
    return 0;
}

// What mycel.conf says counts as if it stood on the command line; its text lives as long as the call.
static enum core_err take_conf(struct call *call)
{
    struct args *args = &call->args;
    static const char *const verbs[] = {"init", "join", "up"};
    bool taken = false;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        taken = taken || (!args->command->sub && strcmp(args->command->verb, verbs[i]) == 0);
    if (!taken || args->help || args->version) return CORE_ERR_OK;
    if (home_path(call->home, args_text(args, "home", NULL))) return CORE_ERR_OK;  // run() says so
    static struct conf conf;
    conf_open(&conf, &command_table);
    enum core_err err = conf_read(&conf, call->home, args->error);
    return err ? err : conf_apply(&conf, &command_table, args);
}

static int first_page(struct call *call)
{
    char key[HOME_PATH_SIZE + 8] = "";
    bool knows = home_path(call->home, NULL) == CORE_ERR_OK;
    if (knows) snprintf(key, sizeof key, "%s/key", call->home);
    bool lives = knows && access(key, F_OK) == 0;
    const char *machines = machine_home();
    char mycel[CALL_WORDS_SIZE];
    help_first_page(stdout, knows ? call_mycel(call, mycel) : "mycel", call->home, lives,
                    lives ? home_holder(call->home) : 0, machines && machine_runtime(machines));
    fflush(stdout);
    return core_error_exit(CORE_ERR_USAGE);
}

// A lab is the caller's own, also root's: the machine's home is for one peer.
static enum core_err own_home(struct call *call)
{
    char path[HOME_PATH_SIZE];
    const char *user = getenv("HOME");
    const bool named = args_has(&call->args, "home") || getenv("MYCEL_HOME");
    if (strcmp(call->args.command->verb, "lab") != 0 || named || !user || !machine_is_home(call->home))
        return CORE_ERR_OK;
    const int n = snprintf(path, sizeof path, "%s/.local/state/mycel", user);
    return n < (int)sizeof path ? home_path(call->home, path) : CORE_ERR_TOO_LARGE;
}

static int run(struct call *call)
{
    const struct args *args = &call->args;
    if (args->version) return command_version(call);
    if (args->help) return show_help(args);
    enum core_err err = home_path(call->home, args_text(args, "home", NULL));
    if (!err) err = own_home(call);
    if (err) {
        output_error(&call->out, core_error_name(err), "cannot tell the home: %s; name one by --home DIR or MYCEL_HOME",
                     err == CORE_ERR_NOT_FOUND ? "HOME is not set" : core_error_text(err));
        return core_error_exit(err);
    }
    err = sign_start();
    if (err) {
        output_error(&call->out, core_error_name(err), "libsodium cannot be used: %s", core_error_text(err));
        return core_error_exit(err);
    }
    return args->command->run(call);
}

int tools_main(int argc, char **argv, const struct tools_programs *programs)
{
    static struct call call;  // its paths and flags are large for a stack
    call = (struct call){.programs = programs};
    if (argc <= 1) return first_page(&call);
    enum core_err err = args_parse(&call.args, &command_table, argc, argv);
    call.given = call.args.set_count;
    if (!err) err = take_conf(&call);
    call.out = output_choose(args_has(&call.args, "json"), args_has(&call.args, "quiet"),
                             args_has(&call.args, "verbose"), args_text(&call.args, "color", "auto"));
    if (err) {
        output_error(&call.out, core_error_name(err), "%s", call.args.error);
        return core_error_exit(err);
    }
    find_program(&call, argv[0]);
    setvbuf(stdout, NULL, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF, 0);
    int status = run(&call);
    // A full disk or a closed pipe under stdout is a failure that a script must see.
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == 0) {
        fputs("mycel: cannot write to standard output\n", stderr);
        status = core_error_exit(CORE_ERR_IO);
    }
    return status;
}

int command_help(struct call *call)
{
    const struct args *args = &call->args;
    if (args_has(args, "markdown")) {
        help_markdown(stdout, &command_table);
        return 0;
    }
    if (args_has(args, "man")) {
        const char *page = args->word_count ? args->words[0] : NULL;
        if (help_man(stdout, &command_table, page)) return 0;
        output_error(&call->out, "USAGE", "there is no command '%s'; 'mycel help' lists what there is", page);
        return core_error_exit(CORE_ERR_USAGE);
    }
    if (args->word_count == 0) {
        help_overview(stdout, &command_table);
        return 0;
    }
    const char *verb = args->words[0], *sub = args->word_count > 1 ? args->words[1] : NULL;
    char both[64];
    if (args->word_count > 2) {
        snprintf(both, sizeof both, "%.30s %.30s", sub, args->words[2]);
        sub = both;
    }
    if (help_command(stdout, &command_table, verb, sub)) return 0;
    output_error(&call->out, "USAGE", "there is no command '%s%s%s'; 'mycel help' lists what there is", verb,
                 sub ? " " : "", sub ? sub : "");
    return core_error_exit(CORE_ERR_USAGE);
}

// Hands a program its words and flags in one plain form; of the flags of every command it sees
// --json, --quiet and --verbose.
static int run_program(const struct args *args, int (*program)(int argc, char **argv))
{
    char text[ARGS_SET_MAX][64];
    char *argv[2 + ARGS_WORDS_MAX + 2 * ARGS_SET_MAX + 1];
    int argc = 0;
    argv[argc++] = (char *)args->command->verb;  // main's signature; nobody writes
    if (args->command->sub) argv[argc++] = (char *)args->command->sub;
    for (size_t i = 0; i < args->word_count; i++) argv[argc++] = (char *)args->words[i];
    for (size_t i = 0; i < args->set_count; i++) {
        const struct flag *flag = args->set[i].flag;
        bool own = flag >= args->command->flags && flag < args->command->flags + args->command->flag_count;
        const bool quiet = !strcmp(flag->name, "quiet"), verbose = !strcmp(flag->name, "verbose");
        if (!own && !quiet && !verbose && strcmp(flag->name, "json") != 0) continue;
        if (quiet || verbose)
            snprintf(text[i], sizeof text[i], quiet ? "-q" : "-v");
        else
            snprintf(text[i], sizeof text[i], "--%s", flag->name);
        argv[argc++] = text[i];
        if (flag->kind != FLAG_SWITCH) argv[argc++] = (char *)args->set[i].value;
    }
    argv[argc] = NULL;
    return program(argc, argv);
}

int command_sim(struct call *call)
{
    return run_program(&call->args, call->programs->sim);
}

int command_bench(struct call *call)
{
    return run_program(&call->args, call->programs->bench);
}
