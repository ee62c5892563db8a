#include "tools/service.h"

#include <string.h>
#include <unistd.h>

#include "node/machine.h"
#include "tools/spawn.h"

// What `join` keeps in the home before the peer runs, and what doesn't concern the peer.
static bool known_to_service(const struct call *call, const struct flag *flag)
{
    static const char *const kept[] = {"name", "listen", "sponsor"};
    const struct command *command = call->args.command;
    if (flag < command->flags || flag >= command->flags + command->flag_count) return true;  // of every command
    if (strcmp(flag->name, "detach") == 0) return true;
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        if (strcmp(command->verb, "join") == 0 && strcmp(flag->name, kept[i]) == 0) return true;
    return false;
}

bool service_takes(const struct call *call)
{
    if (geteuid() != 0 || !machine_is_home(call->home) || !args_has(&call->args, "detach")) return false;
    if (access("/run/systemd/system", F_OK) != 0) return false;
    for (size_t i = 0; i < call->given; i++)
        if (!known_to_service(call, call->args.set[i].flag)) return false;
    return true;
}

enum core_err service_start(char *said, size_t size)
{
    char *const words[] = {"systemctl", "start", "mycel.service", NULL};
    struct spawn s;
    enum core_err err = spawn_start_in(&s, -1, words[0], words, "");
    if (err) {
        snprintf(said, size, "systemctl cannot be run: %s", core_error_text(err));
        return CORE_ERR_FAILED;
    }
    return spawn_wait(&s, said, size) == 0 ? CORE_ERR_OK : CORE_ERR_FAILED;
}
