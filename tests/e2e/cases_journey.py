"""Journeys by hand: a mesh of one, of two, of three; who leaves and who comes back."""
import os
import signal

from harness import ROOT, case, equal, expect, until


@case
def by_hand(world):
    """init, up, invite, join, status, peers, ping, leave, down, as a person types them."""
    first = world.peer("p1")
    made = first.json("init", "garden", "--name", "p1", "--listen", "127.0.0.1:0")
    equal(len(made["mesh"]), 64, "length of the mesh's id")
    equal(list(made)[0], "schema", "first field")
    equal(first.run("init", "garden", status=4).out, "", "output of a second init")
    equal(first.run("status", status=3).out, "", "output of a status without a daemon")
    first.up()
    alone = first.json("status")
    equal((alone["healthy"], alone["peers_up"], alone["mesh"]), (True, 0, made["mesh"]), "a lone peer")
    second = world.member("p2", first, role="sponsor")
    third = world.member("p3", second)
    for peer in (first, second, third):
        until(lambda p=peer: list(p.states().values()) == ["alive"] * 3, "all see all", guard=30)
        equal(peer.json("status")["peers_up"], 2, "peers_up")
    answer = second.json("ping", "p3", "-c", "2")
    equal((answer["sent"], answer["received"]), (2, 2), "pings")
    expect(second.run("ping", "nobody", status=None).status not in (0, 7), "a ping of nobody succeeds")
    second.run("down")
    equal(second.run("status", status=None).status, 3, "status of a stopped peer")
    until(lambda: first.states()["p2"] != "alive", "a stopped peer isn't alive", guard=30)
    second.up()
    until(lambda: first.states()["p2"] == "alive" and second.states()["p3"] == "alive", "the peer is back", guard=30)
    third.run("leave")
    equal(third.run("invite", status=None).status, 3, "an invitation by one that has left")
    until(lambda: first.states().get("p3") == "left", "the peer has left", guard=30)
    equal(first.run("ping", "p3", "-c", "1", status=None).status in (4, 5, 1), True, "a ping of one that left fails")


@case
def tables_for_people(world):
    """What the verbs print on a terminal of 80 columns has headings and fits."""
    first = world.founder()
    world.member("p2", first)
    until(lambda: len(first.states()) == 2, "both are known")
    for words in (["status"], ["peers"], ["runs"], ["invite", "ls"], ["version"], ["help"], ["ping", "p2", "-c", "1"]):
        text = first.run(*words).out
        expect(text, f"{words[0]} prints nothing")
        # A home's path is as long as it is.
        wide = [line for line in text.splitlines() if len(line) > 80 and world.folder not in line]
        expect(not wide, f"{words[0]} is wider than 80 columns: {wide[:1]}")
    expect("NAME" in first.run("peers").out, "peers has no headings")


@case
def reference_is_current(world):
    """docs/commands.md is what `help --markdown` prints."""
    with open(os.path.join(ROOT, "docs", "commands.md")) as file:
        equal(world.run("help", "--markdown").out == file.read(), True, "docs/commands.md is current (mycel help --markdown)")


@case
def foreground_peer_stops_on_interrupt(world):
    """`up` in the foreground ends by Ctrl-C with a goodbye, and its socket is gone."""
    peer = world.peer("p1")
    peer.run("init", "m", "--listen", "127.0.0.1:0")
    process = world.start("--home", peer.home, "up")
    until(lambda: peer.run("status", status=None).status == 0, "the daemon answers")
    process.send_signal(signal.SIGINT)
    equal(process.wait(timeout=30), 0, "exit status")
    peer.run("status", status=3)


@case
def killed_peer_is_seen_and_returns(world):
    """kill -9: the others see it within 3 s (guard 9 s); SIGSTOP: within 5 s (guard 15 s); both come back."""
    peers = world.lab(4)
    peers[2].kill()
    for other in (peers[0], peers[1], peers[3]):
        until(lambda o=other: o.states()["p3"] == "dead", "the killed peer is dead", guard=9)
    peers[2].up("--cpus", "1")
    for other in (peers[0], peers[1], peers[3]):
        until(lambda o=other: o.states()["p3"] == "alive", "the peer is back", guard=30)
    pid = peers[1].kill(signal.SIGSTOP)
    until(lambda: peers[0].states()["p2"] == "dead", "the stopped peer is dead", guard=15)
    os.kill(pid, signal.SIGCONT)
    until(lambda: peers[0].states()["p2"] == "alive", "the woken peer is back", guard=30)
    for peer in peers:
        until(lambda p=peer: set(p.states().values()) == {"alive"}, "nobody healthy stays accused", guard=30)


@case
def lab_is_idempotent(world):
    """lab up twice, after a kill, with more peers; lab run; lab status; lab down."""
    home = world.path("lab-home")
    peers = world.lab(2)
    pids = [p.pid() for p in peers]
    peers = world.lab(2)
    equal([p.pid() for p in peers], pids, "processes after a second lab up")
    peers[1].kill()
    status = world.run("--home", home, "lab", "status", "--json")
    equal([row["state"] for row in status.json["lab"]], ["up", "down"], "lab status")
    equal(status.status, 1, "exit status of lab status with one down")
    peers = world.lab(3)
    equal(peers[0].pid(), pids[0], "the first peer's process")
    rows = world.run("--home", home, "lab", "status", "--json").json["lab"]
    equal([(row["peer"], row["state"], row["http"]) for row in rows], [(1, "up", 0), (2, "up", 0), (3, "up", 0)], "lab status")
    equal([row["pid"] for row in rows], [p.pid() for p in peers], "pids")
    ran = world.run("--home", home, "lab", "run", "--peer", "2", "--", "mycel", "status", "--json")
    equal((ran.status, ran.json["home"]), (0, peers[1].home), "lab run")
    equal(world.run("--home", home, "lab", "run", "--peer", "9", "--", "true").status, 1, "lab run of a peer that isn't there")
    equal(world.run("--home", home, "lab", "down").status, 0, "lab down")
    equal([p.pid() for p in peers], [0, 0, 0], "processes after lab down")
