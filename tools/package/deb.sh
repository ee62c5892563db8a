#!/usr/bin/env bash
# Makes mycel_VERSION_ARCH.deb from a built binary: `./zig.sh build deb` calls it. The same commit gives the same bytes.
#
#   tools/package/deb.sh BINARY FOLDER
set -euo pipefail
export LC_ALL=C
root=$(cd "$(dirname "$0")/../.." && pwd)
binary=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
here=$root/tools/package
version=$("$binary" version --json | sed -E 's/.*"version": ?"([^"]*)".*/\1/')
arch=$(dpkg --print-architecture)
: "${SOURCE_DATE_EPOCH:=$(git -C "$root" log -1 --format=%ct 2>/dev/null || stat -c %Y "$root/build.zig")}"
export SOURCE_DATE_EPOCH
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
umask 022
chmod 755 "$tree"

put() { install -D -m "$1" "$2" "$tree/$3"; }
# compressed TEXT: standard input, compressed without a time stamp.
compressed() {
    mkdir -p "$(dirname "$tree/$1")"
    gzip -9n >"$tree/$1"
}

put 755 "$binary" usr/bin/mycel
"$binary" help --man | compressed usr/share/man/man1/mycel.1.gz
"$binary" help --man mycel.conf | compressed usr/share/man/man5/mycel.conf.5.gz
mkdir -p "$tree/etc/mycel" "$tree/DEBIAN"
"$binary" conf --example >"$tree/etc/mycel/mycel.conf"
echo /etc/mycel/mycel.conf >"$tree/DEBIAN/conffiles"
"$binary" help | sed -nE 's/^  ([a-z]+) +[^ -].*/\1/p' | sort -u | while read -r verb; do
    "$binary" help --man "$verb" | compressed "usr/share/man/man1/mycel-$verb.1.gz"
done
for shell in bash:usr/share/bash-completion/completions/mycel zsh:usr/share/zsh/vendor-completions/_mycel \
    fish:usr/share/fish/vendor_completions.d/mycel.fish; do
    mkdir -p "$(dirname "$tree/${shell#*:}")"
    "$binary" completion "${shell%%:*}" >"$tree/${shell#*:}"
done
put 644 "$here/mycel.service" usr/lib/systemd/system/mycel.service
put 644 "$here/mycel-user.service" usr/lib/systemd/user/mycel.service
put 644 "$here/sysusers.conf" usr/lib/sysusers.d/mycel.conf
put 644 "$here/copyright" usr/share/doc/mycel/copyright
put 644 "$root/tools/grafana.json" usr/share/doc/mycel/grafana.json
{
    echo "mycel ($version) stable; urgency=medium"
    printf '\n  * See /usr/share/doc/mycel/CHANGELOG.md.gz.\n\n'
    echo " -- The mycel authors <mycel@mycel.invalid>  $(date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | compressed usr/share/doc/mycel/changelog.gz
compressed usr/share/doc/mycel/CHANGELOG.md.gz <"$root/CHANGELOG.md"
for name in README.md SECURITY.md docs/tutorial.md docs/commands.md docs/json.md; do
    compressed "usr/share/doc/mycel/$(basename "$name").gz" <"$root/$name"
done
for name in "$root"/docs/howto/*.md; do
    compressed "usr/share/doc/mycel/howto/$(basename "$name").gz" <"$name"
done

# The packages that hold the libraries it links, in the versions that are here or newer.
depends=$(ldd "$binary" | sed -nE 's/.*=> (\/[^ ]+).*/\1/p' | xargs -n1 realpath | sort -u | while read -r library; do
    # Debian 12 records some under /lib, which is /usr/lib.
    { dpkg -S "$library" "${library#/usr}" 2>/dev/null || true; } | head -1 | cut -d: -f1
done | sort -u | grep -Ex 'libc6|libzmq5|libsodium[0-9]+|libmsgpack.*|libhwloc[0-9]+|libjansson4|libssl3.*|libncursesw6|libtinfo6|libgcc-s1' | while read -r name; do
    echo "$name (>= $(dpkg-query -W -f='${Version}' "$name" | sed -E 's/^([0-9]+\.[0-9]+).*/\1/'))"
done | paste -sd, | sed 's/,/, /g')
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@DEPENDS@/$depends/" \
    -e "s/@SIZE@/$(du -sk --apparent-size "$tree/usr" | cut -f1)/" "$here/control.in" >"$tree/DEBIAN/control"
for script in postinst prerm postrm; do install -m 755 "$here/$script" "$tree/DEBIAN/$script"; done
(cd "$tree" && find usr -type f | sort | xargs md5sum) >"$tree/DEBIAN/md5sums"
find "$tree" -print0 | xargs -0 touch -h -d "@$SOURCE_DATE_EPOCH"
dpkg-deb --root-owner-group -Zxz -z"${MYCEL_DEB_LEVEL:-6}" --build "$tree" "$out/mycel_${version}_$arch.deb" >/dev/null
(cd "$out" && sha256sum "mycel_${version}_$arch.deb" | tee "mycel_${version}_$arch.deb.sha256")
