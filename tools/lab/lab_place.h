// Where a lab's peers lie: all on this machine's loopback, or spread over hosts made of network namespaces. Which it is
// stands in HOME/lab/hosts and stays for the lab's life. One thread.
#ifndef TOOLS_LAB_LAB_PLACE_H
#define TOOLS_LAB_LAB_PLACE_H

#include "tools/lab/hosts_verbs.h"

enum { LAB_ADDRESS_SIZE = 32 };

struct lab_place {
    char tag[HOSTS_TAG_SIZE];
    struct hosts_options hosts;  // count 0: loopback
};

// As the lab at `home` has it; loopback when it doesn't say.
void lab_place_read(struct lab_place *place, const char *home);
// Takes the call's --hosts and limits, checks them against a lab of `peers` peers that is there already, makes the
// hosts where they are missing or have other limits now, and keeps it all. Returns an exit status, its failure printed.
int lab_place_make(struct lab_place *place, const struct call *call, unsigned peers);
// The host of peer `number`, from 1; 0 on loopback. Peers go round the hosts.
unsigned lab_place_host(const struct lab_place *place, unsigned number);
// Its network for spawn_start_in, to be closed by the caller; -1 on loopback.
int lab_place_network(const struct lab_place *place, unsigned number);
// Where peer `number` is to listen: a free port of 127.0.0.1, or its host's address.
char *lab_place_listen(char out[LAB_ADDRESS_SIZE], const struct lab_place *place, unsigned number);

#endif
