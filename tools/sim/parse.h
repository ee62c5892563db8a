// What the simulator's two command lines have in common: numbers in a range, and sets of names. Pure, any thread.
#ifndef TOOLS_SIM_PARSE_H
#define TOOLS_SIM_PARSE_H

#include <stdbool.h>
#include <stdint.h>

// A decimal number, whole, from `low` to `high`. False for anything else.
bool sim_parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *value);
// "all" (the set `all`), "none", or names with commas: name i is bit i. False for an unknown name or none at all.
bool sim_parse_set(const char *text, const char *const *names, uint32_t count, uint32_t all, uint32_t *set);

#endif
