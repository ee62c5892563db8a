"""A mesh over network namespaces, each peer a host: storms of joins, deaths, silence, splits, new addresses, loss.

The cases on the large mesh use one after the other the same one, which has to be whole again at the end of each:
MESH peers, 32, or 100 with --full. Guards are three times what the product promises: a killed peer is seen within 3 s,
a silent one within 5 s, a healed split within 10 s.
"""
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from harness import SHARED, Failed, World, case, equal, expect, tiny_run, until, wait_for_round

MESH = 100 if os.environ.get("MYCEL_FULL") else 32
KILLED, SILENT, HEALED, BACK = 3 * 3, 3 * 5, 3 * 10, 60  # seconds
STOPPED_FOR, SPLIT_FOR = 15, 60
CALM_FOR, CALM = 5, MESH // 4  # seconds, and accusations in them (48 when connections stayed mute)
BURIED = 180  # until a few have given up many: no promise, they go one by one
# What a peer may hold: a fixed part and some for each other member.
RSS_MAX = (24 << 20) + (96 << 10) * MESH


class Mesh:
    """The large mesh, in a world of its own that outlives a case."""

    def __init__(self, binary):
        self.world = World("hosts", binary)
        try:
            begin = time.monotonic()
            self.peers = self.world.lab_on_hosts(MESH, MESH)
            self.made_in = time.monotonic() - begin
            self.names = [f"p{k}" for k in range(1, MESH + 1)]
        except BaseException:
            self.world.close()
            raise

    def close(self, keep_logs_in=None):
        self.world.close(keep_logs_in)

    def lab(self, *words, guard=120):
        return self.world.run("--home", self.world.path("lab-home"), "lab", *words, guard=guard).good()

    def views(self, numbers):
        """Number -> {name: state} of those peers, asked at the same time; {} of one that doesn't answer."""
        def view(k):
            answer = self.peers[k - 1].ask("peers") or {"peers": []}
            return {p["name"]: p["state"] for p in answer["peers"]}

        with ThreadPoolExecutor(16) as pool:
            return dict(zip(numbers, pool.map(view, numbers)))

    def wrong(self, viewers, states):
        """What `viewers` see otherwise than `states` (number -> state, or a set of them) says: [(viewer, seen, state)]."""
        found = []
        for k, view in self.views(viewers).items():
            for other, wanted in states.items():
                state = view.get(f"p{other}", "unknown")
                if other != k and state not in ({wanted} if isinstance(wanted, str) else wanted):
                    found.append((k, other, state))
        return found

    def until_seen(self, viewers, states, what, guard):
        """Polls until all viewers see those states; a failure names the pairs that don't. Returns the seconds it took."""
        begin = time.monotonic()
        last = []

        def right():
            last[:] = self.wrong(viewers, states)
            return not last

        def explain():
            pairs = ", ".join(f"p{a} sees p{b} as {state}" for a, b, state in last[:12])
            return f"{what}: {len(last)} of {len(viewers) * len(states)} pairs are wrong: {pairs}{' ...' if len(last) > 12 else ''}"

        until(right, explain, guard=guard, every=0.2)
        return time.monotonic() - begin

    def until_whole(self, guard, what="all see all"):
        everyone = range(1, MESH + 1)
        seconds = self.until_seen(everyone, dict.fromkeys(everyone, "alive"), what, guard)
        self.check_memory()
        return seconds

    def check_memory(self):
        for k, peer in enumerate(self.peers, 1):
            expect(peer.rss() <= RSS_MAX, f"p{k} holds {peer.rss() >> 20} MiB, above {RSS_MAX >> 20}")

    def accusations(self):
        return sum(p.log().count("gossip.accused") for p in self.peers)

    def healthy_for(self, seconds, viewers, healthy):
        """For so long nobody calls a healthy peer dead."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            accused = self.wrong(viewers, dict.fromkeys(healthy, {"alive", "suspect"}))
            expect(not accused, "healthy peers are called dead: " + ", ".join(f"p{b} by p{a} ({s})" for a, b, s in accused[:12]))
            time.sleep(1)

    def split(self, one, other, *which):
        """`lab split` until each part takes the other for dead and is whole in itself; the seconds until the former."""
        begin = time.monotonic()
        self.lab("split", *which)
        for own, lost in ((one, other), (other, one)):
            self.until_seen(own, dict.fromkeys(lost, "dead"), f"p{lost[0]} to p{lost[-1]} are dead to p{own[0]} to p{own[-1]}", BURIED)
        apart = time.monotonic() - begin
        for own in (one, other):
            self.until_seen(own, dict.fromkeys(own, "alive"), f"p{own[0]} to p{own[-1]} are whole in themselves", BACK)
        return apart


def mesh(world):
    """The large mesh, whole; made when there is none."""
    if "mesh" not in SHARED:
        world.need_hosts()
        SHARED["mesh"] = Mesh(world.binary)
    shared = SHARED["mesh"]
    shared.until_whole(BACK, "the mesh is whole at the start")
    return shared


def others(*numbers):
    return [k for k in range(1, MESH + 1) if k not in numbers]


def say(text):
    print(f"     {text}", flush=True)


@case
def hosts_join_storm(world):
    """All join at once through one sponsor, each on its own host: all see all, and nobody has two entries."""
    m = mesh(world)
    for k, view in m.views(range(1, MESH + 1)).items():
        equal(sorted(view), sorted(m.names), f"members that p{k} knows")
    rss = sorted(p.rss() >> 10 for p in m.peers)
    say(f"{MESH} peers on {MESH} hosts made, joined, all see all: {m.made_in:.1f} s; RSS median {rss[len(rss) // 2] / 1024:.1f}, "
        f"most {rss[-1] / 1024:.1f} MiB")


@case
def hosts_killed_peer(world):
    """kill -9 of two peers: seen by all within 3 s (guard 9 s); they come back by `lab up`."""
    m = mesh(world)
    victims = (2, MESH - 1)
    m.lab("kill", *map(str, victims))
    seconds = m.until_seen(others(*victims), dict.fromkeys(victims, "dead"), "the killed peers are dead to all", KILLED)
    expect(not m.wrong(others(*victims), dict.fromkeys(others(*victims), {"alive", "suspect"})), "others are called dead, too")
    say(f"killed peers seen dead by all after {seconds:.1f} s")
    m.lab("up", str(MESH))
    m.until_whole(BACK, "the killed peers are back")


@case
def hosts_stopped_peer(world):
    """SIGSTOP for 15 s: dead to all within 5 s (guard 15 s), nobody healthy is accused, and it returns after SIGCONT."""
    m = mesh(world)
    m.lab("stop", "5")
    begin = time.monotonic()
    try:
        seconds = m.until_seen(others(5), {5: "dead"}, "the stopped peer is dead to all", SILENT)
        m.healthy_for(max(1.0, STOPPED_FOR - (time.monotonic() - begin)), others(5), others(5))
        equal(m.wrong(others(5), {5: "dead"}), [], "who takes the stopped peer for something else after 15 s")
    finally:
        m.lab("cont", "5")
    back = m.until_whole(BACK, "the woken peer is back")
    say(f"a stopped peer seen dead by all after {seconds:.1f} s; whole {back:.1f} s after it was woken")


@case
def hosts_black_hole(world):
    """A host that nothing reaches and that reaches nothing: dead to all within 5 s (guard 15 s); back when healed."""
    m = mesh(world)
    m.lab("split", "9")
    seconds = m.until_seen(others(9), {9: "dead"}, "the black hole is dead to all", SILENT)
    m.healthy_for(3, others(9), others(9))
    # What the lonely one makes of its silence: it cannot know that the others live, and says so.
    until(lambda: m.peers[8].run("status", "--json", status=None).json.get("healthy") is False, "the black hole calls itself unhealthy",
          guard=SILENT)
    m.lab("heal")
    back = m.until_whole(HEALED, "the black hole is back")
    say(f"a black hole seen dead by all after {seconds:.1f} s; whole {back:.1f} s after the heal")


@case
def hosts_split_in_half(world):
    """Two halves cut apart for 60 s: each takes the other for dead; healed, all pairs see each other in 10 s (guard 30 s)."""
    m = mesh(world)
    begin = time.monotonic()
    apart = m.split(list(range(1, MESH // 2 + 1)), list(range(MESH // 2 + 1, MESH + 1)))
    time.sleep(max(0.0, SPLIT_FOR - (time.monotonic() - begin)))  # the length of the split is the case itself
    m.lab("heal")
    back = m.until_whole(HEALED, "the halves find each other")
    say(f"each half dead to the other after {apart:.1f} s; all {MESH * (MESH - 1)} pairs {back:.1f} s after the heal")


@case
def hosts_site_cut_off(world):
    """Four hosts cut off together: they keep each other, lose the rest, are back after the heal, and then all is calm:
    connections that TCP had all but given up are no reason to accuse anybody."""
    m = mesh(world)
    site = [1, 2, 3, 4]
    m.split(site, others(*site), "1..4")
    m.lab("heal")
    back = m.until_whole(HEALED, "the site is back")
    before = m.accusations()
    m.healthy_for(CALM_FOR, range(1, MESH + 1), range(1, MESH + 1))
    after = m.accusations()
    expect(after - before <= CALM, f"{after - before} accusations in the {CALM_FOR} s after the site is back")
    say(f"a site of 4 back with all {back:.1f} s after the heal")


@case
def hosts_one_way_cut(world):
    """One host hears another but isn't heard by it: nobody healthy is accused, since the others still reach both."""
    m = mesh(world)
    m.lab("split", "6->7")
    m.healthy_for(10, others(6, 7), range(1, MESH + 1))
    m.lab("heal")
    m.until_whole(HEALED, "whole after a cut one way")


