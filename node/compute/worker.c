#include "node/compute/worker.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/check.h"

enum core_err inbox_open(struct inbox *inbox, void *context)
{
    *inbox = (struct inbox){.context = context};
    inbox->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (inbox->fd < 0) return core_error_from_errno(errno);
    pthread_mutex_init(&inbox->mutex, NULL);
    return CORE_ERR_OK;
}

void inbox_close(struct inbox *inbox)
{
    if (inbox->fd <= 0) return;
    close(inbox->fd);
    pthread_mutex_destroy(&inbox->mutex);
    inbox->fd = -1;
}

void inbox_post(struct inbox *inbox, struct job *job)
{
    pthread_mutex_lock(&inbox->mutex);
    job->next = NULL;
    if (inbox->last)
        inbox->last->next = job;
    else
        inbox->first = job;
    inbox->last = job;
    pthread_mutex_unlock(&inbox->mutex);
    uint64_t one = 1;
    // Only a counter at its maximum could refuse, and then the loop is woken anyway.
    if (write(inbox->fd, &one, sizeof one) < 0) return;
}

void inbox_take(struct inbox *inbox)
{
    uint64_t count;
    if (read(inbox->fd, &count, sizeof count) < 0 && errno != EAGAIN) return;
    pthread_mutex_lock(&inbox->mutex);
    struct job *job = inbox->first;
    inbox->first = inbox->last = NULL;
    pthread_mutex_unlock(&inbox->mutex);
    while (job) {
        struct job *next = job->next;
        job->done(job, inbox->context);
        job = next;
    }
}

// The most urgent job, or NULL.
static struct job *take(struct worker *w)
{
    for (int p = 0; p < JOB_PRIORITIES; p++) {
        struct job *job = w->first[p];
        if (!job) continue;
        w->first[p] = job->next;
        if (!w->first[p]) w->last[p] = NULL;
        w->waiting--;
        return job;
    }
    return NULL;
}

static void *work(void *argument)
{
    struct worker *w = argument;
    atomic_store(&w->tid, gettid());
    if (w->begin) w->begin(w);
    pthread_mutex_lock(&w->mutex);
    for (;;) {
        struct job *job = take(w);
        if (!job && w->stopping) break;
        if (!job) {
            pthread_cond_wait(&w->wake, &w->mutex);
            continue;
        }
        w->current = job;
        bool cancelled = w->stopping || atomic_load(&job->cancelled);
        pthread_mutex_unlock(&w->mutex);
        if (cancelled)
            job->err = CORE_ERR_INTERRUPTED;
        else
            job->run(job, w);
        pthread_mutex_lock(&w->mutex);
        w->current = NULL;
        inbox_post(w->inbox, job);
    }
    pthread_mutex_unlock(&w->mutex);
    if (w->end) w->end(w);
    return NULL;
}

enum core_err worker_start(struct worker *w, const char *name, struct inbox *inbox, void (*begin)(struct worker *),
                           void (*end)(struct worker *), void *state)
{
    *w = (struct worker){.name = name, .inbox = inbox, .begin = begin, .end = end, .state = state};
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->wake, NULL);
    int failed = pthread_create(&w->thread, NULL, work, w);
    if (failed) return core_error_from_errno(failed);
    w->started = true;
    pthread_setname_np(w->thread, name);
    return CORE_ERR_OK;
}

void worker_submit(struct worker *w, struct job *job)
{
    check(job->run && job->done && job->priority < JOB_PRIORITIES);
    if (!w->started) {  // the peer is going down
        job->err = CORE_ERR_INTERRUPTED;
        inbox_post(w->inbox, job);
        return;
    }
    pthread_mutex_lock(&w->mutex);
    job->next = NULL;
    if (w->last[job->priority])
        w->last[job->priority]->next = job;
    else
        w->first[job->priority] = job;
    w->last[job->priority] = job;
    w->waiting++;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
}

uint32_t worker_load(struct worker *w)
{
    pthread_mutex_lock(&w->mutex);
    uint32_t load = w->waiting + (w->current ? 1 : 0);
    pthread_mutex_unlock(&w->mutex);
    return load;
}

bool worker_pressed(struct worker *w, enum job_priority priority)
{
    pthread_mutex_lock(&w->mutex);
    bool pressed = w->stopping;
    for (int p = 0; p < (int)priority; p++) pressed = pressed || w->first[p];
    pthread_mutex_unlock(&w->mutex);
    return pressed;
}

void worker_stop(struct worker *w)
{
    if (!w->started) return;
    pthread_mutex_lock(&w->mutex);
    w->stopping = true;
    if (w->current) atomic_store(&w->current->cancelled, true);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->mutex);
    pthread_cond_destroy(&w->wake);
    w->started = false;
}
