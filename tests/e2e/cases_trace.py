"""One round on a time line: who slows it down is named, by peers that answer and about those that don't."""
import glob
import json
import os
import signal
import subprocess
import threading
import time
import xml.dom.minidom

from harness import ROOT, Failed, Skipped, case, equal, expect, tiny_run, until

STEPS = 300  # inner steps of a round: some tenths of a second


class Limp:
    """Stops a process nine tenths of the time."""

    def __init__(self, pid):
        self.pid, self.over = pid, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.over.is_set():
            os.kill(self.pid, signal.SIGSTOP)
            time.sleep(0.18)
            os.kill(self.pid, signal.SIGCONT)
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


PERFETTO_EVENTS = {  # of the Trace Event Format: a complete event, and metadata by its name; field -> its type
    "X": {"ph": str, "cat": str, "name": str, "ts": int, "dur": int, "pid": int, "tid": int},
    "M": {"ph": str, "name": str, "pid": int, "tid": int, "args": dict},
}
PERFETTO_NAMES = {"process_name": ("name", str), "process_sort_index": ("sort_index", int), "thread_name": ("name", str)}


def check_event(event):
    """Its fields, and no others; times and numbers as JavaScript and Perfetto can hold them."""
    fields = PERFETTO_EVENTS.get(event.get("ph"))
    expect(fields, f"an unknown kind of event: {event}")
    equal(set(event) - {"args"}, set(fields) - {"args"}, f"fields of {event}")
    for key, kind in fields.items():
        expect(type(event[key]) is kind, f"{key} is no {kind.__name__}: {event}")
        expect(kind is not int or 0 <= event[key] < (1 << 53 if key in ("ts", "dur") else 1 << 31), f"{key} in {event}")
    expect(event["ph"] == "M" or event["name"] and event["cat"], f"a span without a name: {event}")
    if event["ph"] == "M":
        expect(event["name"] in PERFETTO_NAMES, f"unknown metadata: {event}")
        key, kind = PERFETTO_NAMES[event["name"]]
        expect(set(event["args"]) == {key} and type(event["args"][key]) is kind, f"its args: {event}")
    else:
        expect(all(type(v) in (str, int) for v in event.get("args", {}).values()), f"its args: {event}")


def check_perfetto(trace):
    """By the rules of the Trace Event Format, as Perfetto's importer reads it: processes and threads named once and before
    they do anything, threads' numbers of one process each, spans of a thread in order and apart. Pid -> name, spans."""
    equal(list(trace)[:2], ["displayTimeUnit", "traceEvents"], "the first fields: the unit is read before the events")
    expect(set(trace) <= {"displayTimeUnit", "traceEvents", "otherData"} and trace["displayTimeUnit"] in ("ms", "ns"), list(trace))
    said, owner, end, processes = set(), {}, {}, {}
    for event in trace["traceEvents"]:
        check_event(event)
        pid, tid = event["pid"], event["tid"]
        expect(pid > 0 and tid > 0, f"number 0 is the system's own: {event}")
        equal(owner.setdefault(tid, pid), pid, f"the process of thread {tid}")
        if event["ph"] == "M":
            expect((pid, event["name"]) not in said, f"said twice: {event}")
            said.add((pid, event["name"]))
            processes.setdefault(pid, ["", []])
            if event["name"] == "process_name":
                processes[pid][0] = event["args"]["name"]
            continue
        expect({(pid, "process_name"), (pid, "thread_name")} <= said, f"before its process and thread have names: {event}")
        expect(event["ts"] >= end.get(tid, 0), f"out of order, or over the one before: {event}")
        end[tid] = event["ts"] + event["dur"]
        processes[pid][1].append(event)
    expect(all((pid, "process_name") in said for pid in processes), f"processes without a name: {processes}")
    return processes


def check_against(trace, shown):
    """The very spans that `shown` has, a process a peer."""
    processes = check_perfetto(trace)
    equal([processes[pid][0].split()[0] for pid in sorted(processes)], [p["name"] for p in shown["peers"]], "the processes")
    for pid, peer in zip(sorted(processes), shown["peers"]):
        equal([(e["name"], e["ts"], e["ts"] + e["dur"]) for e in processes[pid][1]],
              [(s["phase"], s["begin_us"], s["end_us"]) for s in peer["spans"]], f"the spans of {peer['name']}")


