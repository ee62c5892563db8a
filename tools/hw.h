// Between the two halves of `hw`.
#ifndef TOOLS_HW_H
#define TOOLS_HW_H

#include <jansson.h>

#include "tools/verbs.h"

// Its "machine", as text on stdout.
void hw_print_machine(const json_t *machine);
// hw --topology FILE [--peers N].
int command_hw_plan(struct call *call);

#endif
