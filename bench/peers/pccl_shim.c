// What PCCL's library wants of a glibc of 2.38 and a libstdc++ of 13 (six functions), for systems with older ones:
// preloaded, after bench/peers/pccl_weaken.py made those versions optional in it. Its own code stays as it is.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern void _ZNSt8ios_base4InitC1Ev(void *);  // std::ios_base::Init::Init()

long __isoc23_strtol(const char *text, char **end, int base)
{
    return strtol(text, end, base);
}

unsigned long long __isoc23_strtoull(const char *text, char **end, int base)
{
    return strtoull(text, end, base);
}

int __isoc23_sscanf(const char *text, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int got = vsscanf(text, format, list);
    va_end(list);
    return got;
}

int __isoc23_fscanf(FILE *file, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int got = vfscanf(file, format, list);
    va_end(list);
    return got;
}

// Newer libraries set the streams up by themselves, older ones for whoever has an object of this kind.
void _ZSt21ios_base_library_initv(void)
{
    static char object[16];
    _ZNSt8ios_base4InitC1Ev(object);
}

// std::string: `size` bytes from `from`, which lies in the string itself, take the place of `old` bytes at `at`; `rest`
// bytes follow those.
void _ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE15_M_replace_coldEPcmPKcmm(void *string, char *at, size_t old,
                                                                                     const char *from, size_t size,
                                                                                     size_t rest)
{
    (void)string;
    char *copy = malloc(size + 1);
    if (!copy) abort();
    memcpy(copy, from, size);
    memmove(at + size, at + old, rest);
    memcpy(at, copy, size);
    free(copy);
}
