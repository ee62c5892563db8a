#include "tools/spawn.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum core_err spawn_start(struct spawn *s, const char *program, char *const *words, const char *input)
{
    return spawn_start_in(s, -1, program, words, input);
}

enum core_err spawn_start_in(struct spawn *s, int network, const char *program, char *const *words, const char *input)
{
    *s = (struct spawn){.pid = -1, .said = memfd_create("said", MFD_CLOEXEC)};
    int in = memfd_create("input", MFD_CLOEXEC);
    size_t size = strlen(input);
    bool ready = s->said >= 0 && in >= 0 && write(in, input, size) == (ssize_t)size && lseek(in, 0, SEEK_SET) == 0;
    if (ready) s->pid = fork();
    if (s->pid == 0) {
        if ((network < 0 || setns(network, CLONE_NEWNET) == 0) && dup2(in, STDIN_FILENO) >= 0 &&
            dup2(s->said, STDOUT_FILENO) >= 0 && dup2(s->said, STDERR_FILENO) >= 0)
            execvp(program, words);
        _exit(127);
    }
    int number = errno;
    if (in >= 0) close(in);
    if (s->pid > 0) return CORE_ERR_OK;
    if (s->said >= 0) close(s->said);
    return core_error_from_errno(number);
}

int spawn_wait(struct spawn *s, char *said, size_t size)
{
    int status = 0;
    while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR) continue;
    off_t end = lseek(s->said, 0, SEEK_END);
    off_t from = end > (off_t)(size - 1) ? end - (off_t)(size - 1) : 0;
    ssize_t got = end > 0 ? pread(s->said, said, size - 1, from) : 0;
    said[got > 0 ? got : 0] = '\0';
    for (size_t n = strlen(said); n > 0 && said[n - 1] == '\n'; n--) said[n - 1] = '\0';
    close(s->said);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
