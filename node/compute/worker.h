// Worker threads: the loop hands a job to a worker, the worker runs it, and the job comes back to the loop through an
// inbox that wakes it. A job carries all that it needs; nothing of the loop's state is touched outside the loop.
//
//   loop thread: worker_submit --> queue (urgent first) --> worker thread: job->run --> inbox --> loop: job->done
//
// Jobs belong to whoever submitted them until submit, to the worker until done, and to `done` from then on.
#ifndef NODE_COMPUTE_WORKER_H
#define NODE_COMPUTE_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

struct worker;

enum job_priority { JOB_URGENT, JOB_NORMAL, JOB_LOW, JOB_PRIORITIES };

struct job {
    struct job *next;
    const char *name;  // "train", for status and events
    enum job_priority priority;
    void (*run)(struct job *job, struct worker *worker);  // worker's thread
    void (*done)(struct job *job, void *context);         // loop's thread, with the inbox's context; frees the job
    _Atomic bool cancelled;                               // set by the loop; a long `run` looks at it
    enum core_err err;                                    // what `run` says
};

// Where finished jobs wait for the loop. `fd` becomes readable when there is something.
struct inbox {
    pthread_mutex_t mutex;
    struct job *first, *last;
    int fd;
    void *context;
};

CORE_MUST_USE enum core_err inbox_open(struct inbox *inbox, void *context);
// Frees nothing that is still in it: stop the workers and take what is left first.
void inbox_close(struct inbox *inbox);
void inbox_post(struct inbox *inbox, struct job *job);  // any thread
// Calls `done` of everything that is there. Loop's thread.
void inbox_take(struct inbox *inbox);

struct worker {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct job *first[JOB_PRIORITIES], *last[JOB_PRIORITIES];
    struct job *current;
    uint32_t waiting;
    bool stopping, started;
    _Atomic int tid;  // the kernel's number of the thread, once it runs
    struct inbox *inbox;
    const char *name;
    void (*begin)(struct worker *worker);  // on the worker's thread, first; may be NULL
    void (*end)(struct worker *worker);    // on the worker's thread, last; may be NULL
    void *state;                           // the worker's own, for its jobs
};

// Starts the thread. `name` lives as long as the worker.
CORE_MUST_USE enum core_err worker_start(struct worker *w, const char *name, struct inbox *inbox,
                                         void (*begin)(struct worker *), void (*end)(struct worker *), void *state);
void worker_submit(struct worker *w, struct job *job);
// Jobs waiting and running.
uint32_t worker_load(struct worker *w);
// True while something more urgent than `priority` waits: long low jobs give way by submitting their rest anew.
bool worker_pressed(struct worker *w, enum job_priority priority);
// Cancels what runs and waits; every job still comes back through the inbox (cancelled ones with INTERRUPTED). Joins.
void worker_stop(struct worker *w);

#endif
