"""Peers that die, stop, return, join late or run out of disk, while a run goes on."""
import os
import signal
import subprocess

from harness import Skipped, case, equal, expect, free_port, hashes, tiny_run, until, wait_for_round

PROGRESS = 30  # seconds: three times the limit within which rounds go on after a fault


def takes_part(witness, run, name, guard=60):
    """Until a round that the witness closed from now on holds a commit of `name`."""
    start = witness.round(run) + 1
    seen = {"to": start}

    def has():
        newest = witness.round(run)
        while seen["to"] <= newest:
            shown = witness.show(run, seen["to"])
            seen["to"] += 1
            if any(c["peer"] == name for c in shown["commits"]):
                return True
        return False

    until(has, f"{name} takes part from round {start} on (up to {seen['to']})", guard=guard, every=0.1)


def same_history(peers, run):
    """Every peer that holds a round has the same hash for it, and the first holds all."""
    last = min(peer.round(run) for peer in peers)
    expect(last > 0, "no round is closed")
    wanted = {}
    for peer in peers:
        for r in range(1, last + 1):
            result = peer.run("runs", "show", run, "--round", str(r), "--json", status=None)
            if result.status:
                continue
            equal(result.json["params_hash"], wanted.setdefault(r, result.json["params_hash"]), f"params_hash of round {r}")
    equal(sorted(wanted), list(range(1, last + 1)), "rounds that can be read")


@case
def each_peer_killed_in_turn(world):
    """kill -9 of each of four in mid-round, proposer and shard owners among them: rounds go on, it comes back by `up`."""
    peers = world.lab(4)
    run = tiny_run(world, peers[0], 5000, steps=8)
    wait_for_round(peers, run, 2)
    for k, victim in enumerate(peers):
        others = [p for p in peers if p is not victim]
        before = others[0].round(run)
        victim.kill()
        wait_for_round(others, run, before + 3, guard=PROGRESS)
        victim.up("--cpus", "1")
        takes_part(others[0], run, f"p{k + 1}")
    same_history(peers, run)


@case
def proposer_and_owner_killed(world):
    """The victim is the current proposer, then the owner of a shard, as `runs show` names them."""
    peers = world.lab(4)
    run = tiny_run(world, peers[0], 5000, steps=80)  # long enough to be hit in the middle
    wait_for_round(peers, run, 2)
    for role in ("proposer", "owners"):
        named = until(lambda r=role: peers[0].show(run)[r], f"runs show names its {role}")
        name = named if isinstance(named, str) else named[-1]
        victim = peers[int(name[1:]) - 1]
        others = [p for p in peers if p is not victim]
        before = others[0].round(run)
        victim.kill()
        wait_for_round(others, run, before + 3, guard=PROGRESS)
        victim.up("--cpus", "1")
        takes_part(others[0], run, f"p{peers.index(victim) + 1}")
    same_history(peers, run)


@case
def stopped_peer_returns(world):
    """SIGSTOP in mid-round: rounds go on without it; woken up, it takes part again."""
    peers = world.lab(4)
    run = tiny_run(world, peers[0], 5000, steps=8)
    wait_for_round(peers, run, 2)
    for k in (0, 2):
        others = [p for p in peers if p is not peers[k]]
        before = others[0].round(run)
        pid = peers[k].kill(signal.SIGSTOP)
        wait_for_round(others, run, before + 3, guard=PROGRESS)
        os.kill(pid, signal.SIGCONT)
        takes_part(others[0], run, f"p{k + 1}")
    same_history(peers, run)


@case
def fifth_peer_joins_the_run(world):
    """A peer that joins during a run fetches data and parameters and takes part."""
    peers = world.lab(4)
    run = tiny_run(world, peers[0], 5000, steps=8)
    wait_for_round(peers, run, 2)
    fifth = world.member("p5", peers[0])
    takes_part(peers[0], run, "p5")
    wait_for_round([fifth], run, peers[0].round(run))
    same_history(peers + [fifth], run)
    before = peers[0].round(run)
    fifth.run("leave", guard=90)
    wait_for_round(peers, run, before + 3, guard=PROGRESS)


@case
def quorum_lost_and_found(world):
    """Two of four gone: the run waits and names who is missing; they come back by `up`, and it goes on."""
    peers = world.lab(4)
    run = tiny_run(world, peers[0], 5000, steps=8)
    wait_for_round(peers, run, 2)
    watch = world.start("--home", peers[1].home, "runs", "watch", run)
    peers[2].kill()
    peers[3].kill()
    waits = until(lambda: peers[0].show(run).get("waiting"), "the run says that it waits", guard=60)
    expect(waits.get("cause") and waits.get("remedy"), f"a wait without cause or remedy: {waits}")
    expect("p3" in str(waits) or "p4" in str(waits), f"a wait that names no missing peer: {waits}")
    line = watch.stderr.readline()
    expect(line.startswith("waiting for p"), f"who watches is told {line!r}")
    problems = str(peers[0].json("status", status=1)["problems"])
    expect("p3" in problems and "p4" in problems, f"status names not both missing peers: {problems}")
    held = peers[0].round(run)
    peers[2].up("--cpus", "1")
    peers[3].up("--cpus", "1")
    wait_for_round(peers, run, held + 3)
    same_history(peers, run)


@case
def whole_mesh_restarts(world):
    """All killed at once in mid-round; all come back by `up` and go on with the same history."""
    peers = world.lab(3)
    run = tiny_run(world, peers[0], 5000, steps=8)
    wait_for_round(peers, run, 4)
    early = hashes(peers[0], run, range(1, 4))
    for peer in peers:
        peer.kill()
    for peer in peers:
        peer.up("--cpus", "1")
    reached = until(lambda: max(p.round(run) for p in peers), "the run is known again")
    wait_for_round(peers, run, reached + 3)
    equal(hashes(peers[1], run, range(1, 4)), early, "hashes from before")
    same_history(peers, run)


@case
def full_disk_stops_votes(world):
    """No space on one peer's disk: it stops voting, status names it, rounds go on; with space it takes part again."""
    peers = world.lab(3)
    small = world.path("small")
    os.mkdir(small)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small], capture_output=True)
    if mounted.returncode:
        raise Skipped("mounting a small tmpfs needs root: " + mounted.stderr.decode().strip())
    world.mounts.append(small)
    token = peers[0].json("invite")["token"]
    victim = world.peer("small/p4")
    victim.run("join", "-", "--name", "p4", "--listen", f"127.0.0.1:{free_port()}", "--detach", "--cpus", "1", stdin=token)
    until(lambda: peers[0].states().get("p4") == "alive", "the fourth is seen")
    # A peer that cannot write is alive: its rounds wait for it until the deadline, here a short one.
    run = tiny_run(world, peers[0], 5000, "--deadline", "3s", steps=8)
    takes_part(peers[0], run, "p4")
    filler = os.path.join(small, "filler")
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError:
            pass

    def named():
        status = victim.run("status", "--json", status=None)
        return status.status == 1 and any("space" in str(p) or "disk" in str(p) for p in status.json["problems"])

    until(named, "status names the full disk")
    before = peers[0].round(run)
    wait_for_round(peers, run, before + 3, guard=PROGRESS)
    os.unlink(filler)
    takes_part(peers[0], run, "p4")
    until(lambda: victim.run("status", status=None).status == 0, "status is healthy again")
