#!/bin/sh
# The pinned Zig from .venv (./quickstart --build-only installs it): ./zig.sh build test
exec "$(dirname "$0")/.venv/bin/python" -m ziglang "$@"