def check_the_check(text):
    """What breaks one rule is found, so that a file that passes says something."""
    def first(trace, phase, **more):
        return next(e for e in trace["traceEvents"] if e["ph"] == phase and all(e[k] == v for k, v in more.items()))

    def later(trace):
        one = first(trace, "X")
        return next(e for e in trace["traceEvents"] if e["ph"] == "X" and e["tid"] == one["tid"] and e is not one)

    def put(event, key, value):
        event[key] = value

    breaks = {
        "a time with a fraction": lambda t: put(first(t, "X"), "ts", 0.5),
        "no length": lambda t: first(t, "X").pop("dur"),
        "a negative length": lambda t: put(first(t, "X"), "dur", -1),
        "a text for a number": lambda t: put(first(t, "X"), "pid", "1"),
        "a field of its own": lambda t: put(first(t, "X"), "color", "red"),
        "no name": lambda t: put(first(t, "X"), "name", ""),
        "an overlap": lambda t: put(first(t, "X"), "dur", later(t)["ts"] - first(t, "X")["ts"] + 1),
        "a begin without an end": lambda t: put(first(t, "X"), "ph", "B"),
        "one thread in two processes": lambda t: put(later(t), "tid", max(e["tid"] for e in t["traceEvents"])),
        "unknown metadata": lambda t: put(first(t, "M"), "name", "label"),
        "a process without a name": lambda t: t["traceEvents"].remove(first(t, "M", name="process_name")),
        "named twice": lambda t: t["traceEvents"].append(first(t, "M", name="thread_name")),
        "an unknown unit": lambda t: put(t, "displayTimeUnit", "us"),
    }
    for what, change in breaks.items():
        trace = json.loads(text)
        change(trace)
        try:
            check_perfetto(trace)
        except Failed:
            continue
        raise Failed(f"{what} passes")


@case
def trace_names_the_slow_peer(world):
    """A peer that gets a tenth of its time trains longest; the first line says so, and every form shows the same."""
    mesh = world.lab(4)
    first, slow = mesh[0], mesh[2]
    run = tiny_run(world, first, 1000, steps=STEPS)
    until(lambda: first.round(run) >= 1, "a round is closed")
    with Limp(slow.pid()):
        limps = first.round(run) + 2  # the first round that it limps through from its beginning
        until(lambda: first.round(run) >= limps, "a slow round is closed")
    for peer in mesh:
        shown = peer.json("trace", run, "--round", str(limps))
        equal((shown["slowest"]["peer"], shown["slowest"]["why"], shown["slowest"]["phase"], shown["slowest"]["matters"]),
              ("p3", "longer", "training", True), f"who is slow, says {os.path.basename(peer.home)}")
        equal([(p["name"], p["answered"]) for p in shown["peers"]], [(f"p{k}", True) for k in range(1, 5)], "the peers")
        expect(all(p["self"] or p["clock_error_us"] > 0 for p in shown["peers"]), "a clock is exact without a round trip")
    kept = world.path("kept.json")
    first.run("trace", run, "--round", str(limps), "--as", "json", "-o", kept)
    with open(kept) as file:
        shown = json.load(file)
        file.seek(0)
        equal(first.run("trace", "--from", kept, "--json").out, file.read(), "the trace, read and written")
    phases = {s["phase"] for p in shown["peers"] for s in p["spans"]}
    expect({"training", "waiting", "summing", "applying"} <= phases, f"the phases: {phases}")
    for form in ("text", "ascii", "svg", "perfetto"):
        pictures = [first.run("trace", "--from", kept, "--as", form).out for _ in range(2)]
        equal(pictures[0], pictures[1], f"two pictures as {form}")
        expect("p3" in pictures[0], f"no p3 in the {form}")
    lines = first.run("trace", "--from", kept, env={"LC_ALL": "C.UTF-8"}).out.splitlines()
    expect(lines[0].startswith("p3 slows round") and "training" in lines[0], lines[0])
    expect(all(len(line) <= 80 for line in lines), f"wider than 80 columns: {max(lines, key=len)}")
    xml.dom.minidom.parseString(first.run("trace", "--from", kept, "--as", "svg").out)
    perfetto = first.run("trace", "--from", kept, "--as", "perfetto").out
    check_against(json.loads(perfetto), shown)
    check_the_check(perfetto)
    for golden in sorted(glob.glob(os.path.join(ROOT, "tests", "golden", "atlas", "trace-*.perfetto.json"))):
        with open(golden) as file:
            check_perfetto(json.load(file))
    first.run("runs", "cancel", run)


@case
def trace_of_a_stopped_peer(world):
    """A peer that is stopped says nothing; the others waited for it, and it is named for that, at once."""
    mesh = world.lab(4)
    first = mesh[0]
    run = tiny_run(world, first, 1000, steps=STEPS)
    until(lambda: first.round(run) >= 1, "a round is closed")
    pid = mesh[2].kill(signal.SIGSTOP)
    try:
        stopped = first.round(run)
        until(lambda: first.round(run) >= stopped + 3, "the others go on without it")
        began = time.monotonic()
        rounds = [first.json("trace", run, "--round", str(stopped + k)) for k in range(1, 4)]
        took = time.monotonic() - began
    finally:
        os.kill(pid, signal.SIGCONT)
    expect(took < 3 * 3 * 1, f"three traces took {took:.1f} s")
    longest = max(rounds, key=lambda r: r["length_us"])
    equal((longest["slowest"]["peer"], longest["slowest"]["why"], longest["slowest"]["matters"]), ("p3", "waited_for", True),
          f"who is slow in round {longest['round']}")
    equal({p["name"]: p["answered"] for p in longest["peers"]}, {"p1": True, "p2": True, "p3": False, "p4": True}, "who answers")
    first.run("runs", "cancel", run)


