// One call of the command line: its arguments, where it writes, the home it speaks of. Handed to every verb.
#ifndef TOOLS_CALL_H
#define TOOLS_CALL_H

#include <stdbool.h>

#include "node/home.h"
#include "tools/args.h"
#include "tools/output.h"

// Programs that link the modules directly and so lie outside this layer: main() hands them in.
struct tools_programs {
    int (*sim)(int argc, char **argv);    // argv[0] is "sim"
    int (*bench)(int argc, char **argv);  // argv[0] is "bench"
};

struct call {
    struct args args;
    size_t given;  // of args.set, how many stood on the command line: the first ones
    struct output out;
    char home[HOME_PATH_SIZE];     // absolute
    char program[HOME_PATH_SIZE];  // this binary
    const struct tools_programs *programs;
};

enum { CALL_WORDS_SIZE = HOME_PATH_SIZE + 32 };

// How to begin a command that shall speak of the same home: "mycel", "sudo mycel" or "mycel --home DIR".
const char *call_mycel(const struct call *call, char out[CALL_WORDS_SIZE]);

// The whole command line: parses, runs the verb, gives the exit status.
int tools_main(int argc, char **argv, const struct tools_programs *programs);

#endif
