#!/bin/sh
# Installs what `mycel bench gemm` and `mycel bench step` are measured beside with --with-peers, into .cache/bench: MKL,
# PyTorch (with what its compiler needs) and JAX, each in an environment of its own; OpenBLAS from the system's packages
# (as root). Some 6 GiB, most of it libraries for GPUs that PyTorch's package will not load without. Whatever cannot be
# had is left out, and said.
cd "$(dirname "$0")/../.." || exit 1
mkdir -p .cache/bench

ldconfig -p | grep -q libopenblas.so.0 ||
    apt-get install -y -q --no-install-recommends libopenblas0-pthread >/dev/null 2>&1 || echo "left out: OpenBLAS"

# NAME CHECK PACKAGE...: an environment .cache/bench/NAME with the packages, gone again where the check fails.
install() {
    name=$1 check=$2
    shift 2
    python3 -m venv ".cache/bench/$name" && ".cache/bench/$name/bin/pip" install -q "$@" &&
        ".cache/bench/$name/bin/python" -c "$check" ||
        { rm -rf ".cache/bench/$name"; echo "left out: $name"; }
}

install mkl 'import ctypes, glob, sys; ctypes.CDLL(glob.glob(sys.prefix + "/lib/libmkl_rt.so*")[0])' mkl==2026.2.0
install jax 'import jax, optax' jax==0.10.2 optax numpy
install torch 'import torch' torch==2.15.0 numpy
