#include "node/machine.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char machine_folder[] = "/var/lib/mycel", machine_run[] = "/run/mycel";

// Whose it is; false when `path` is no folder.
static bool folder(const char *path, struct stat *st)
{
    return lstat(path, st) == 0 && S_ISDIR(st->st_mode);
}

const char *machine_home(void)
{
    struct stat st;
    return folder(machine_folder, &st) && st.st_uid != 0 ? machine_folder : NULL;
}

bool machine_is_home(const char *home)
{
    return strcmp(home, machine_folder) == 0 && machine_home() != NULL;
}

const char *machine_runtime(const char *home)
{
    struct stat st;
    return machine_is_home(home) && folder(machine_run, &st) ? machine_run : NULL;
}

enum core_err machine_as_owner(const char *home, bool for_good)
{
    struct stat st;
    if (geteuid() != 0 || !machine_is_home(home)) return CORE_ERR_OK;
    if (!folder(machine_folder, &st)) return CORE_ERR_REFUSED;
    // Without systemd nobody else makes it. Nobody but root makes names in /run.
    if (mkdir(machine_run, 0700) == 0 && chown(machine_run, st.st_uid, st.st_gid)) return CORE_ERR_REFUSED;
    if (!for_good) return setegid(st.st_gid) || seteuid(st.st_uid) ? CORE_ERR_REFUSED : CORE_ERR_OK;
    if (setgroups(0, NULL) || setresgid(st.st_gid, st.st_gid, st.st_gid)) return CORE_ERR_REFUSED;
    return setresuid(st.st_uid, st.st_uid, st.st_uid) ? CORE_ERR_REFUSED : CORE_ERR_OK;
}

enum core_err machine_as_root(void)
{
    uid_t real, effective, saved;
    if (getresuid(&real, &effective, &saved) || saved != 0 || effective == 0) return CORE_ERR_OK;
    return seteuid(0) || setegid(0) ? CORE_ERR_REFUSED : CORE_ERR_OK;
}
