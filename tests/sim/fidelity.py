#!/usr/bin/env python3
"""The simulator against real processes: one scenario in both, message counts by type and times compared.

16 peers join at once through one, are left alone for 3 s, then broadcast 5 times a second (1 KiB) for 12 s while one of
them is killed, and rest for 20 s. Real peers are `mycel bench mesh-node` on loopback; simulated ones
`mycel sim mesh --storm --scenario kill`. Prints a table; the exit status is 1 where something differs by more than the
factors below.

    python3 tests/sim/fidelity.py [--mycel zig-out/bin/mycel] [--nodes 16] [--runs 1] [--json]
"""
import argparse
import json
import os
import random
import select
import socket
import subprocess
import sys
import time

# What is rare differs by chance, and what takes milliseconds by the machine's load: neither is judged tightly.
COUNT_FACTOR = 1.6  # of a type that is sent often
OFTEN = 150  # messages in the simulator, all peers together
TOTAL_FACTOR = 1.4  # of all messages
DETECT_FACTOR, DETECT_SLACK_MS = 2.0, 500
ACT_S, REST_S, QUIET_S, RATE, SIZE = 12, 20, 3, 5, 1024


def free_address():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{s.getsockname()[1]}"


class Real:
    def __init__(self, mycel, index, count, seed):
        self.process = subprocess.Popen(
            [mycel, "bench", "mesh-node", str(index), str(count), str(seed), free_address()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.rest, self.lines = b"", []

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def read(self):
        data = self.process.stdout.read()
        if not data:
            return
        *lines, self.rest = (self.rest + data).split(b"\n")
        self.lines += [line.decode() for line in lines]

    def find(self, word):
        return [line.split() for line in self.lines if line.startswith(word + " ")]


def pump(peers, seconds, until=None):
    """Reads what they say until `until()`, or for so long; whether it came."""
    end = time.monotonic() + seconds
    by_fd = {p.process.stdout.fileno(): p for p in peers}
    while True:
        if until and until():
            return True
        left = end - time.monotonic()
        if left <= 0:
            return False
        for fd in select.select(list(by_fd), [], [], min(left, 0.05))[0]:
            by_fd[fd].read()


def real(mycel, nodes, seed):
    peers = [Real(mycel, i, nodes, seed) for i in range(nodes)]
    try:
        if not pump(peers, 30, lambda: all(p.find("READY") for p in peers)):
            raise SystemExit("fidelity: a process did not start")
        start_us = time.time_ns() // 1000
        for p in peers[1:]:
            p.say("JOIN " + peers[0].find("READY")[0][1])
        if not pump(peers, 60, lambda: all(p.find("FULL") for p in peers)):
            raise SystemExit("fidelity: the mesh did not form")
        formed_ms = (max(int(p.find("FULL")[0][1]) for p in peers) - start_us) / 1000
        pump(peers, QUIET_S)
        chance, victim, number, began, killed_us = random.Random(seed), nodes - 1, 0, time.monotonic(), 0
        while (at := time.monotonic() - began) < ACT_S:
            if at >= 1 and not killed_us:
                killed_us = time.time_ns() // 1000
                peers[victim].process.kill()
            who = chance.randrange(nodes - 1 if killed_us else nodes)
            peers[who].say(f"PUB {number} {SIZE} 1 0")
            number += 1
            pump([p for p in peers if p.process.poll() is None], number / RATE - (time.monotonic() - began))
        living = peers[:victim]
        pump(living, REST_S)
        for p in living:
            p.say("TALK")
            p.say("STAT")
        pump(living, 10, lambda: all(p.find("TALK") and p.find("STAT") for p in living))
        gone = [[int(g[1]) for g in p.find("GONE") if int(g[2]) == victim] for p in living]
        wrong = sum(int(g[2]) != victim for p in living for g in p.find("GONE"))
        sent = {}
        for p in living:
            for pair in p.find("TALK")[0][1:]:
                name, _, value = pair.partition("=")
                if "/" in value and name != "bytes":
                    sent[name] = sent.get(name, 0) + int(value.split("/")[0])
        return {"formed_ms": formed_ms, "sent": sent, "false": wrong,
                "detect_ms": (max(g[0] for g in gone) - killed_us) / 1000 if all(gone) else None}
    finally:
        for p in peers:
            p.process.kill()
            p.process.wait()


def simulated(mycel, nodes, seed):
    out = subprocess.run(
        [mycel, "sim", "mesh", "--nodes", str(nodes), "--sites", "1", "--storm", "--scenario", "kill", "--seconds",
         str(ACT_S), "--casts", str(RATE), "--cast-bytes", str(SIZE), "--seed", str(seed), "--json"],
        check=True, capture_output=True, text=True).stdout
    report = json.loads(out)
    return {"formed_ms": report["formed_ms"], "sent": report["sent"], "false": report["seen_dead_false"],
            "detect_ms": report["detect_ms"]["max"]}


def mean(runs):
    names = sorted({name for run in runs for name in run["sent"]})
    found = [run["detect_ms"] for run in runs if run["detect_ms"] is not None]
    return {"formed_ms": sum(r["formed_ms"] for r in runs) / len(runs),
            "detect_ms": sum(found) / len(found) if len(found) == len(runs) else None,
            "false": sum(r["false"] for r in runs),
            "sent": {name: sum(r["sent"].get(name, 0) for r in runs) / len(runs) for name in names}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mycel", default="zig-out/bin/mycel")
    parser.add_argument("--nodes", type=int, default=16)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    there = mean([real(a.mycel, a.nodes, seed) for seed in range(1, a.runs + 1)])
    here = mean([simulated(a.mycel, a.nodes, seed) for seed in range(1, 11)])
    bad = []
    table = []
    for name in sorted(set(there["sent"]) | set(here["sent"])):
        x, y = there["sent"].get(name, 0), here["sent"].get(name, 0)
        ratio = y / x if x else float("inf") if y else 1
        judged = y >= OFTEN and not 1 / COUNT_FACTOR <= ratio <= COUNT_FACTOR
        if judged:
            bad.append(name)
        table.append((name, x, y, ratio, judged))
    totals = [sum(side["sent"].get(name, 0) for name in here["sent"]) for side in (there, here)]
    ratio = totals[1] / totals[0]
    if not 1 / TOTAL_FACTOR <= ratio <= TOTAL_FACTOR:
        bad.append("total")
    table.append(("total", *totals, ratio, "total" in bad))
    if there["detect_ms"] is None or there["false"] or here["false"]:
        bad.append("failures")
    else:
        low, high = sorted((there["detect_ms"], here["detect_ms"]))
        if high > DETECT_FACTOR * low + DETECT_SLACK_MS:
            bad.append("detection")
    if a.json:
        print(json.dumps({"schema": 1, "nodes": a.nodes, "real": there, "simulated": here, "differ": bad}))
    else:
        print(f"{'sent, all peers':18} {'real':>8} {'simulated':>10} {'ratio':>6}")
        for name, x, y, r, wrong in table:
            print(f"{name:18} {x:8.0f} {y:10.0f} {r:6.2f}{'  <- differs' if wrong else ''}")
        print(f"formed, ms         {there['formed_ms']:8.0f} {here['formed_ms']:10.0f}")
        print(f"death seen, ms     {there['detect_ms'] or 0:8.0f} {here['detect_ms']:10.0f}")
        print(f"false deaths       {there['false']:8} {here['false']:10}")
        print("differs: " + ", ".join(bad) if bad else "the simulator and the processes agree")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
