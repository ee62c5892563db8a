// The machine's own peer, as the Debian package sets it up: its home is /var/lib/mycel, which belongs to the user
// mycel, and its control socket lies in /run/mycel, where root and that user find it whatever their environment says.
// Root without a peer of its own speaks of this one, so that `sudo mycel status` does what one means. Where that folder
// isn't, or is root's, nothing here does anything. One thread.
#ifndef NODE_MACHINE_H
#define NODE_MACHINE_H

#include <stdbool.h>

#include "core/error.h"

// The home of the machine's peer, whether or not one lives there; NULL where the package isn't installed.
const char *machine_home(void);
// Whether `home` (absolute) is that one.
bool machine_is_home(const char *home);
// Where the control socket of `home` lies: the folder, or NULL when it is no home of the machine's or nobody has made
// the folder yet (systemd does when it starts the service).
const char *machine_runtime(const char *home);

// Root acts as the owner of the machine's `home` from here on, so that every file it makes there is the peer's: until
// machine_as_root, or for good. Any other user and any other home: nothing happens. CORE_ERR_REFUSED.
CORE_MUST_USE enum core_err machine_as_owner(const char *home, bool for_good);
CORE_MUST_USE enum core_err machine_as_root(void);

#endif
