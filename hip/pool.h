// A pool of threads that run one job together: whoever calls `pool_run` takes part as thread 0. Waiting spins briefly,
// then sleeps, so an idle pool costs nothing. One caller at a time.
#ifndef HIP_POOL_H
#define HIP_POOL_H

#include <stdint.h>

#include "core/error.h"

struct pool;

typedef void pool_job(void *context, uint32_t thread);

// Makes threads 1 .. threads - 1; each first calls `bind(bind_context, number)` where given. threads >= 2.
CORE_MUST_USE enum core_err pool_open(uint32_t threads, pool_job *bind, void *bind_context, struct pool **out);
void pool_close(struct pool *p);

// Runs job(context, i) for every thread i and returns when all have returned.
void pool_run(struct pool *p, pool_job *job, void *context);

// Inside a job: waits until every thread has called it.
void pool_barrier(struct pool *p);

#endif
