// How findings write numbers. Each function writes into `out` and returns it.
#ifndef NODE_DOCTOR_CHECKS_TEXT_H
#define NODE_DOCTOR_CHECKS_TEXT_H

#include <stdint.h>

enum { CHECKS_SHORT = 32 };

char *checks_span(char out[CHECKS_SHORT], uint64_t seconds);    // "40 s", "5 min", "3 h", "12 days"
char *checks_size(char out[CHECKS_SHORT], uint64_t bytes);      // "1.2 GB" (powers of 1000), "no limit"
char *checks_number(char out[CHECKS_SHORT], uint64_t number);   // "no limit" for UINT64_MAX
char *checks_offset(char out[CHECKS_SHORT], int64_t ahead_ms);  // "70 s ahead of", "3 h behind"

#endif
