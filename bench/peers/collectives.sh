#!/bin/sh
# Installs what `mycel bench aggregate --with-peers` is measured beside, into .cache/bench: OpenMPI from the system's
# packages (as root), Gloo (as the package xoscar ships it) and PCCL (for Python 3.12) each in an environment of its own.
# Whatever cannot be had is left out, and said.
cd "$(dirname "$0")/../.." || exit 1
mkdir -p .cache/bench

if ! command -v mpicc >/dev/null; then
    apt-get install -y -q --no-install-recommends openmpi-bin libopenmpi-dev >/dev/null 2>&1
fi
mpicc -O3 bench/peers/mpi_allreduce.c -o .cache/bench/mpi_allreduce || echo "left out: OpenMPI"

python3 -m venv .cache/bench/gloo &&
    .cache/bench/gloo/bin/pip install -q xoscar==0.12.2 && .cache/bench/gloo/bin/python -c 'import xoscar.collective.xoscar_pygloo' ||
    { rm -rf .cache/bench/gloo; echo "left out: Gloo"; }

for python in python3.12 "$HOME"/.pyenv/versions/3.12*/bin/python; do
    "$python" -m venv .cache/bench/pccl 2>/dev/null && break
done
.cache/bench/pccl/bin/pip install -q numpy pypccl==1.0.0
# Its library wants a CUDA driver to be there even for memory of the CPU: one whose every function fails will do.
library=$(find .cache/bench/pccl/lib* -name libpccl.so | head -1)
if [ -n "$library" ] && ldd "$library" | grep -q 'libcuda.so.1 => not found'; then
    nm -D --undefined-only "$library" | sed -n 's/^ *U \(cu[A-Za-z0-9_]*\).*/int \1(void) { return 100; }/p' |
        cc -shared -fPIC -x c - -Wl,-soname,libcuda.so.1 -o "$(dirname "$library")/libcuda.so.1"
fi
# It is built for a glibc of 2.38 and a libstdc++ of 13: six functions more than Debian 12 has (bench/peers/pccl_shim.c).
cc -O2 -shared -fPIC bench/peers/pccl_shim.c -o .cache/bench/pccl/shim.so -l:libstdc++.so.6 &&
    python3 bench/peers/pccl_weaken.py "$library" GLIBC_2.38 GLIBCXX_3.4.31 GLIBCXX_3.4.32
LD_PRELOAD=.cache/bench/pccl/shim.so LD_LIBRARY_PATH=$(dirname "$library") .cache/bench/pccl/bin/python -c 'import pccl' ||
    { rm -rf .cache/bench/pccl; echo "left out: PCCL"; }
