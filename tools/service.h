// The machine's peer (node/machine.h) under systemd: `up --detach` and `join --detach` of root's start the package's
// service, so that it also comes back with the machine.
#ifndef TOOLS_SERVICE_H
#define TOOLS_SERVICE_H

#include "tools/call.h"

// Whether the service can run this call's peer: root asks for the machine's, in the background, systemd runs this
// machine, and the command line says nothing that the service would not know.
bool service_takes(const struct call *call);
// Starts it and waits until it is ready. CORE_ERR_FAILED, with what systemctl said in `said`.
CORE_MUST_USE enum core_err service_start(char *said, size_t size);

#endif
