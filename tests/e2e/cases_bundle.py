"""doctor --bundle: all that helps, and nothing that tells who and where people are."""
import json
import os
import re
import signal
import tarfile

from cases_doctor import ANSWERS, small_disk
from harness import case, equal, expect, free_port, until

PARTS = ["README.txt", "doctor.json", "peers.json", "status.json", "runs.json", "hw.json", "conf.json", "version.json", "log.txt"]
ASKED = ["peers.json", "status.json", "runs.json", "hw.json"]


def opened(path):
    """Name -> text of a bundle's parts, by a tar reader that isn't ours; every JSON part is whole."""
    with tarfile.open(path) as tar:
        members = tar.getmembers()
        expect(all(m.isfile() and m.name.startswith("mycel-bundle/") and m.mode == 0o600 for m in members), f"plain files: {members}")
        parts = {os.path.basename(m.name): tar.extractfile(m).read().decode() for m in members}
    for name, text in parts.items():
        if name.endswith(".json"):
            json.loads(text)
    return parts


def secrets(world, peers, *more):
    """Whatever must not be in it: keys, ids, tokens, names, addresses, paths, the machine."""
    words = {b"203.0.113", b"vienna", b"greenhouse", b"rosebud.example", world.folder.encode(), os.uname().nodename.encode()}
    for peer in peers:
        with open(os.path.join(peer.home, "key"), "rb") as file:
            key = file.read()
        words |= {key, key[-32:], key[-32:].hex().encode(), key[:32].hex().encode()}
        words |= {peer.id[:8].encode(), bytes.fromhex(peer.id), peer.name.encode()}
    return words | {word.encode() for word in more}


def clean(path, words):
    with open(path, "rb") as file:
        bundle = file.read()
    for word in words:
        at = bundle.lower().find(word.lower())
        expect(at < 0, f"in the bundle: {word}, as in {bundle[max(0, at - 60):at + 100]}")


def three(world):
    """A mesh with names, a site and an address that are somebody's; a token, and whose they are."""
    peers = [world.founder("anna-laptop", "greenhouse")]
    for name in ("ben7", "carla.garden"):
        peers.append(world.member(name, peers[0]))
    peers[1].run("down")
    peers[1].up("--cpus", "1", "--log-format", "json", "--site", "vienna", "--advertise", "203.0.113.77:6173", "--advertise", "rosebud.example:6173")
    until(lambda: all(len(p.states()) == 3 for p in peers), "all are known")
    until(lambda: any("203.0.113.77:6173" in q["addresses"] for q in peers[0].json("peers")["peers"]), "its new address is told")
    for peer, name in zip(peers, ("anna-laptop", "ben7", "carla.garden")):
        peer.name, peer.id = name, peer.json("status", status=None)["id"]
    return peers


@case
def bundle_tells_of_nobody(world):
    """Every part, one stand-in for one peer everywhere; no key, token, id, name, address or path; never over a file."""
    peers = three(world)
    token = peers[0].json("invite")
    words = secrets(world, peers, token["token"], token["token"][6:46], token["id"][:16])
    for peer in peers[:2]:  # who admitted the others, and who has an address of its own
        path = world.path(f"{peer.name}.tar")
        told = peer.run("doctor", "--bundle", path)
        equal([name for name in PARTS if name in told.out], PARTS[1:], "parts that it tells")
        expect("missing" not in told.out, told.out)
        parts = opened(path)
        equal(list(parts), PARTS, "parts")
        clean(path, words)
        known = json.loads(parts["peers.json"])["peers"]
        equal(sorted(p["name"] for p in known), ["peer-1", "peer-2", "peer-3"], "names of peers")
        equal([p["id"] for p in known], [p["name"] for p in known], "ids")
        own = next(p["name"] for p in known if p["self"])
        equal(json.loads(parts["status.json"])["name"], own, "its own name in status")
        last = parts["log.txt"].strip().splitlines()[-1]
        if peer is peers[0]:
            expect(f"node.ready name={own} id={own} mesh=mesh-1 " in parts["log.txt"], parts["log.txt"])
        else:  # the log of its second life is JSON
            expect(json.loads(last)["event"] and f'"name":"{own}"' in parts["log.txt"], parts["log.txt"])
    again = peers[0].run("doctor", "--bundle", path, status=4)
    expect("is there already" in again.err, again.err)
    equal(opened(path), parts, "what was there")
    expect("--bundle" in peers[0].run("doctor", world.path("x"), status=2).err, "FILE without --bundle")
    usual = peers[0].json("doctor", "--bundle")
    expect(re.fullmatch(r"mycel-bundle-\d{8}T\d{6}Z\.tar", usual["bundle"]), usual)
    equal([p["name"] for p in usual["parts"] if p["bytes"] > 0 and not p["missing"]], PARTS[1:], "parts as JSON")
    clean(world.path(usual["bundle"]), words)


