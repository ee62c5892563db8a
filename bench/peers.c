#include "bench/peers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// The repository: where the program was built (zig-out/bin lies in it), else the folder that we are in.
static bool find_root(const char *name, char root[PEERS_PATH_MAX])
{
    char path[PEERS_PATH_MAX + 64];
    ssize_t length = readlink("/proc/self/exe", root, PEERS_PATH_MAX - 1);
    for (int up = 0; length > 0 && up < 3; up++) {
        root[length] = '\0';
        char *slash = strrchr(root, '/');
        length = slash ? slash - root : 0;
    }
    if (length > 0) {
        root[length] = '\0';
        snprintf(path, sizeof path, "%s/bench/peers/%s", root, name);
        if (access(path, R_OK) == 0) return true;
    }
    if (!getcwd(root, PEERS_PATH_MAX)) return false;
    snprintf(path, sizeof path, "%s/bench/peers/%s", root, name);
    return access(path, R_OK) == 0;
}

// Runs it in `folder`, its output in `log`; its exit status, 127 where it isn't there.
static int run_in(const char *folder, const char *log, char *const argv[])
{
    pid_t pid = fork();
    if (pid == 0) {
        int out = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (out >= 0) {
            dup2(out, 1);
            dup2(out, 2);
        }
        if (chdir(folder) == 0) execvp(argv[0], argv);
        _exit(127);
    }
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

bool peers_build_go(const char *name, char path[PEERS_PATH_MAX], char *why, size_t why_size)
{
    char root[PEERS_PATH_MAX], folder[PEERS_PATH_MAX + 64], log[PEERS_PATH_MAX + 64];
    if (!find_root(name, root) || strlen(root) + strlen(name) + 32 > PEERS_PATH_MAX) {
        snprintf(why, why_size, "%s is left out: bench/peers is not there; run from the repository", name);
        return false;
    }
    static const char *const folders[] = {".cache", ".cache/bench"};
    for (size_t i = 0; i < 2; i++) {
        snprintf(folder, sizeof folder, "%s/%s", root, folders[i]);
        if (mkdir(folder, 0755) && errno != EEXIST) {
            snprintf(why, why_size, "%s is left out: %s: %s", name, folder, strerror(errno));
            return false;
        }
    }
    snprintf(path, PEERS_PATH_MAX, "%.*s/.cache/bench/%s", PEERS_PATH_MAX - 64, root, name);
    snprintf(folder, sizeof folder, "%s/bench/peers/%s", root, name);
    snprintf(log, sizeof log, "%s.log", path);
    char *const build[] = {"go", "build", "-trimpath", "-o", path, ".", NULL};
    int status = run_in(folder, log, build);
    if (status == 0) return true;
    if (status == 127)
        snprintf(why, why_size, "%s is left out: Go is not installed", name);
    else
        snprintf(why, why_size, "%s is left out: it doesn't build; see %.*s", name, 200, log);
    return false;
}

void peers_folder(char path[PEERS_PATH_MAX])
{
    char root[PEERS_PATH_MAX] = ".";
    const char *given = getenv("MYCEL_BENCH_PEERS");
    if (!given && !find_root("compute.sh", root)) root[0] = '\0';
    snprintf(path, PEERS_PATH_MAX, "%.*s%s", PEERS_PATH_MAX - 16, given ? given : root, given ? "" : "/.cache/bench");
}

bool peers_script(const char *name, char path[PEERS_PATH_MAX])
{
    char root[PEERS_PATH_MAX];
    if (!find_root(name, root)) return false;
    snprintf(path, PEERS_PATH_MAX, "%.*s/bench/peers/%s", PEERS_PATH_MAX - 64, root, name);
    return true;
}
