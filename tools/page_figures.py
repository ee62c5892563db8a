#!/usr/bin/env python3
"""What the live page costs, in headless Chromium on this machine: tools/page_figures.py [PEERS] [--with-peers] (100)

A lab of so many peers, each a process. Bytes over the wire and requests until the first picture, time to it (cold: a
browser just started, a daemon just started, so that the map is gathered for the first time; five of them, then five
more visits), the frames a second of 500 peers on the canvas, and the daemon's processor time without anybody looking,
with the page open and with `top`. With --with-peers, where they are installed, Syncthing's page (apt-get install
syncthing) and Ray's dashboard (ray[default], in .venv or --ray PATH) on the same machine, in the same browser, in the
same run."""
import argparse
import os
import pty
import shutil
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

import browser  # noqa: E402
from cases_page import BIG  # noqa: E402
from harness import World, free_port, until  # noqa: E402

VISITS = 5
PARTS = ("cold", "page", "cost", "none")
WATCH_S = 30
REST_S = 3
FRAMES = 120
DRAWN = 20
FIRST = """new MutationObserver(() => {
  if (window.firstPicture === undefined && document.querySelector('#view [data-peer], #view canvas'))
    requestAnimationFrame(() => { window.firstPicture ??= performance.now(); });
}).observe(document, { childList: true, subtree: true });
{
  const add = EventSource.prototype.addEventListener;
  EventSource.prototype.addEventListener = function (kind, then) {
    add.call(this, kind, (e) => { (window.told ??= {})[kind] ??= performance.now(); if (kind === 'map') window.firstMap ??= e.data; then(e); });
  };
}"""
STEPS = """(() => { const n = performance.getEntriesByType('navigation')[0];
  return [n.responseEnd, n.domInteractive, window.told.status, window.told.map, window.firstPicture]; })()"""
ANSWERED = "JSON.parse(window.firstMap).peers.filter((p) => p.answered).length"
PAINTED = "(performance.getEntriesByName('first-contentful-paint')[0] || {}).startTime"