@case
def trace_of_a_stalled_run(world):
    """Without a quorum the round that goes on is the one meant, and one of those it waits for is named, in a second each."""
    mesh = world.lab(4)
    first = mesh[0]
    run = tiny_run(world, first, 1000, steps=STEPS)
    until(lambda: first.round(run) >= 1, "a round is closed")
    pids = [peer.kill(signal.SIGSTOP) for peer in mesh[2:]]
    try:
        shown = until(lambda: next((t for t in [first.json("trace")] if t["open"] and t["slowest"] and
                                    t["slowest"]["why"] == "waited_for" and t["slowest"]["matters"]), None), "the stall is told")
        began = time.monotonic()
        line = first.run("trace").out.splitlines()[0]
        took = time.monotonic() - began
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    expect(shown["slowest"]["peer"] in ("p3", "p4"), f"who is named: {shown['slowest']}")
    equal({p["name"]: p["answered"] for p in shown["peers"]}, {"p1": True, "p2": True, "p3": False, "p4": False}, "who answers")
    expect(line[:2] in ("p3", "p4") and "have waited" in line, line)
    expect(took < 3 * 1, f"the trace took {took:.1f} s")
    first.run("runs", "cancel", run)


@case
def trace_across_clocks(world):
    """A peer whose clocks are a day ahead lies on the same line, within what the round trip leaves open."""
    first = world.founder()
    second = world.member("p2", first)
    second.run("down")
    ahead = ["unshare", "--time", "--fork", "--monotonic", "86400", "--boottime", "86400"]
    up = [world.binary, "--home", second.home, "up", "--detach", "--cpus", "1"]
    if subprocess.run([*ahead, "true"], capture_output=True, check=False).returncode:
        raise Skipped("NO TIME NAMESPACES HERE: root is needed")
    until(lambda: first.states().get("p2") != "alive", "p2 is seen to have stopped")
    done = subprocess.run([*ahead, *up], env=world.env, cwd=world.folder, capture_output=True, text=True, timeout=60, check=False)
    equal(done.returncode, 0, f"up with other clocks: {done.stderr}")
    until(lambda: list(first.states().values()) == ["alive"] * 2, "both are up")
    with open(f"/proc/{second.pid()}/timens_offsets") as offsets:
        expect("86400" in offsets.read(), "p2's clocks are the machine's")
    run = tiny_run(world, first, 3, steps=STEPS)
    until(lambda: first.round(run) == 3, "the run is done")
    for peer in (first, second):
        shown = peer.json("trace", run, "--round", "2")
        a, b = shown["peers"]
        expect(not a["cut"] and not b["cut"], "nobody claims too much")
        # Nobody sums before both have trained, and nobody closes the round before both have summed.
        slack = a["clock_error_us"] + b["clock_error_us"]
        for x, y in ((a, b), (b, a)):
            trained = next(s["end_us"] for s in x["spans"] if s["phase"] == "training")
            summed = next(s["begin_us"] for s in y["spans"] if s["phase"] == "summing")
            expect(trained <= summed + slack, f"{y['name']} sums {trained - summed} us before {x['name']} has trained, +- {slack}")
        expect(abs(a["spans"][-1]["end_us"] - b["spans"][-1]["end_us"]) < 10e6, "they end far apart")


@case
def trace_of_nothing(world):
    """Rounds and runs that aren't there, files that are no traces, no daemon: which it is and what to do."""
    peer = world.founder()
    expect("no run" in peer.run("trace", status=None).err, "no run is known")
    run = tiny_run(world, peer, 12)
    until(lambda: peer.round(run) == 12, "the run is done")
    equal(peer.json("trace")["round"], 12, "the last round")
    equal(peer.json("trace", "--round", "5")["round"], 5, "the last but seven")
    expect("the last 8" in peer.run("trace", "--round", "4", status=1).err, "one that nobody keeps any more")
    expect("isn't here" in peer.run("trace", "--round", "99", status=1).err, "a round that isn't")
    expect("begins with" in peer.run("trace", "--run", "ffff", status=1).err, "a run that isn't")
    peer.run("trace", "--as", "jpeg", status=2)
    text = json.dumps(peer.json("trace"))
    for name, data, said in (("cut", text[:-9], "no trace"), ("newer", text.replace('"schema": 1', '"schema": 7'), "schema 7"),
                             ("empty", "", "no trace"), ("other", "[1, 2]", "no list")):
        expect(said in peer.run("trace", "--from", world.file(name, data), status=4).err, f"{name} is refused with the reason")
    kept = world.file("kept", text.replace('"p1"', '"<b>\\u001b[2J\\u202e"'))
    for form in ("text", "ascii", "svg"):
        shown = peer.run("trace", "--from", kept, "--as", form).out
        unsafe = ("\x1b", "\u202e") + (("<b>",) if form == "svg" else ())
        expect(not any(bad in shown for bad in unsafe), f"unsafe {form}: {shown}")
    expect("cannot write" in peer.run("trace", "--from", kept, "-o", world.path("no/such.svg"), status=4).err, "no folder")
    peer.run("down")
    equal(peer.run("trace", status=None).status, 3, "without a daemon")