@case
def bundle_without_an_answer(world):
    """A daemon that is stopped, or none, or no home, or settings that cannot be taken: what there is, what is missing, in time."""
    first, second, third = peers = three(world)
    words = secrets(world, peers)
    members = os.path.join(first.home, "members")
    until(lambda: os.path.exists(members) and all(bytes.fromhex(p.id) in open(members, "rb").read() for p in peers), "its table is kept")
    pid = first.kill(signal.SIGSTOP)
    try:
        told = first.json("doctor", "--bundle", world.path("stopped.tar"), guard=ANSWERS)
    finally:
        os.kill(pid, signal.SIGCONT)
    equal([p["name"] for p in told["parts"] if p["missing"]], ASKED, "parts that are missing")
    parts = opened(world.path("stopped.tar"))
    expect("daemon-stopped" in parts["doctor.json"], parts["doctor.json"])
    expect("admission.admitted peer=peer-" in parts["log.txt"], parts["log.txt"])
    clean(world.path("stopped.tar"), words)
    for peer in peers:
        peer.run("down")
    with open(os.path.join(second.home, "mycel.conf"), "w") as file:
        file.write("advertise = rosebud.example:6173\ncolour = green\n")
    told = second.json("doctor", "--bundle", world.path("down.tar"))
    equal([p["name"] for p in told["parts"] if p["missing"]], ASKED + ["conf.json"], "parts that are missing")
    clean(world.path("down.tar"), words)
    with open(os.path.join(third.home, "mycel.conf"), "w") as file:
        file.write("site = vienna\nadvertise = rosebud.example\nadvertise = 203.0.113.5:1\n")
    with open(os.path.join(third.home, "log"), "a") as file:
        file.write("2026-11-23T14:46:25.331Z link.address_failed peer=0123abcd address=rosebud.example:77 why=\"timed out\"\n" * 9000)
    told = third.json("doctor", "--bundle", world.path("long.tar"))
    parts = opened(world.path("long.tar"))
    expect(100_000 < len(parts["log.txt"]) <= 256 << 10 and parts["log.txt"].startswith("2026-"), "the log's end, from a line's begin")
    clean(world.path("long.tar"), words)
    nobody = world.peer("nobody")
    told = nobody.json("doctor", "--bundle", world.path("nobody.tar"))
    equal([p["name"] for p in told["parts"] if p["missing"]], ASKED + ["log.txt"], "without a home")
    expect(not os.path.exists(nobody.home), "it makes a home")


@case
def bundle_on_a_full_disk(world):
    """No half a file stays; a folder that is not there, or cannot be written, is told."""
    peer = world.peer("p1")
    peer.run("init", "m", "--listen", f"127.0.0.1:{free_port()}")
    expect("No such file" in peer.run("doctor", "--bundle", world.path("none", "x.tar"), status=1).err, "a folder that is not there")
    disk = small_disk(world, "small", 4096)
    failed = peer.run("doctor", "--bundle", os.path.join(disk, "x.tar"), status=1)
    expect("No space left" in failed.err and "another disk" in failed.err, failed.err)
    equal(os.listdir(disk), [], "what it left there")
