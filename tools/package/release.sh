#!/usr/bin/env bash
# The release: `./zig.sh build release` calls it. Into FOLDER go
#
#   mycel-VERSION.tar.gz                the source, as git has it
#   mycel-VERSION-linux-ARCH.tar.gz     the binary with manual pages, completion, units and documents
#   SHA256SUMS                          of both
#
# The same commit gives the same bytes: names are sorted, times are the commit's, nobody's name or umask is in it.
#
#   tools/package/release.sh BINARY FOLDER
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022
root=$(cd "$(dirname "$0")/../.." && pwd)
binary=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
here=$root/tools/package
die() {
    echo "release.sh: $*" >&2
    exit 1
}
git -C "$root" rev-parse -q --verify HEAD >/dev/null || die "$root is no git checkout: a release is made from a commit"
# The source is the commit's, the binary was built from what lies here: they must be one.
if [ -z "${MYCEL_RELEASE_DIRTY:-}" ] && [ -n "$(git -C "$root" status --porcelain)" ]; then
    die "there are changes that are in no commit; commit them (MYCEL_RELEASE_DIRTY=1 goes on, with the source of HEAD)"
fi
version=$("$binary" version --json | sed -E 's/.*"version": ?"([^"]*)".*/\1/')
arch=$(uname -m)
epoch=$(git -C "$root" log -1 --format=%ct)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

# packed NAME: the folder NAME of $tree as OUT/NAME.tar.gz.
packed() {
    tar -C "$tree" --sort=name --format=ustar --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw,a-s -cf - "$1" |
        gzip -9n >"$out/$1.tar.gz"
}

git -C "$root" archive --format=tar --prefix="mycel-$version/" HEAD | tar -C "$tree" -xf -
packed "mycel-$version"

name=mycel-$version-linux-$arch
put() { install -D -m "$1" "$2" "$tree/$name/$3"; }
put 755 "$binary" bin/mycel
mkdir -p "$tree/$name"/{man/man1,man/man5,completion}
"$binary" help --man >"$tree/$name/man/man1/mycel.1"
"$binary" help --man mycel.conf >"$tree/$name/man/man5/mycel.conf.5"
"$binary" help | sed -nE 's/^  ([a-z]+) +[^ -].*/\1/p' | sort -u | while read -r verb; do
    "$binary" help --man "$verb" >"$tree/$name/man/man1/mycel-$verb.1"
done
for shell in bash zsh fish; do "$binary" completion $shell >"$tree/$name/completion/mycel.$shell"; done
"$binary" conf --example >"$tree/$name/mycel.conf.example"
for unit in mycel.service mycel-user.service; do put 644 "$here/$unit" "systemd/$unit"; done
for file in README.md CHANGELOG.md SECURITY.md; do put 644 "$root/$file" "$file"; done
put 644 "$here/copyright" COPYRIGHT
(cd "$root" && git ls-files docs tools/grafana.json) | while read -r file; do put 644 "$root/$file" "$file"; done
packed "$name"
(cd "$out" && sha256sum "mycel-$version.tar.gz" "$name.tar.gz" | tee SHA256SUMS)
