// The tests that main.c runs one after the other, each a cmocka group with its number of failures.
#ifndef TESTS_DEVICE_PARTS_H
#define TESTS_DEVICE_PARTS_H

// tests/unit/hip and tests/unit/learn/golden.c, compiled for the device.
int gemm_main(void);
int attention_main(void);
int elements_main(void);
int rows_main(void);
int golden_main(void);

int large_tests(void);  // large.c
int rates_tests(void);  // rates.c

#endif
