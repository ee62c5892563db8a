#include "tools/sim/jobs.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/check.h"

struct worker {
    pid_t pid;
    int pipe;
};

static bool write_all(int to, const uint8_t *data, size_t size)
{
    while (size > 0) {
        const ssize_t n = write(to, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

static bool read_all(int from, uint8_t *data, size_t size)
{
    while (size > 0) {
        const ssize_t n = read(from, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

static struct worker start(const struct jobs *j, uint64_t first)
{
    int ends[2];
    check(pipe(ends) == 0);
    fflush(NULL);
    const pid_t pid = fork();
    check(pid >= 0);
    if (pid > 0) {
        close(ends[1]);
        return (struct worker){pid, ends[0]};
    }
    close(ends[0]);
    uint8_t *result = calloc(1, j->size);
    check(result);
    for (uint64_t i = first; i < j->count; i += j->workers) {
        j->run(j->context, i, result);
        if (!write_all(ends[1], result, j->size)) break;
    }
    _exit(0);
}

static void stop(const struct worker *w)
{
    close(w->pipe);
    waitpid(w->pid, NULL, 0);
}

void jobs_run(const struct jobs *j)
{
    check(j->workers >= 1 && j->workers <= JOBS_WORKERS_MAX);
    uint8_t *result = calloc(1, j->size);
    check(result);
    struct worker workers[JOBS_WORKERS_MAX];
    const bool here = j->workers == 1;
    for (uint32_t i = 0; !here && i < j->workers; i++) workers[i] = start(j, i);
    for (uint64_t i = 0; i < j->count; i++) {
        if (here) {
            j->run(j->context, i, result);
            j->take(j->context, i, result);
            continue;
        }
        struct worker *w = &workers[i % j->workers];
        const bool ok = read_all(w->pipe, result, j->size);
        j->take(j->context, i, ok ? result : NULL);
        if (ok) continue;
        stop(w);
        *w = start(j, i + j->workers);
    }
    for (uint32_t i = 0; !here && i < j->workers; i++) stop(&workers[i]);
    free(result);
}
