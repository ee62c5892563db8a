// exp, log, sin and cos with the same bits on every machine: polynomials over fma after a fixed range reduction. Used
// on the host for schedules and tables; the kernels use the same steps on vectors (hip/vector_math.inc). Pure, any
// thread. Errors were measured against libm's double over every float of the domain (tests/unit/hip/math.c,
// MYCEL_FULL=1).
#ifndef HIP_MATH_H
#define HIP_MATH_H

// e^x. x <= -104 gives +0, x >= 88.72284 gives +infinity, between: subnormals as they come. NaN gives NaN.
float hip_math_exp(float x);
// Natural logarithm. +0 gives -infinity, x < 0 a NaN; subnormals are treated exactly.
float hip_math_log(float x);
// x in radians, |x| <= 65536; beyond it the error grows.
float hip_math_sin(float x);
float hip_math_cos(float x);
// x / (1 + exp(-x)).
float hip_math_silu(float x);
// 1 / sqrt(x), by IEEE's two operations.
float hip_math_rsqrt(float x);

#endif
