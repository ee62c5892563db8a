#include "tests/fake/emulator.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/fake/run.h"

enum { THREADS = 256, STACK = 64 << 10 };

struct emulated emulated;

// Saves the caller's registers on its stack and its stack pointer in *from, and goes on where `to` was saved.
void emulator_switch(void **from, void *to);
#if defined(__x86_64__)
__asm__(".text\n.globl emulator_switch\n.hidden emulator_switch\nemulator_switch:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");
enum { SAVED_WORDS = 6 };
#elif defined(__aarch64__)
__asm__(".text\n.globl emulator_switch\n.hidden emulator_switch\nemulator_switch:\n"
        "stp x29, x30, [sp, #-160]!\nstp x19, x20, [sp, #16]\nstp x21, x22, [sp, #32]\nstp x23, x24, [sp, #48]\n"
        "stp x25, x26, [sp, #64]\nstp x27, x28, [sp, #80]\nstp d8, d9, [sp, #96]\nstp d10, d11, [sp, #112]\n"
        "stp d12, d13, [sp, #128]\nstp d14, d15, [sp, #144]\n"
        "mov x9, sp\nstr x9, [x0]\nmov sp, x1\n"
        "ldp d14, d15, [sp, #144]\nldp d12, d13, [sp, #128]\nldp d10, d11, [sp, #112]\nldp d8, d9, [sp, #96]\n"
        "ldp x27, x28, [sp, #80]\nldp x25, x26, [sp, #64]\nldp x23, x24, [sp, #48]\nldp x21, x22, [sp, #32]\n"
        "ldp x19, x20, [sp, #16]\nldp x29, x30, [sp], #160\nret\n");
#endif

static struct {
    char *stacks;
    void *scheduler;
    void *at[THREADS];
    bool done[THREADS];
    uint32_t kernel;
    const void *args;
} run;

static void stop(const char *what)
{
    fprintf(stderr, "emulated kernel %s: %s\n", emulated_names[run.kernel], what);
    abort();
}

void emulator_barrier(void)
{
    const uint32_t thread = emulated.thread;
    emulator_switch(&run.at[thread], run.scheduler);
    emulated.thread = thread;
}

static void thread_main(void)
{
    const uint32_t thread = emulated.thread;
    emulated_kernel(run.kernel, run.args);
    run.done[thread] = true;
    emulator_switch(&run.at[thread], run.scheduler);
    stop("a thread went on after its end");
}

static void thread_new(uint32_t thread)
{
    void **top = (void **)(void *)(run.stacks + (size_t)(thread + 1) * STACK);
    run.done[thread] = false;
#if defined(__x86_64__)
    *--top = NULL;  // keeps the stack aligned as after a call
    *--top = (void *)(size_t)thread_main;
    for (int i = 0; i < SAVED_WORDS; i++) *--top = NULL;
#else
    for (int i = 0; i < 20; i++) *--top = NULL;
    top[1] = (void *)(size_t)thread_main;
#endif
    run.at[thread] = top;
}

static void block_run(void)
{
    for (uint32_t t = 0; t < THREADS; t++) thread_new(t);
    for (uint32_t left = THREADS; left;) {
        uint32_t ended = 0;
        for (uint32_t t = 0; t < THREADS; t++) {
            emulated.thread = t;
            emulator_switch(&run.scheduler, run.at[t]);
            ended += run.done[t];
        }
        if (ended && ended != THREADS) stop("some threads of a block ended while others wait at a barrier");
        left -= ended;
    }
}

void emulator_launch(uint32_t kernel, const void *args, const unsigned grid[3], unsigned block)
{
    if (!run.stacks) {
        run.stacks = mmap(NULL, (size_t)THREADS * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (run.stacks == MAP_FAILED) abort();
    }
    run.kernel = kernel;
    run.args = args;
    if (block != THREADS) stop("a block of another size");
    for (unsigned z = 0; z < grid[2]; z++) {
        for (unsigned y = 0; y < grid[1]; y++) {
            for (unsigned x = 0; x < grid[0]; x++) {
                emulated.block[0] = x;
                emulated.block[1] = y;
                emulated.block[2] = z;
                block_run();
            }
        }
    }
}
