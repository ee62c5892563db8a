"""The Debian package: what is in it, and that the same commit gives the same bytes."""
import os
import re
import shutil
import subprocess

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
                 "usr/share/bash-completion/completions/mycel", "usr/lib/systemd/system/mycel.service",
                 "usr/lib/sysusers.d/mycel.conf", "usr/share/doc/mycel/copyright"):
        expect(os.path.exists(os.path.join(tree, path)), f"{path} is not in the package")
    control = subprocess.run(["dpkg-deb", "-f", package, "Depends"], capture_output=True, text=True, check=True).stdout
    for library in ("libc6", "libzmq5", "libsodium23", "libhwloc15", "libssl3"):
        expect(re.search(rf"\b{library}\b", control), f"it does not depend on {library}: {control}")
    version = subprocess.run([os.path.join(tree, "usr/bin/mycel"), "version"], capture_output=True, text=True, check=True)
    equal(version.stdout, world.run("version").out, "the unpacked binary's version")


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
