#!/usr/bin/env bash
# Tries the Debian package on a Debian 12 that holds nothing else: installs it there under a running systemd, puts the
# machine's peer and a user's peer in service, upgrades, removes and purges it. As root, some minutes the first time.
#
#   tools/package/try.sh PACKAGE.deb
#
# Needs debootstrap and this machine's own apt sources. The system is kept in .cache/package for the next time; what is
# tried is a copy of it in a mount, process and network namespace of its own, so nothing here is changed.
set -euo pipefail
export LC_ALL=C
root=$(cd "$(dirname "$0")/../.." && pwd)
[ $# -eq 1 ] && [ -f "$1" ] || { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2; }
package=$(realpath "$1")
cache=$root/.cache/package
die() {
    echo "try.sh: $*" >&2
    exit 1
}
[ "$(id -u)" -eq 0 ] || die "this needs root: sudo $0 $1"
command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"
groups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[ -n "$groups" ] || die "no cgroup2 is mounted here, and systemd needs one"

# ---- a clean system ----

# Debian's own packages alone, from where this machine has them.
clean_system() {
    [ -f "$cache/ready" ] && return 0
    local mirror
    mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE) $(CREATED_BY)' |
        awk '$2 == "bookworm" && $3 == "Packages" { print $1; exit }')
    [ -n "$mirror" ] || die "this machine's apt has no Debian 12 (bookworm)"
    mkdir -p "$cache"
    rm -rf "$cache/system"
    debootstrap --variant=minbase bookworm "$cache/system" "$mirror"
    cp /etc/resolv.conf "$cache/system/etc/resolv.conf"
    chroot "$cache/system" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive chroot "$cache/system" apt-get install -y -qq --no-install-recommends \
        systemd-sysv dbus dbus-user-session libpam-systemd sudo
    chroot "$cache/system" systemctl mask console-getty.service
    touch "$cache/ready"
}

work=$(mktemp -d)
control=$groups/mycel-try-$$
unshare=0
tidy_up() {
    [ "$unshare" = 0 ] || { kill -9 "$unshare" && wait "$unshare"; } 2>/dev/null || true
    local try
    for try in $(seq 50); do  # its processes end one after the other
        [ ! -d "$control" ] || find "$control" -depth -type d -exec rmdir {} \; 2>/dev/null || true
        [ -d "$control" ] || break
        sleep 0.1
    done
    rm -rf --one-file-system "$work"
}
trap tidy_up EXIT

# What runs in the new namespaces: mounts what systemd wants and becomes it.
cat >"$work/boot" <<'BOOT'
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 none sys/fs/cgroup
mount -t tmpfs -o mode=755 none run
mount -t tmpfs none tmp
mount -t tmpfs -o mode=755 none dev
mkdir dev/pts dev/shm
for device in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "dev/${device%:*}" c 1 "${device#*:}"; done
mknod -m 666 dev/tty c 5 0
mount -t devpts -o newinstance,ptmxmode=666 none dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 none dev/shm
pivot_root . mnt
exec chroot . env -i container=try PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    sh -c 'umount -l /mnt; exec /lib/systemd/systemd --log-target=journal >/dev/null 2>&1'
BOOT

boot() {
    local waited
    mkdir "$control"
    setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-syslog,-sys_boot sh -euc \
        'echo $$ >"$1/cgroup.procs"; exec unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child sh -eu "$2" "$3"' \
        sh "$control" "$work/boot" "$work/system" &
    unshare=$!
    for waited in $(seq 300); do
        init=$(tr -d ' ' <"/proc/$unshare/task/$unshare/children") || die "the system did not start"
        [ -z "$init" ] || [ "$(cat "/proc/$init/comm")" != systemd ] || [ "$(inside systemctl is-system-running 2>&1)" != running ] ||
            return 0
        sleep 0.1
    done
    inside systemctl --failed >&2 || true
    die "its systemd is not up after 30 s ($waited tries)"
}

inside() {
    nsenter -t "$init" -m -p -n -u -i -C -r -w env -i HOME=/root DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
anna() { inside runuser -l anna -c "$*"; }

# ---- what must hold ----

# expect TEXT COMMAND...: it succeeds, and prints TEXT.
expect() {
    local text=$1 out
    shift
    out=$("$@" 2>&1) || die "'$*' failed: $out"
    case $out in *"$text"*) ;; *) die "'$*' does not say '$text': $out" ;; esac
}
# until_it TEXT COMMAND...: it prints TEXT within 30 s.
until_it() {
    local text=$1 out i
    shift
    for i in $(seq 150); do
        out=$("$@" 2>&1) || true
        case $out in *"$text"*) return 0 ;; esac
        sleep 0.2
    done
    die "'$*' does not say '$text' after 30 s ($i tries): $out"
}
# Every file and user, but for what apt and the journal write down about any package.
snapshot() {
    {
        inside find / -xdev \( -path /var/cache -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/log -o -path /root \) -prune \
            -o -printf '%p %M %u %l\n'
        inside getent passwd
    } | sort
}
step() { echo "==> $*"; }

