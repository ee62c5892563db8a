// check(): an assertion in every build mode. For a programmer's error only; what a peer or a disk says is an error
// code. The file goes without its folders: where it was built is nobody's business, and the same source gives the same
// bytes anywhere.
#ifndef CORE_CHECK_H
#define CORE_CHECK_H

__attribute__((noreturn)) void core_check_failed(const char *what, const char *file, int line);

#define check(condition)                                                                               \
    do {                                                                                               \
        if (__builtin_expect(!(condition), 0)) core_check_failed(#condition, __FILE_NAME__, __LINE__); \
    } while (0)

#endif
