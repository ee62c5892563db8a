"""The Debian package: what is in it, and that the same commit gives the same bytes."""
import io
import os
import re
import shutil
import subprocess
import tarfile

from harness import ROOT, Skipped, case, equal, expect


def made(world, name):
    """The package of the binary under test, in a folder of its own."""
    if not shutil.which("dpkg-deb"):
        raise Skipped("dpkg-deb is not here: the package is NOT checked")
    done = subprocess.run([os.path.join(ROOT, "tools", "package", "deb.sh"), world.binary, world.path(name)],
                          env={**os.environ, "MYCEL_DEB_LEVEL": "0"}, capture_output=True, text=True)
    equal(done.returncode, 0, f"exit of deb.sh: {done.stderr}")
    return next(os.path.join(world.path(name), f) for f in os.listdir(world.path(name)) if f.endswith(".deb"))


@case
def debian_package(world):
    """Binary, manual pages, completion and units are in it; it runs from where it is unpacked; twice the same bytes."""
    package, again = made(world, "one"), made(world, "two")
    with open(package, "rb") as a, open(again, "rb") as b:
        expect(a.read() == b.read(), "two packages of one binary differ")
    tree = world.path("tree")
    subprocess.run(["dpkg-deb", "-x", package, tree], check=True)
    for path in ("usr/bin/mycel", "usr/share/man/man1/mycel.1.gz", "usr/share/man/man1/mycel-train.1.gz",
                 "usr/share/man/man5/mycel.conf.5.gz", "etc/mycel/mycel.conf", "usr/share/bash-completion/completions/mycel", "usr/lib/systemd/system/mycel.service",
                 "usr/lib/sysusers.d/mycel.conf", "usr/share/doc/mycel/copyright"):
        expect(os.path.exists(os.path.join(tree, path)), f"{path} is not in the package")
    control = subprocess.run(["dpkg-deb", "-f", package, "Depends"], capture_output=True, text=True, check=True).stdout
    for library in ("libc6", "libzmq5", "libsodium23", "libhwloc15", "libssl3"):
        expect(re.search(rf"\b{library}\b", control), f"it does not depend on {library}: {control}")
    version = subprocess.run([os.path.join(tree, "usr/bin/mycel"), "version"], capture_output=True, text=True, check=True)
    equal(version.stdout, world.run("version").out, "the unpacked binary's version")
    head = open(world.binary, "rb").read(20)
    equal(head[16], 3, "the kind of ELF file: a program that can be loaded anywhere")
    listed = subprocess.run(["dpkg-deb", "--ctrl-tarfile", package], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(listed)) as control:
        equal(control.extractfile("./conffiles").read(), b"/etc/mycel/mycel.conf\n", "what dpkg keeps when it was changed")


@case
def release_is_the_same_twice(world):
    """Two releases of one commit: the same bytes; checksums hold; the source is the commit's, the binary runs."""
    if subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True).returncode:
        raise Skipped("this is no git checkout: the release is NOT checked")
    sums = []
    for name, umask in (("one", 0o022), ("two", 0o077)):
        env = {**os.environ, "MYCEL_RELEASE_DIRTY": "1", "TZ": "Asia/Tokyo" if umask == 0o077 else "UTC"}
        done = subprocess.run([os.path.join(ROOT, "tools", "package", "release.sh"), world.binary, world.path(name)], env=env,
                              capture_output=True, text=True, umask=umask)
        equal(done.returncode, 0, f"exit of release.sh: {done.stderr}")
        sums.append(open(world.path(name, "SHA256SUMS")).read())
    equal(sums[0], sums[1], "checksums of two releases")
    equal(subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=world.path("one")).returncode, 0, "sha256sum -c")
    names = [line.split()[1] for line in sums[0].splitlines()]
    equal(len(names), 2, f"tarballs: {names}")
    source, binary = names
    with tarfile.open(world.path("one", source)) as tar:
        have = sorted(m.name.split("/", 1)[1] for m in tar if m.isfile())
        times = {m.mtime for m in tar}
    listed = subprocess.run(["git", "-C", ROOT, "ls-tree", "-r", "--name-only", "HEAD"], capture_output=True, text=True, check=True)
    equal(have, sorted(listed.stdout.split()), "files of the source")
    equal(len(times), 1, "times of the files")
    with tarfile.open(world.path("one", binary)) as tar:
        tar.extractall(world.path("tree"))
        equal({(m.uid, m.gid, m.uname) for m in tar}, {(0, 0, "")}, "owners")
    top = world.path("tree", binary.removesuffix(".tar.gz"))
    told = subprocess.run([os.path.join(top, "bin/mycel"), "-V"], capture_output=True, text=True, check=True).stdout
    equal(told, world.run("version").out, "the unpacked binary's version")
    for path in ("man/man1/mycel.1", "man/man5/mycel.conf.5", "completion/mycel.fish", "mycel.conf.example", "docs/tutorial.md"):
        expect(os.path.exists(os.path.join(top, path)), f"{path} is not in the release")


@case
def completion_of_words(world):
    """bash completes verbs, words below them, flags and choices as the table has them."""
    script = world.file("completion", world.run("completion", "bash").out)
    ask = ('source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _mycel; echo "${COMPREPLY[*]}"')

    def complete(*words):
        return subprocess.run(["bash", "-c", ask, script, "mycel", *words], capture_output=True, text=True, check=True,
                              cwd=world.folder).stdout.split()

    expect("train" in complete("t") and "top" in complete("t"), f"t: {complete('t')}")
    equal(complete("lab", "hosts", "c"), ["cut"], "lab hosts c")
    equal(complete("map", "--as", "s"), ["svg"], "map --as s")
    expect("--detach" in complete("up", "--"), "flags of up")
    equal(world.run("completion", "csh").status, 2, "a shell that is not known")
    for verb in ("", "lab", "train"):
        roff = world.run("help", "--man", *([verb] if verb else [])).out
        expect(roff.startswith(".TH MYCEL"), f"a manual page of {verb or 'mycel'}: {roff[:40]}")


def debian_package_on_a_clean_system(world):
    """A Debian 12 with nothing else on it: lintian finds no error; it installs, runs as a service, upgrades, and is purged."""
    if os.geteuid() or not shutil.which("debootstrap"):
        raise Skipped("this needs root and debootstrap: the package is NOT tried on a clean system")
    package = made(world, "one")
    if shutil.which("lintian"):
        # `zig build deb` takes a program without symbols; this one has them.
        told = subprocess.run(["lintian", "--fail-on", "error", "--suppress-tags", "unstripped-binary-or-object", package],
                              capture_output=True, text=True)
        equal(told.returncode, 0, f"exit of lintian: {told.stdout}{told.stderr}")
    tried = subprocess.run([os.path.join(ROOT, "tools", "package", "try.sh"), package], capture_output=True, text=True)
    equal(tried.returncode, 0, f"exit of try.sh: {tried.stdout[-800:]}{tried.stderr[-800:]}")


if os.environ.get("MYCEL_FULL"):  # it fetches a whole system, once
    case(debian_package_on_a_clean_system)
