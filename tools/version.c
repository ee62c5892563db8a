// version: what this binary is and what it runs on.
#include "node/about.h"
#include "tools/verbs.h"
#include "tools/version.h"

json_t *version_json(void)
{
    struct node_about about;
    node_about(&about);
    return json_pack("{s:s,s:s,s:s,s:{s:s,s:s,s:s,s:s,s:s}}", "version", NODE_VERSION, "build", about.build, "kernels",
                     about.kernels, "libraries", "zmq", about.zmq, "sodium", about.sodium, "msgpack", about.msgpack,
                     "hwloc", about.hwloc, "jansson", about.jansson);
}

int command_version(struct call *call)
{
    struct node_about about;
    node_about(&about);
    if (call->out.json) {
        output_json(version_json());
        return 0;
    }
    printf("mycel %s (%s), %s kernels\n", NODE_VERSION, about.build, about.kernels);
    printf("libzmq %s, libsodium %s, msgpack-c %s, hwloc %s, jansson %s\n", about.zmq, about.sodium, about.msgpack,
           about.hwloc, about.jansson);
    return 0;
}
