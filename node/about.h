// What this binary is: for `mycel version`, the status and the log's first line. Any thread.
#ifndef NODE_ABOUT_H
#define NODE_ABOUT_H

#define NODE_VERSION "0.1.0"

struct node_about {
    const char *build;  // "release" or "debug"
    char kernels[16];   // the CPU's kernels in use: "avx512", "avx2", "portable"; "none" for an unknown MYCEL_ISA
    char zmq[16], sodium[16], hwloc[16], jansson[16], msgpack[16];  // libraries as linked now
};

void node_about(struct node_about *about);

#endif
