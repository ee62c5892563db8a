#!/usr/bin/env python3
"""Pictures of the live page, docs/pictures/page-WIDTH-THEME.webp and page-1280-sums.webp, and of `map`, docs/pictures/map.svg:
a mesh of twelve on three sites trains a small run; one peer is killed before the dark ones are taken. Called by tools/shots.sh, which sees to what it needs."""
import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

import browser  # noqa: E402
from harness import World, free_port, until  # noqa: E402

PEERS = [("atlas", "oslo"), ("borea", "oslo"), ("cygnus", "oslo"), ("delphi", "oslo"), ("echo", "lyon"), ("fornax", "lyon"),
         ("gemini", "lyon"), ("hydra", "lyon"), ("izar", "kyoto"), ("juno", "kyoto"), ("kepler", "kyoto"), ("lyra", "")]
WIDTHS = (360, 1280, 2560)
CHOOSE = "(() => { const t = document.getElementById('tree'); t.selectedIndex = 1; t.dispatchEvent(new Event('change')); })()"


def mesh(world):
    """The peers, and the port of the first one's page."""
    port = free_port()
    first = world.peer(PEERS[0][0])
    first.run("init", "observatory", "--name", PEERS[0][0], "--listen", f"127.0.0.1:{free_port()}")
    first.up("--cpus", "1", "--site", PEERS[0][1], "--http", str(port))
    peers = [first]
    for name, site in PEERS[1:]:
        peer = world.peer(name)
        token = first.json("invite")["token"]
        words = ["--site", site] if site else []
        peer.run("join", "-", "--name", name, "--listen", f"127.0.0.1:{free_port()}", "--detach", "--cpus", "1", *words, stdin=token)
        peers.append(peer)
    until(lambda: list(first.states().values()) == ["alive"] * len(PEERS), "all are alive")
    return peers, port


def take(shown, port, folder, theme):
    for width in WIDTHS:
        shown.look(width, 800 if width < 1000 else 1000, theme == "dark")
        shown.open(f"http://127.0.0.1:{port}/")
        shown.wait(f"document.querySelectorAll('#view [data-peer]').length === {len(PEERS)} && document.querySelector('.curve')")
        time.sleep(1)  # for the eye: colours have settled
        shown.picture(os.path.join(folder, f"page-{width}-{theme}.webp"))
        for complaint in shown.complaints():
            print(f"the page complains: {complaint}", file=sys.stderr)


def take_sums(shown, port, folder):
    """With the run's sums over the links."""
    shown.look(1280, 1000)
    shown.open(f"http://127.0.0.1:{port}/")
    shown.wait("document.getElementById('trees')?.hidden === false && document.querySelector('.curve')")
    shown.value(CHOOSE)
    shown.wait("document.querySelector('#view line.flow')")
    time.sleep(1)
    shown.picture(os.path.join(folder, "page-1280-sums.webp"))


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "docs", "pictures")
    os.makedirs(folder, exist_ok=True)
    world = World("shots", os.path.join(ROOT, "zig-out", "bin", "mycel"))
    shown = None
    try:
        peers, port = mesh(world)
        text = os.path.join(ROOT, ".cache", "data", "plays-train.txt")
        peers[0].run("train", "--data", text if os.path.exists(text) else world.file("text", "the quick brown fox. " * 20000),
                     "--rounds", "40", "--inner-steps", "1", "--detach")
        until(lambda: peers[0].json("runs", status=None)["runs"][0]["round"] >= 14, "14 rounds are closed", guard=600)
        shown = browser.Browser(browser.find(), world.path("browser"))
        take_sums(shown, port, folder)
        take(shown, port, folder, "light")
        peers[0].run("map", "-o", os.path.join(os.path.abspath(folder), "map.svg"))
        peers[5].kill()
        until(lambda: peers[0].states()["fornax"] == "dead", "the loss is known")
        take(shown, port, folder, "dark")
    finally:
        if shown:
            shown.close()
        world.close()
    print(f"pictures lie in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
