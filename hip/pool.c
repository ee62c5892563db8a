#include "hip/pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

// Rounds of `pause` before a waiter sleeps: some 20 us, more than the gap between two launches of a training step.
enum { SPIN_ROUNDS = 1000 };

struct pool {
    uint32_t threads;
    pool_job *job;
    void *context;
    pool_job *bind;
    void *bind_context;
    pthread_t *ids;
    // Each on its own cache line: workers spin on one while others are written.
    _Alignas(64) atomic_uint launch;    // counts launches; workers wait for it to change
    _Alignas(64) atomic_uint running;   // workers that have not finished this launch
    _Alignas(64) atomic_uint arrived;   // at the barrier
    _Alignas(64) atomic_uint passed;    // counts barriers; waiters wait for it to change
    _Alignas(64) atomic_uint sleepers;  // waiters inside the kernel: a wake-up is needed
    atomic_bool closing;
};

struct start {
    struct pool *pool;
    uint32_t number;
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Waits until *word is no longer `old`.
static void wait_while(struct pool *p, atomic_uint *word, unsigned old)
{
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != old) return;
        relax();
    }
    atomic_fetch_add(&p->sleepers, 1);
    while (atomic_load(word) == old) syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    atomic_fetch_sub(&p->sleepers, 1);
}

// After a change of *word. `sleepers` is raised before a waiter reads the word again, so none is missed.
static void wake(struct pool *p, atomic_uint *word)
{
    if (atomic_load(&p->sleepers)) syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void *worker_main(void *argument)
{
    struct start start = *(struct start *)argument;
    struct pool *p = start.pool;
    free(argument);
    if (p->bind) p->bind(p->bind_context, start.number);
    for (unsigned seen = 0;; seen++) {
        wait_while(p, &p->launch, seen);
        if (atomic_load(&p->closing)) return NULL;
        p->job(p->context, start.number);
        if (atomic_fetch_sub(&p->running, 1) == 1) wake(p, &p->running);
    }
}

static void stop(struct pool *p, uint32_t made)
{
    atomic_store(&p->closing, true);
    atomic_fetch_add(&p->launch, 1);
    syscall(SYS_futex, &p->launch, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    for (uint32_t i = 1; i < made; i++) pthread_join(p->ids[i], NULL);
    free(p->ids);
    free(p);
}

enum core_err pool_open(uint32_t threads, pool_job *bind, void *bind_context, struct pool **out)
{
    struct pool *p = aligned_alloc(64, sizeof *p);
    if (!p) return CORE_ERR_NO_MEMORY;
    *p = (struct pool){.threads = threads, .bind = bind, .bind_context = bind_context};
    p->ids = calloc(threads, sizeof *p->ids);
    if (!p->ids) {
        free(p);
        return CORE_ERR_NO_MEMORY;
    }
    for (uint32_t i = 1; i < threads; i++) {
        struct start *start = malloc(sizeof *start);
        if (start) *start = (struct start){p, i};
        if (!start || pthread_create(&p->ids[i], NULL, worker_main, start)) {
            free(start);
            stop(p, i);
            return CORE_ERR_NO_MEMORY;
        }
    }
    *out = p;
    return CORE_ERR_OK;
}

void pool_close(struct pool *p)
{
    if (p) stop(p, p->threads);
}

void pool_run(struct pool *p, pool_job *job, void *context)
{
    p->job = job;
    p->context = context;
    atomic_store(&p->running, p->threads - 1);
    atomic_fetch_add(&p->launch, 1);
    wake(p, &p->launch);
    job(context, 0);
    for (unsigned n; (n = atomic_load_explicit(&p->running, memory_order_acquire)) != 0;) wait_while(p, &p->running, n);
}

void pool_barrier(struct pool *p)
{
    unsigned round = atomic_load(&p->passed);
    if (atomic_fetch_add(&p->arrived, 1) + 1 < p->threads) {
        wait_while(p, &p->passed, round);
        return;
    }
    atomic_store(&p->arrived, 0);
    atomic_fetch_add(&p->passed, 1);
    wake(p, &p->passed);
}
