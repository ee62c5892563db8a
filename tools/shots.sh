#!/bin/bash
# Pictures of the live page and of the map into docs/pictures (or FOLDER): tools/shots.sh [FOLDER]
# tools/shots.sh --axe fetches axe-core into .cache/axe instead, for the accessibility case of tests/e2e/cases_page.py.
set -eu
cd "$(dirname "$0")/.."
. tools/setup.sh

AXE_VERSION=4.10.2
if [ "${1-}" = --axe ]; then
    command -v npm >/dev/null || die "axe-core comes by npm: apt-get install npm"
    mkdir -p .cache/axe
    (cd .cache/axe && npm pack --silent "axe-core@$AXE_VERSION" >/dev/null && tar xzf "axe-core-$AXE_VERSION.tgz" --strip-components=1 package/axe.min.js)
    echo ".cache/axe/axe.min.js"
    exit 0
fi
command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null || setup_packages chromium-headless-shell fonts-dejavu-core
setup_packages libmicrohttpd12
[ -x zig-out/bin/mycel ] || ./zig.sh build
exec python3 tools/shots.py "$@"
