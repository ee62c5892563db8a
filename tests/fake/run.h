// Runs one launch on the calling thread.
#ifndef TESTS_FAKE_RUN_H
#define TESTS_FAKE_RUN_H

#include <stdint.h>

void emulator_launch(uint32_t kernel, const void *args, const unsigned grid[3], unsigned block);

#endif
