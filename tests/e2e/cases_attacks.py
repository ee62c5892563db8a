"""Attacks through the real port (tests/hostile): each against a running mesh whose honest peers must stay alive to each
other, stay small, count what they refuse by its reason, and go on with their work."""
import functools
import hashlib
import json
import os
import subprocess
import time

from cases_doctor import lines as doctor_lines
from harness import GUARD, ROOT, Failed, case, equal, expect, tiny_run, until, wait_for_round

HOSTILE = os.path.join(ROOT, "zig-out", "tests", "hostile")
GROWTH = 64 << 20  # bytes by which an attacked peer may grow: what its bounded queues may hold


@functools.lru_cache
def build():
    """The attacker, up to date with its source."""
    if os.environ.get("MYCEL_HOSTILE"):
        return os.environ["MYCEL_HOSTILE"]
    done = subprocess.run(["./zig.sh", "build", "hostile"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise Failed("the attacker does not build: " + done.stderr[-300:])
    return HOSTILE


class Mesh:
    """Honest peers, and attackers against one of them."""

    def __init__(self, world, count=3):
        self.world, self.peers = world, world.lab(count)
        self.binary = build()
        until(lambda: all(self.alive(p) for p in self.peers), "the mesh stands")
        self.rss = [self.status(p)["process"]["rss_bytes"] for p in self.peers]
        self.casts = 0

    def status(self, peer):
        return peer.run("status", "--json", status=None).json

    def alive(self, peer):
        """That every honest peer is alive, as `peer` sees it."""
        states = peer.states()
        return all(states.get(f"p{k + 1}") == "alive" for k in range(len(self.peers)))

    def bad_members(self, count):
        """Homes of members that were admitted and then fell into wrong hands."""
        members = [self.world.member(f"bad{k}", self.peers[0]) for k in range(count)]
        names = [f"bad{k}" for k in range(count)]
        until(lambda: all(self.peers[0].states().get(name) == "alive" for name in names), f"{names} are known")
        for member in members:
            member.run("down")
        until(lambda: all(states.get(name) in ("dead", "left") for states in (p.states() for p in self.peers) for name in names),
              lambda: f"{names} are seen to be gone: {self.peers[0].states()}")
        return members

    def start(self, attack, victim=0, home=None, about=None, **options):
        status = self.status(self.peers[victim])
        words = [self.binary, attack, "--port", str(status["port"]), "--id", status["id"]]
        if home:
            words += ["--home", home.home]
        if about:
            words += ["--about", about]
        for key, value in options.items():
            words += [f"--{key}", str(value)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.world.processes.append(process)
        return process

    def end(self, process, guard=GUARD):
        try:
            out, err = process.communicate(timeout=guard)
        except subprocess.TimeoutExpired:
            raise Failed(f"{process.args[1]} does not end")
        if process.returncode:
            raise Failed(f"{process.args[1]}: exit {process.returncode}: {err.strip()}")
        return json.loads(out)

    def attack(self, attack, **options):
        return self.end(self.start(attack, **options))

    def refused(self, victim=0):
        """Refusals by reason: {"links": {..}, "messages": {..}}, and gossip's own as "gossip"."""
        status = self.status(self.peers[victim])
        return {**status["refused_by"], "gossip": status["gossip"].get("refused_by", {})}

    def counts(self, reason, victim=0):
        """The sum of what was refused for `reason`, whoever counted it."""
        by = self.refused(victim)
        return sum(n for group in by.values() for key, n in group.items() if reason in key.split())

    def counted(self, *reasons, victim=0, more_than=0):
        """Until one of `reasons` was counted more than so often."""
        until(lambda: sum(self.counts(r, victim) for r in reasons) > more_than,
              lambda: f"{' or '.join(reasons)} counted: {self.refused(victim)}")

    def grown(self, what):
        """Everyone honest is alive to the others, and nobody has grown."""
        for peer in self.peers:
            expect(self.alive(peer), f"after {what}, {os.path.basename(peer.home)} sees {peer.states()}")
        for peer, before in zip(self.peers, self.rss):
            rss = self.status(peer)["process"]["rss_bytes"]
            expect(rss < before + GROWTH, f"after {what}, {os.path.basename(peer.home)} holds {rss >> 20} MiB, before "
                                          f"{before >> 20}")

    def holds(self, what):
        """Nobody honest is accused, nobody has grown, and the mesh works: a run's description reaches everyone."""
        self.grown(what)
        self.casts += 1
        until(lambda: not any(s == "alive" for name, s in self.peers[-1].states().items() if name.startswith("bad")),
              lambda: f"the attackers are seen to be gone: {self.peers[-1].states()}")
        run = tiny_run(self.world, self.peers[-1], 1, steps=1, seed=self.casts)
        wait_for_round(self.peers, run, 1)

    def accused(self):
        """How often honest peers had to contradict an accusation."""
        return sum(self.status(p)["gossip"]["refutations"] for p in self.peers)


@case
def strangers_at_the_port(world):
    """No certificate: garbage, HTTP, half-open and mute connections by the hundred, no security; honest peers carry on."""
    mesh = Mesh(world)
    slow = [mesh.start(name, count=100, seconds=20, **{"from": f"127.0.0.{20 + i}"})
            for i, name in enumerate(("half-open", "mute"))]
    for name in ("garbage", "http", "no-security"):
        result = mesh.attack(name, count=20, seconds=15)
        equal(result["closed"], 20, f"connections of {name} that were ended")
    third = world.member("p9", mesh.peers[0])  # the door is open meanwhile
    until(lambda: len(third.states()) == 4, "an honest joiner gets in beside them")
    for process in slow:
        result = mesh.end(process)
        equal(result["closed"], 100, f"connections of {result['attack']} that were ended")
    mesh.counted("HANDSHAKE", "NO_HELLO", "TIMED_OUT", "MALFORMED")
    mesh.holds("strangers")
    equal(mesh.accused(), 0, "refutations")


@case
def strangers_past_the_handshake(world):
    """A CURVE handshake and then garbage, nothing, too much, or a HELLO that is another mesh's, stolen, forged."""
    mesh = Mesh(world)
    other = mesh.status(mesh.peers[1])["id"]
    result = mesh.attack("garbage-hello", count=6, seconds=10)
    equal(result["closed"], 6, "garbage in place of a HELLO is cut off")
    mesh.counted("MALFORMED", "WRONG_MESH", "UNKNOWN_VERSION", "UNKNOWN_TYPE")
    equal(mesh.attack("mute-stranger", seconds=20)["closed"], 1, "who does not introduce himself is cut off")
    mesh.counted("NO_HELLO")
    equal(mesh.attack("many-frames", seconds=20)["closed"], 1, "a hundred frames are cut off")
    equal(mesh.attack("huge-frame", seconds=20)["closed"], 1, "96 MiB at once are cut off")
    equal(mesh.attack("overfeed", count=512, seconds=20, **{"from": "127.0.0.10"})["closed"], 1, "who pours is cut off")
    equal(mesh.attack("hello-of-another-mesh", seconds=10)["closed"], 1, "another mesh's HELLO")
    mesh.counted("WRONG_MESH")
    bad = mesh.bad_members(1)[0]
    equal(mesh.attack("hello-stolen", home=bad, seconds=10)["closed"], 1, "a member's HELLO over another key")
    mesh.counted("WRONG_KEY")
    for name in ("hello-for-another", "hello-forged"):
        victim = 0 if name == "hello-forged" else 2
        equal(mesh.attack(name, home=bad, about=other, seconds=10, victim=victim)["closed"], 1, f"{name} is cut off")
        mesh.counted("BAD_SIGNATURE", "WRONG_KEY", victim=victim)
    mesh.holds("false introductions")


@case
def handshakes_by_the_hundred(world):
    """Handshakes with ever new keys from one address: limited there, and an honest peer from another address gets in."""
    mesh = Mesh(world)
    process = mesh.start("handshakes", count=700)
    until(lambda: mesh.counts("TOO_FAST") > 0, lambda: f"TOO_FAST counted: {mesh.refused()}")
    third = world.member("p9", mesh.peers[0])
    until(lambda: len(third.states()) == 4, "an honest joiner gets in")
    result = mesh.end(process)
    expect(result["answers"] < result["sent"], f"every handshake was let through: {result}")
    mesh.holds("handshakes")


@case
def nonsense_from_a_member(world):
    """Every message of the table with nothing, extremes and noise in it; garbage bodies, unknown types, too much."""
    mesh = Mesh(world)
    members = mesh.bad_members(4)
    processes = [mesh.start("fields", home=m, victim=k % 3, seed=k, count=4, seconds=30) for k, m in enumerate(members)]
    for process in processes:
        result = mesh.end(process)
        expect(result["sent"] > 10, f"nothing much was sent: {result}")
    expect(sum(sum(mesh.refused(k)["messages"].values()) for k in range(3)) > 10, "nonsense is counted by message and error")
    mesh.holds("nonsense in fields")
    for k, name in enumerate(("body", "unknown-type", "too-large")):
        result = mesh.attack(name, home=members[3], victim=k, seed=20 + k, seconds=20)
        equal(result["closed"], 1, f"{name}: the link ends")
        mesh.counted({"body": "MALFORMED", "unknown-type": "UNKNOWN_TYPE", "too-large": "TOO_LARGE"}[name], victim=k)
    mesh.holds("malformed messages")


@case
def lies_about_members(world):
    """Forged records, another's accusation, equivocation, replays: refused by reason; nobody healthy is accused by them."""
    mesh = Mesh(world)
    bad = mesh.bad_members(1)[0]
    other = mesh.status(mesh.peers[1])["id"]
    mesh.attack("forged-records", home=bad, about=other, count=3)
    mesh.counted("BAD_SIGNATURE", "signature")
    mesh.attack("accuse-as-another", home=bad, about=other, count=3, victim=2, seconds=15)
    mesh.counted("BAD_SIGNATURE", "signature", victim=2)
    mesh.attack("equivocate", home=bad, count=5, victim=1, seconds=15)
    mesh.attack("replay", home=bad, count=200, victim=1, seconds=15)
    mesh.holds("lies")
    equal(mesh.accused(), 0, "refutations of honest peers")


@case
def false_accusations(world):
    """A member says of an honest one that it is silent, again and again: contradicted each time, nobody thinks it dead."""
    mesh = Mesh(world)
    bad = mesh.bad_members(1)[0]
    target = mesh.status(mesh.peers[1])
    process = mesh.start("accuse", home=bad, about=target["id"], count=20, seconds=6)
    seen = set()
    while process.poll() is None:
        for peer in (mesh.peers[0], mesh.peers[2]):
            seen.add(peer.states()["p2"])
    mesh.end(process)
    expect("dead" not in seen, f"an accusation by one member made a living one {seen}")
    until(lambda: all(p.states()["p2"] == "alive" for p in mesh.peers), "the accused is alive to everyone")
    expect(mesh.status(mesh.peers[1])["gossip"]["refutations"] > 0, "the accused has contradicted")
    mesh.holds("false accusations")


@case
def floods_from_a_member(world):
    """Casts, pings and shuffles of made-up peers without end, while a run goes on: dropped, counted, the run completes."""
    mesh = Mesh(world)
    members = mesh.bad_members(3)
    run = tiny_run(world, mesh.peers[0], 5000)
    wait_for_round(mesh.peers, run, 2)
    before = mesh.peers[1].round(run)
    for k, name in enumerate(("flood-casts", "flood-pings", "eclipse")):
        mesh.end(mesh.start(name, home=members[k], victim=k, seconds=4))
    for k, peer in enumerate(mesh.peers):
        status = mesh.status(peer)
        limited = sum(status["links"]["flooded"].values()) + status["gossip"]["limited"] + status["refused"]
        expect(limited > 0 or k > 0, f"p{k + 1} counts no flood: {status['links']} {status['refused_by']}")
    wait_for_round(mesh.peers, run, before + 2)
    mesh.peers[0].run("runs", "cancel", run)
    until(lambda: mesh.peers[0].show(run)["state"] == "cancelled", "the run is cancelled")
    mesh.holds("floods")


@case
def bulk_without_measure(world):
    """Chunks that nobody asked for, too large ones, thousands asked for and not taken, a member that reads nothing."""
    mesh = Mesh(world)
    members = mesh.bad_members(4)
    data = world.file("large.txt", os.urandom(12 << 20).hex()[:20 << 20])
    model = world.file("tiny.model", "layers = 1\nwidth = 32\nheads = 2\ninner = 64\ncontext = 32\nbatch = 1\ntied = yes\n")
    run = mesh.peers[0].json("train", "--data", data, "--model", model, "--rounds", "3", "--inner-steps", "1", "--seed", "99",
                             "--detach")["run"]
    wait_for_round(mesh.peers, run, 3, guard=120)
    mesh.rss = [mesh.status(p)["process"]["rss_bytes"] for p in mesh.peers]
    with open(data, "rb") as file:  # a chunk of it by its name (store/chunks.h)
        chunk = hashlib.blake2b(b"\0" + file.read(1 << 20), digest_size=32).hexdigest()
    processes = [mesh.start("hog", home=members[0], about=chunk, count=3000, seconds=8),
                 mesh.start("bulk-unasked", home=members[1], victim=1, count=200, seconds=8),
                 mesh.start("deaf", home=members[2], victim=2, about=run, count=20000, seconds=34)]
    for process in processes:
        mesh.end(process)
    status = [mesh.status(p) for p in mesh.peers]
    expect(status[0]["dropped"]["chunks"] > 0, f"who takes no chunks is queued for: {status[0]['dropped']}")
    equal(status[2]["links"]["slow"], 1, "links let go because nothing was taken")
    result = mesh.attack("bulk-too-large", home=members[3], victim=2, count=3, seconds=10)
    equal(result["closed"] > 0, True, "a chunk above its limit ends the link")
    mesh.counted("TOO_LARGE", victim=2)
    mesh.holds("bulk without measure")


@case
def bulk_lanes_that_lie(world):
    """A bulk lane without its proof or ticket, records that do not open, memory that is open, short, missing or not lent."""
    mesh = Mesh(world)
    members = mesh.bad_members(4)
    for k, name in enumerate(("lane-wrong-proof", "lane-tampered", "lane-too-large", "lane-unsealed", "memory-unsealed",
                              "memory-truncated", "memory-missing", "slab-resizable", "slab-short", "slab-missing",
                              "slab-not-lent")):
        result = mesh.attack(name, home=members[k % 4], victim=k % 3, seconds=15)
        equal(result["closed"], 2 if name == "lane-wrong-proof" else 1, f"{name}: the lane is closed ({result})")
    result = mesh.attack("lane-no-ticket", home=members[3], victim=2, count=40, seconds=30)
    equal(result["closed"], 40, "tickets that nobody gave out, and the right one after them")
    expect(any(sum(mesh.refused(k)["links"].values()) for k in range(3)), "what came over false lanes is counted")
    mesh.holds("false bulk lanes")


def safely(result, what, json=False):
    """What a tool printed has nothing that a terminal would take for more than text; JSON keeps letters that only look odd."""
    for text in (result.out, result.err):
        bad = [c for c in text if (c < " " if json else not c.isprintable()) and c != "\n"]
        expect(not bad, f"{what} shows {bad}: {text!r}")
    return result


@case
def false_answers_to_tools(world):
    """A member that answers doctor, trace and map malformed, too large, with escapes, for others, with lies, never: in time, and safe."""
    mesh = Mesh(world)
    bad = world.member("bad0", mesh.peers[0])
    until(lambda: all(p.states().get("bad0") == "alive" for p in mesh.peers), "bad0 is known")
    run = tiny_run(world, mesh.peers[0], 3, steps=1)
    wait_for_round(mesh.peers + [bad], run, 3)
    bad.run("down")
    first = mesh.peers[0]
    for seed, (kind, refused) in enumerate((("malformed", "MALFORMED"), ("escapes", None), ("for-another", None),
                                            ("lies", None), ("never", None), ("too-large", "TOO_LARGE"))):  # this one is shut out
        what = f"answer-{kind}"
        process = mesh.start(what, home=bad, seconds=60, seed=seed)

        def linked():
            return any(p["name"] == "bad0" and p["state"] == "alive" and p["path"] == "direct" for p in first.json("peers")["peers"])

        until(linked, f"{what}: it is linked, and alive")
        before = mesh.counts(refused) if refused else 0
        told = {line["check"]: line for line in doctor_lines(first)}  # which also looks at the time
        equal([told[c]["state"] for c in ("port", "address", "daemon")], ["pass"] * 3, f"{what}: {told}")
        expect(told["clock"]["state"] == "pass" or (kind in ("lies", "escapes", "for-another") and told["clock"]["peer"] == "bad0"),
               f"{what}: whose clock is off: {told['clock']}")
        if refused:
            mesh.counted(refused, more_than=before)
        safely(first.run("doctor", status=None), what)
        began = time.monotonic()
        trace = safely(first.run("trace", run, "--round", "2", "--json"), what, json=True).json
        answered = {p["name"]: p["answered"] for p in trace["peers"]}
        expect(all(answered[f"p{k}"] for k in (1, 2, 3)), f"{what}: who answered: {answered}")
        equal(answered.get("bad0"), kind in ("escapes", "lies", "for-another"), f"{what}: that it answered")
        expect(trace["length_us"] < 60_000_000, f"{what}: a round of {trace['length_us']} us")
        forms = (["map", "--hw"], ["trace", run, "--round", "2"], ["map", "--hw", "--as", "svg"], ["map", "--hw", "--json"])
        for words in forms[:1] if kind in ("never", "too-large") else forms:  # a second each
            shown = safely(first.run(*words), f"{what}: {words[0]}", "--json" in words).out
            if words[0] == "map" and kind == "escapes":
                expect("script" in shown, f"{what}: its device is not in {words}: {shown}")
            expect("<script" not in shown or "svg" not in words, f"{what}: {words}: {shown}")
        expect(time.monotonic() - began < GUARD, f"{what}: the tools took {time.monotonic() - began:.1f} s")
        process.kill()
        process.communicate()
    mesh.grown("false answers")