def processor_s(pid):
    """Seconds of processor time, of all its threads."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share(pid, seconds):
    """Percent of one processor over so many seconds."""
    began, used = time.monotonic(), processor_s(pid)
    time.sleep(seconds)
    return 100 * (processor_s(pid) - used) / (time.monotonic() - began)


def wire(shown):
    """(requests but for the page's stream, their bytes, bytes of the stream so far)"""
    shown.value("1")
    urls, sizes, streamed = {}, {}, 0
    for event in shown.events:
        params, method = event.get("params", {}), event.get("method")
        if method == "Network.requestWillBeSent":
            urls[params["requestId"]] = params["request"]["url"]
        elif method == "Network.loadingFinished":
            sizes[params["requestId"]] = params["encodedDataLength"]
        elif method == "Network.dataReceived" and urls.get(params["requestId"], "").endswith("/events"):
            streamed += params["dataLength"]
    fetched = [i for i in urls if not urls[i].endswith("/api/v1/events") and not urls[i].startswith("data:")]
    return len(fetched), sum(sizes.get(i, 0) for i in fetched), streamed


def visit(shown, url, ready):
    """Opens it with nothing cached; the value of `ready` as soon as it is one, milliseconds since the visit began."""
    shown.open("about:blank")  # the same address with a fragment would not be loaded again
    shown.wait("location.href === 'about:blank'")
    shown.call("Network.clearBrowserCache")
    shown.open(url)
    shown.wait("location.href !== 'about:blank'")
    end = time.monotonic() + 120
    while time.monotonic() < end:
        found = shown.value(ready)
        if found:
            return found
        time.sleep(0.02)
    raise TimeoutError(f"{url} never showed anything")


def say(what, value):
    print(f"{what:<58} {value}", flush=True)


def times(values):
    return f"{statistics.median(values):.0f} ms ({min(values):.0f} to {max(values):.0f})"


def browse(program, world, name):
    shown = browser.Browser(program, world.path(name))
    shown.look(1280, 900)
    shown.call("Page.addScriptToEvaluateOnNewDocument", source=FIRST)
    return shown


def cold(program, world, mesh, port):
    """Browser and daemon just started, nobody having looked: when which step was done, of each visit."""
    found, answered = [], []
    for k in range(VISITS):
        mesh[0].run("down")
        mesh[0].up("--cpus", "1", "--http", str(port))
        until(lambda: list(mesh[0].states().values()) == ["alive"] * len(mesh), "all are alive", guard=600)
        time.sleep(REST_S)  # it has dialled whom it wants to
        shown = browse(program, world, f"cold-{k}")
        visit(shown, f"http://127.0.0.1:{port}/", "window.firstPicture")
        found.append(shown.value(STEPS))
        answered.append(shown.value(ANSWERED))
        shown.close()
    for what, values in zip(("the page is there", "its script runs", "the status is there", "the map is there", "first picture"), zip(*found)):
        say(f"page, nobody having looked before: {what}", times(values))
    say("page, nobody having looked before: told their links", f"{min(answered)} to {max(answered)} of {len(mesh)}")


def page(shown, port, peers):
    url = f"http://127.0.0.1:{port}/"
    visit(shown, url, "window.firstPicture")
    requests, size, streamed = wire(shown)
    say("page: requests, and one stream", requests)
    say("page: bytes over the wire", size)
    say(f"page: bytes of the stream until the picture of {peers}", streamed)
    say("page: first picture", times([visit(shown, url, "window.firstPicture") for _ in range(VISITS)]))
    say("page: first paint", times([visit(shown, url, PAINTED) for _ in range(VISITS)]))


def frames(shown):
    shown.look(1280, 900)
    shown.value(BIG)
    shown.value("take.map = () => {}")  # the mesh itself would take its place
    took = shown.value(f"""new Promise((done) => {{ let frames = 0, began = 0; const step = (now) => {{ began ||= now; view.moveBy(frames % 2 ? 3 : -3, 1);
      if (frames++ < {FRAMES}) requestAnimationFrame(step); else done((now - began) / {FRAMES}); }}; requestAnimationFrame(step); }})""")
    drawn = shown.value(f"(() => {{ const began = performance.now(); for (let i = 0; i < {DRAWN}; i++) {{ view.pen.drawn = null; view.pen.paint(); view.pen.canvas.getContext('2d').getImageData(0, 0, 1, 1); }} return (performance.now() - began) / {DRAWN}; }})()")
    say("canvas: frames a second while 500 peers move", f"{1000 / took:.0f}")
    say("canvas: drawing 500 peers, 2,500 links anew, all pixels", f"{drawn:.1f} ms")


class Top:
    """`top` on a terminal that is read all the time."""

    def __init__(self, peer):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(peer.world.binary, [peer.world.binary, "--home", peer.home, "top"], {**peer.world.env, "TERM": "xterm", "LC_ALL": "C.UTF-8"})
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass

    def close(self):
        os.write(self.fd, b"q")
        os.waitpid(self.pid, 0)


def costs(shown, first, port):
    """Of one processor, in turns, twice each: the members' own chatter is in all three."""
    pid, found = first.pid(), {"alone": [], "page": [], "top": []}
    for _ in range(2):
        shown.open("about:blank")
        time.sleep(2)
        found["alone"].append(share(pid, WATCH_S))
        shown.open(f"http://127.0.0.1:{port}/")
        shown.wait("window.firstPicture")
        found["page"].append(share(pid, WATCH_S))
        shown.open("about:blank")
        top = Top(first)
        time.sleep(2)
        found["top"].append(share(pid, WATCH_S))
        top.close()
    say("daemon: nobody looks", " ".join(f"{v:.2f} %" for v in found["alone"]))
    for what in ("page", "top"):
        more = [b - a for a, b in zip(found["alone"], found[what])]
        say(f"daemon: {'the page is open' if what == 'page' else '`top` runs'}, more than that", " ".join(f"{v:+.2f} %" for v in more))


def other(program, world, name, words, url, ready, env):
    """Another program's page: `ready` is true when it shows something of its own state; looked for every 20 ms."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **env}, start_new_session=True)
    try:
        def up():
            try:
                return urllib.request.urlopen(url, timeout=5).status == 200
            except OSError:
                return False

        until(up, f"{name}'s page answers")
        time.sleep(REST_S)
        ready = f"{ready} && performance.now()"
        first = []
        for k in range(VISITS):
            shown = browse(program, world, f"{name}-{k}")
            first.append(visit(shown, url, ready))
            time.sleep(1)
            requests, size, _ = wire(shown)
            if k + 1 < VISITS:
                shown.close()
        say(f"{name}'s page: requests", requests)
        say(f"{name}'s page: bytes over the wire", size)
        say(f"{name}'s page: its state is shown, browser just started", times(first))
        say(f"{name}'s page: its state is shown", times([visit(shown, url, ready) for _ in range(VISITS)]))
        say(f"{name}'s page: first paint", times([visit(shown, url, PAINTED) for _ in range(VISITS)]))
        shown.close()
    finally:
        process.terminate()
        process.wait()


def syncthing(program, world):
    if not shutil.which("syncthing"):
        say("Syncthing's page", "left out: apt-get install syncthing")
        return
    port = free_port()
    words = ["syncthing", "serve", f"--home={world.path('syncthing')}", "--no-browser", f"--gui-address=127.0.0.1:{port}", "--no-restart"]
    other(program, world, "Syncthing", words, f"http://127.0.0.1:{port}/", r"/\bv\d/.test(document.querySelector('#device-this')?.innerText)", {"STNOUPGRADE": "1"})


def ray(program, world, path):
    if not os.access(path, os.X_OK):
        say("Ray's dashboard", f"left out: no {path}; pip install 'ray[default]', --ray PATH")
        return
    port = free_port()
    words = [path, "start", "--head", "--block", f"--port={free_port()}", "--num-cpus=1", "--include-dashboard=true",
             "--dashboard-host=127.0.0.1", f"--dashboard-port={port}", f"--temp-dir={world.path('ray')}", "--disable-usage-stats"]
    other(program, world, "Ray", words, f"http://127.0.0.1:{port}/#/cluster", "document.querySelector('tbody tr')", {})


def parse():
    parser = argparse.ArgumentParser(description="What the live page costs, in headless Chromium on this machine.")
    parser.add_argument("peers", nargs="?", type=int, default=100)
    parser.add_argument("--with-peers", action="store_true", help="Syncthing's page and Ray's dashboard, too, where they are installed")
    parser.add_argument("--ray", default=os.path.join(ROOT, ".venv", "bin", "ray"), help="ray's program (ray[default])")
    parser.add_argument("--only", choices=PARTS, action="append", help="these parts alone")
    return parser.parse_args()


def main():
    told = parse()
    wanted = told.only or PARTS
    program = browser.find()
    if not program:
        print("no Chromium here: apt-get install chromium-headless-shell", file=sys.stderr)
        return 1
    world, shown = World("figures", os.path.join(ROOT, "zig-out", "bin", "mycel")), None
    try:
        if set(wanted) & {"cold", "page", "cost"}:
            mesh = world.lab(told.peers)
            port = free_port()
            mesh[0].run("down")
            mesh[0].up("--cpus", "1", "--http", str(port))
            until(lambda: list(mesh[0].states().values()) == ["alive"] * told.peers, "all are alive", guard=600)
        if "cold" in wanted:
            cold(program, world, mesh, port)
        shown = browse(program, world, "browser")
        if "page" in wanted:
            page(shown, port, told.peers)
            frames(shown)
        if "cost" in wanted:
            costs(shown, mesh[0], port)
        if told.with_peers:
            syncthing(program, world)
            ray(program, world, told.ray)
    finally:
        if shown:
            shown.close()
        world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
