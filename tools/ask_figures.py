#!/usr/bin/env python3
"""How long `mycel status`, `doctor` and `doctor --bundle` take: tools/ask_figures.py [--runs N] [--binary PATH] (9)

As a person waits for them, each a process of its own, in turns, in a lab of three peers on this machine: asked of a
peer whose daemon runs; of one with a neighbour that is stopped; of one that is stopped itself (SIGSTOP, which answers
as little as one that hangs); and of one without a daemon. Prints rows of Markdown: the median, the shortest and the
longest."""
import argparse
import os
import signal
import statistics
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

from harness import World, until  # noqa: E402

REST_S = 0.3  # a neighbour answers doctor four times a second at most
ASKED = (("status",), ("doctor",), ("doctor", "--bundle"))


def took_ms(peer, words, number):
    more = [peer.world.path(f"{number}.tar")] if "--bundle" in words else []
    began = time.monotonic()
    peer.run(*words, *more, status=None)
    return (time.monotonic() - began) * 1000


def row(peer, state, runs, seen):
    """In turns, so that what else the machine does falls on all of them alike."""
    took = {words: [] for words in ASKED}
    for _ in range(runs):
        for words in ASKED:
            seen.append(words)
            time.sleep(REST_S)
            took[words].append(took_ms(peer, words, len(seen)))
    cells = [f"{statistics.median(t):.0f} ({min(t):.0f} to {max(t):.0f})" for t in took.values()]
    print(f"| {state} | {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="of each command and state")
    parser.add_argument("--binary", default=os.path.join(ROOT, "zig-out", "bin", "mycel"))
    args = parser.parse_args()
    world, seen = World("ask", os.path.abspath(args.binary)), []
    try:
        peers = world.lab(3)
        until(lambda: all(len(p.states()) == 3 for p in peers), "all know all")
        print(f"{os.cpu_count()} cpus; milliseconds, the median of {args.runs} (shortest to longest)\n")
        print(f"| the daemon | {' | '.join('`' + ' '.join(w) + '`' for w in ASKED)} |\n|---|---|---|---|")
        row(peers[0], "runs", args.runs, seen)
        pid = peers[1].kill(signal.SIGSTOP)
        row(peers[0], "runs, a neighbour is stopped", args.runs, seen)
        row(peers[1], "is stopped", args.runs, seen)
        os.kill(pid, signal.SIGCONT)
        peers[2].run("down")
        row(peers[2], "is not there", args.runs, seen)
    finally:
        world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
