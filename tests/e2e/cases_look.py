"""Pictures of a mesh: what they show is what the peers say, and a kept snapshot gives the same bytes."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import termios
import time
import xml.dom.minidom

from harness import case, equal, expect, until


@case
def map_of_a_mesh(world):
    """map agrees with peers on every peer, has every link, and draws the same bytes from a snapshot that was kept."""
    mesh = world.lab(4)
    first = mesh[0]
    until(lambda: len(first.states()) == 4, "all are known")
    shown = first.json("map")
    peers = {p["id"]: p for p in first.json("peers")["peers"]}
    equal({p["id"]: (p["name"], p["state"], p["self"], p["site"]) for p in shown["peers"]},
          {i: (p["name"], p["state"], p["self"], p["site"]) for i, p in peers.items()}, "the peers of the map")
    expect(all(p["answered"] for p in shown["peers"]), f"somebody didn't answer: {shown['peers']}")
    pairs = {(k["a"], k["b"]) for k in shown["links"]}
    equal(len(pairs), len(shown["links"]), "each pair once")
    for peer in mesh:
        own = peer.json("status")["id"]
        for other in peer.json("peers")["peers"]:
            if other["neighbor"]:
                expect((own, other["id"]) in pairs or (other["id"], own) in pairs, "a neighbour's link is missing")
    kept = world.path("kept.json")
    first.run("map", "-o", kept)
    for form in ("ascii", "svg", "dot", "json"):
        pictures = [first.run("map", "--from", kept, "--as", form).out for _ in range(2)]
        equal(pictures[0], pictures[1], f"two pictures as {form}")
        expect("p1" in pictures[0], f"no p1 in the {form}")
    with open(kept) as file:
        equal(first.run("map", "--from", kept, "--as", "json").out, file.read(), "the snapshot, read and written")
    xml.dom.minidom.parseString(first.run("map", "--as", "svg").out)
    wide = [line for line in first.run("map", env={"LC_ALL": "C.UTF-8"}).out.splitlines() if len(line) > 80]
    expect(not wide, f"the map is wider than 80 columns: {wide[:1]}")


@case
def map_of_a_stopped_peer(world):
    """A peer that is stopped holds the map up for a second or so, and is drawn as one that doesn't answer."""
    mesh = world.lab(3)
    until(lambda: len(mesh[0].states()) == 3, "all are known")
    pid = mesh[2].pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        shown = {p["name"]: p for p in mesh[0].json("map")["peers"]}
        took = time.monotonic() - began
    finally:
        os.kill(pid, signal.SIGCONT)
    expect(took < 3 * 2, f"the map took {took:.1f} s")
    equal((shown["p2"]["answered"], shown["p3"]["answered"]), (True, False), "who answered")


@case
def bad_snapshots(world):
    """A snapshot that is cut short, of a newer schema, or none; a picture that can't be written: exit 4 and why."""
    peer = world.peer("nobody")
    text = json.dumps({"schema": 1, "mesh": "m", "peers": [], "links": []})
    for name, data, said in (("cut", text[:-9], "no snapshot"), ("newer", text.replace("1", "7"), "schema 7"),
                             ("empty", "", "no snapshot"), ("other", "[1, 2]", "no lists")):
        result = peer.run("map", "--from", world.file(name, data), status=4)
        expect(said in result.err, f"{name}: {result.err}")
    expect("No such file" in peer.run("map", "--from", world.path("missing"), status=4).err, "a missing file is named")
    good = world.file("good", text)
    peer.run("map", "--from", good)
    expect("cannot write" in peer.run("map", "--from", good, "-o", world.path("no/such/folder.svg"), status=4).err, "no folder")
    peer.run("map", "--from", good, "--as", "jpeg", status=2)
    equal(peer.run("map", status=None).status, 3, "a map without a daemon")


class Terminal:
    """A command on a terminal of a size; `text` is all it has written, without escapes."""

    def __init__(self, peer, *words, rows=24, columns=80, env=None):
        self.text, self.status = "", None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(peer.world.folder)
            os.execve(peer.world.binary, [peer.world.binary, "--home", peer.home, *words],
                      {**peer.world.env, "TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})})
        self.resize(rows, columns)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        while select.select([self.fd], [], [], 0)[0]:
            try:
                piece = os.read(self.fd, 65536)
            except OSError:
                return self.text
            self.text += re.sub(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\([0-9A-Za-z]|[=>78])", "", piece.decode(errors="replace"))
        return self.text

    def shows(self, what):
        until(lambda: what in self.read(), lambda: f"{what!r} is shown: {self.text[-400:]!r}")

    def press(self, keys):
        self.text = ""
        os.write(self.fd, keys.encode())

    def ended(self):
        self.read()
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.status = os.waitstatus_to_exitcode(status)
        return pid != 0


@case
def top_on_a_terminal(world):
    """Tabs, help, resizes, a terminal of 20 columns, a stopped daemon; q ends it, and nothing is left on the screen."""
    first = world.founder()
    world.member("p2", first)
    until(lambda: len(first.states()) == 2, "both are known")
    top = Terminal(first, "top")
    top.shows("healthy")
    top.shows("p2")
    for key, what in (("2", "ADDRESS"), ("3", "BUSY"), ("4", "no runs yet"), ("5", "looking at p1"), ("?", "the next tab")):
        top.press(key)
        top.shows(what)
    top.resize(10, 20)
    top.press("1")
    top.shows("NAME")
    top.resize(50, 200)
    pid = first.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        top.press("2")
        top.shows("ADDRESS")  # at once, though nobody answers
        top.shows("has not answered")
    finally:
        os.kill(pid, signal.SIGCONT)
    top.press("q")
    until(top.ended, "q ends it")
    equal(top.status, 0, "its exit status")
    nothing = Terminal(first, "top", env={"TERM": "no-such-terminal"})
    until(nothing.ended, "it gives up")
    equal(nothing.status, 4, "without a terminal it knows")
    expect("--once" in nothing.text, nothing.text)


@case
def top_once(world):
    """Plain text within 80 columns; exit 3 without a daemon."""
    first = world.founder()
    text = first.run("top", "--once").out
    expect("healthy" in text and "NAME" in text and "DEVICE" in text, text)
    wide = [line for line in text.splitlines() if len(line) > 80]
    expect(not wide, f"wider than 80 columns: {wide[:1]}")
    expect("\x1b" not in text, "no escapes in a pipe")
    first.run("down")
    equal(first.run("top", "--once", status=None).status, 3, "without a daemon")
