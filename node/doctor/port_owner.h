// Who listens on a TCP port of this machine, out of /proc: for a sentence, so that nothing found is no error.
#ifndef NODE_DOCTOR_PORT_OWNER_H
#define NODE_DOCTOR_PORT_OWNER_H

#include <stddef.h>
#include <stdint.h>

// "nginx (process 812)" into `out`; "" where nobody is found, or it is another user's process. Blocks briefly.
void port_owner(uint16_t port, char *out, size_t size);

#endif
