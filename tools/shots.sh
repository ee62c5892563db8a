#!/bin/bash
# Pictures of the live page and of the map into docs/pictures (or FOLDER): tools/shots.sh [FOLDER]
set -eu
cd "$(dirname "$0")/.."
. tools/setup.sh

command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null || setup_packages chromium-headless-shell fonts-dejavu-core
setup_packages libmicrohttpd12
[ -x zig-out/bin/mycel ] || ./zig.sh build
exec python3 tools/shots.py "$@"
