// ThreadSanitizer before any library's constructors. Zig links its runtime without the usual preinit hook, and libzmq
// brings libstdc++, whose constructors call intercepted functions first: the program would crash before main. Include
// this in a test of a module that links libzmq.
//
// libzmq itself is not instrumented: what its queues order, ThreadSanitizer cannot see, so its own accesses are left
// out.
#ifndef TESTS_TSAN_START_H
#define TESTS_TSAN_START_H

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
void __tsan_init(void);
__attribute__((section(".preinit_array"), used)) static void (*const tsan_start)(void) = __tsan_init;

const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:libzmq.so\n"
           "race:libstdc++.so\n"
           "race:crypto_secretbox_open_detached\n";  // CURVE, in libzmq's I/O thread
}
#endif
#endif

#endif