@case
def hosts_new_address(world):
    """A peer stopped and started at an address that nobody has known: all find it, and it keeps its identity."""
    m = mesh(world)
    was = m.peers[10].json("status")["id"]
    begin = time.monotonic()
    shown = m.world.run("--home", m.world.path("lab-home"), "lab", "restart", "11", "--new-address", "--json", guard=60).good()
    equal(shown.json["lab"][0]["state"], "up", "state after the restart")
    listed = m.world.run("--home", m.world.path("lab-home"), "lab", "hosts", "list", "--json").good().json["hosts"][10]
    expect(listed["address"].startswith("10.77.") and listed["address"] != "10.77.0.11", f"no new address: {listed['address']}")

    def who_knows_not():
        return [k for k in others(11) for p in (m.peers[k - 1].ask("peers") or {"peers": []})["peers"]
                if p["name"] == "p11" and f"{listed['address']}:6173" not in p["addresses"]]

    until(lambda: not who_knows_not(), lambda: f"the new address is known; not to {who_knows_not()}", guard=BACK)
    m.until_whole(BACK, "the peer at its new address is back")
    equal(m.peers[10].json("status")["id"], was, "its id")
    for k in (1, MESH // 2, MESH):
        until(lambda k=k: m.peers[k - 1].run("ping", "p11", "-c", "1", status=None).status == 0, f"p{k} reaches p11 by a ping")
    say(f"stopped, moved to {listed['address']}, seen by all {time.monotonic() - begin:.1f} s later")


@case
def hosts_training_with_loss(world):
    """5 % loss and 20 ms each way between 4 peers (8 with --full): a run goes through, with one history."""
    count = 8 if MESH > 32 else 4
    peers = world.lab_on_hosts(count, count, "--loss", "5%", "--delay", "20ms", "--rate", "100mbit")
    run = tiny_run(world, peers[0], 6, "--deadline", "20s")
    wait_for_round(peers, run, 6, guard=180)
    last = {peer.show(run)["params_hash"] for peer in peers}
    equal(len(last), 1, "different parameters at the end")
