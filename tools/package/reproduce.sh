#!/usr/bin/env bash
# Builds the last commit twice, in two folders with a cache each, and compares the packages byte by byte. Some minutes.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for place in one another/place; do
    mkdir -p "$work/$place"
    git -C "$root" archive HEAD | tar -C "$work/$place" -xf -
    ln -s "$root/.venv" "$work/$place/.venv"
    (cd "$work/$place" && ./zig.sh build deb)
done
cmp "$work"/one/zig-out/*.deb "$work"/another/place/zig-out/*.deb && echo "The same bytes."
