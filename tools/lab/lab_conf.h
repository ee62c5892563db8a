// What a lab's peers may have of the machine, kept: HOME/lab/mycel.conf is to them what /etc/mycel/mycel.conf is to
// other peers, and HOME/lab/K/mycel.conf is peer K's own. So `lab restart`, `lab run -- mycel up` and a later `lab up`
// take what the first `lab up` was given. One thread.
#ifndef TOOLS_LAB_LAB_CONF_H
#define TOOLS_LAB_LAB_CONF_H

#include "tools/call.h"

// Keeps the call's --cpus, --memory, --gpus, --share for all peers, and --http PORT as PORT + K - 1 for peer K of
// `count`. Returns an exit status, its failure printed.
int lab_conf_keep(const struct call *call, unsigned count);
// From now on programs started by this process, as peers of the lab in `home`, read the lab's file instead of the
// machine's and take nothing of MYCEL_KEY from the environment.
void lab_conf_enter(const char *home);
// Whether the lab's file says how many cpus a peer has.
bool lab_conf_has_cpus(const char *home);

#endif
