// What the files of the members' table share; nobody else's business.
#ifndef GOSSIP_MEMBERS_PARTS_H
#define GOSSIP_MEMBERS_PARTS_H

#include "gossip/members.h"

// Counts what was not taken.
void members_refuse(struct members *m, enum gossip_refusal why);
// Whether it is a member, or was one that is remembered to be gone.
bool members_known(const struct members *m, const struct core_id *id);
// Puts the member's mark into the digest, or takes it out: before and after each change of what it is made from.
void members_toggle(struct members *m, const struct member *member);

#endif