step "a clean Debian 12"
clean_system
mkdir "$work/system"
cp -a "$cache/system/." "$work/system"
cp "$package" "$work/system/root/mycel.deb"
echo clean >"$work/system/etc/hostname"
echo "127.0.0.1 localhost clean" >"$work/system/etc/hosts"
step "the libraries that it depends on"
chroot "$work/system" apt-get install -y -qq --no-install-recommends --download-only /root/mycel.deb >/dev/null
boot
inside useradd -m -s /bin/bash anna
# Its dependencies come and stay with apt; what the package itself leaves is compared with the system before it.
inside sh -c 'apt-get install -y -qq --no-install-recommends --no-download $(dpkg-deb -f /root/mycel.deb Depends |
    tr , "\n" | sed "s/(.*//")' >/dev/null 2>&1
snapshot >"$work/before"

step "install"
expect "sudo mycel init NAME" inside apt-get install -y --no-install-recommends /root/mycel.deb
expect "enabled" inside systemctl is-enabled mycel
expect "Verified" inside sh -c 'systemd-analyze verify --man=no mycel.service && XDG_RUNTIME_DIR=/run systemd-analyze --user verify --man=no mycel.service && echo Verified'
expect "inactive" inside sh -c 'systemctl start mycel; systemctl is-active mycel || true'
expect "No peer lives here yet" anna "mycel || true"

step "the machine's peer, in three commands"
expect "sudo mycel up --detach" inside sudo mycel init garden --listen 127.0.0.1:6173
expect "sudo mycel map" inside sudo mycel up --detach
expect "active" inside systemctl is-active mycel
expect "healthy" inside sudo mycel status
expect "healthy" inside sudo mycel doctor
expect "healthy" inside sudo -u mycel mycel --home /var/lib/mycel status
expect "sudo mycel" anna "mycel status || true"
token=$(inside sudo mycel invite -q)
expect "mycel" inside find /var/lib/mycel /run/mycel -user mycel
expect "0 files" inside sh -c 'echo $(find /var/lib/mycel /run/mycel ! -user mycel | wc -l) files'

expect "No lab in /root/" inside sudo mycel lab status

step "a user's peer, in two; then as a service of hers"
expect "mycel map" anna "mycel join $token --name anna --listen 127.0.0.1:6174 --detach"
expect "garden" anna mycel map
expect "anna" inside sudo mycel map
anna mycel down -q
inside loginctl enable-linger anna
until_it "active" inside systemctl is-active "user@$(inside id -u anna)"
# shellcheck disable=SC2016
anna 'XDG_RUNTIME_DIR=/run/user/$(id -u) systemctl --user enable --now mycel' 2>/dev/null
expect "healthy" anna mycel status
until_it "1 of 1 up" inside sudo mycel status

step "a run of two, one of them in the service's sandbox"
inside sh -c 'seq 1 40000 >/home/anna/text'
printf '%s\n' 'layers = 2' 'width = 32' 'heads = 2' 'inner = 64' 'context = 32' 'batch = 4' 'tied = yes' \
    >"$work/system/home/anna/tiny.model"
inside sudo mycel train --data /home/anna/text --model /home/anna/tiny.model --rounds 3 --inner-steps 4 --detach -q >/dev/null
until_it "done" anna mycel runs
until_it "done" inside sudo mycel runs
expect "healthy" inside sudo mycel status
expect '"peers":2' anna mycel runs --json

step "upgrade over itself"
inside sh -c 'echo "site = attic" >>/etc/mycel/mycel.conf'
before=$(inside systemctl show -p MainPID mycel)
inside apt-get install -y --reinstall /root/mycel.deb >/dev/null 2>&1
expect "active" inside systemctl is-active mycel
[ "$(inside systemctl show -p MainPID mycel)" != "$before" ] || die "an upgrade left the old program running"
expect "attic" inside sudo mycel conf
expect "enabled" inside systemctl is-enabled mycel
until_it "1 of 1 up" inside sudo mycel status
inside systemctl disable -q mycel
inside apt-get install -y --reinstall /root/mycel.deb >/dev/null 2>&1
expect "disabled" inside sh -c 'systemctl is-enabled mycel || true'
inside systemctl enable -q mycel

step "remove"
inside apt-get remove -y mycel >/dev/null 2>&1
expect "inactive" inside sh -c 'systemctl is-active mycel || true'
expect "mycel.conf" inside ls /etc/mycel
expect "key" inside ls /var/lib/mycel
expect "nobody" inside sh -c 'pgrep -u mycel || echo nobody'

step "purge: what stays is what somebody made"
inside apt-get purge -y mycel >/dev/null 2>&1
snapshot >"$work/after"
left=$(comm -13 "$work/before" "$work/after" | grep -Ev '^/(home/anna|var/lib/mycel)|^mycel:|^/var/lib/systemd/linger' || true)
[ -z "$left" ] || die "purging left this: $left"
[ -z "$(comm -23 "$work/before" "$work/after")" ] || die "purging took this: $(comm -23 "$work/before" "$work/after")"

step "installed again with the old home; then without anything to keep"
inside apt-get install -y /root/mycel.deb >/dev/null 2>&1
expect "healthy" inside sudo sh -c 'systemctl start mycel && mycel status'
inside sh -c 'apt-get remove -y mycel && rm -rf /var/lib/mycel' >/dev/null 2>&1
inside apt-get purge -y mycel >/dev/null 2>&1
snapshot >"$work/after"
left=$(comm -13 "$work/before" "$work/after" | grep -Ev '^/home/anna|^/var/lib/systemd/linger' || true)
[ -z "$left" ] || die "purging left this: $left"
echo "The package installs, runs, upgrades and goes without a trace."
