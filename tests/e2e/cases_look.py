"""Pictures of a mesh: what they show is what the peers say, and a kept snapshot gives the same bytes."""
import contextlib
import copy
import fcntl
import hashlib
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import termios
import threading
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
def map_of_a_run(world):
    """--run draws who sends sums to whom: to the owners that the run's plan names, from everybody; none of a run that ended."""
    mesh = world.lab(4)
    first = mesh[0]
    until(lambda: len(first.states()) == 4, "all are known")
    data = world.file("text", "the quick brown fox jumps over the lazy dog. " * 3000)
    run = first.json("train", "--data", data, "--model", "small", "--rounds", "100000", "--inner-steps", "1", "--detach")["run"]
    kept = world.path("run.json")

    def drawn():
        first.run("map", "--run", run[:8], "--as", "json", "-o", kept)
        with open(kept) as file:
            shown = json.load(file)
        names = {p["id"]: p["name"] for p in shown["peers"]}
        flows = [(names[f["from"]], names[f["to"]]) for f in shown["flows"]]
        owners = set(first.show(run)["owners"])
        return len(names) == 4 and {to for _, to in flows} == owners and {a for a, _ in flows} == set(names.values()) and flows

    flows = until(drawn, "the sums go from all to the owners", guard=180)
    expect(all(a != b for a, b in flows), "nobody sends to itself")
    svg = first.run("map", "--from", kept, "--as", "svg").out
    equal(svg.count('<path class="f" stroke-width'), len(flows), "an arrow each")
    text = first.run("map", "--from", kept).out
    sums = text.split("sums of the round", 1)[1]
    expect(all(re.search(rf"{to} <-.* {a}\b", sums) for a, to in flows), sums)
    equal(first.json("map")["flows"], [], "none where none were asked for")
    expect("no run begins with" in first.run("map", "--run", "ffffffff", status=1).err, "a run that isn't there")
    first.run("runs", "cancel", run)
    until(lambda: first.show(run)["state"] == "cancelled", "the run ended", guard=180)
    expect("nobody sums for that run" in first.run("map", "--run", run[:8], status=4).err, "a run that ended")


@case
def map_of_many(world):
    """Above 500 peers a site of many is one box that says how many; --all draws each of them, in a picture and as text."""
    peers = [{"id": f"{i:064x}", "name": f"p{i}", "site": "oslo", "host": f"{i:016x}", "state": "dead" if i == 9 else "alive", "self": i == 0,
              "answered": True, "devices": []} for i in range(600)]
    snapshot = world.file("many.json", json.dumps({"schema": 1, "mesh": "m", "peers": peers, "links": []}))
    nobody = world.peer("nobody")
    for form in ("svg", "ascii"):
        folded, whole = (nobody.run("map", "--from", snapshot, "--as", form, *more).out for more in ((), ("--all",)))
        expect("600 peers, 599 up" in folded and not re.search(r"\bp599\b", folded), f"{form}: {folded[:300]}")
        missing = [i for i in range(600) if not re.search(rf"\bp{i}\b", whole)]
        expect(not missing and "600 peers, 599 up" not in whole, f"{form} --all: no {missing[:3]}")


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
    expect("--run asks the daemon" in peer.run("map", "--from", good, "--run", "ab", status=2).err, "--run of a snapshot")
    equal(peer.run("map", status=None).status, 3, "a map without a daemon")


class Terminal:
    """A command on a terminal of a size; `text` is all it has written, without escapes."""

    def __init__(self, peer, *words, rows=24, columns=80, env=None):
        self.text, self.raw, self.status = "", "", None
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
            self.raw += piece.decode(errors="replace")
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


# A name as a stranger may give himself: escapes that clear the screen and set the title, a right-to-left override, markup,
# quotes of every format, a line's end, bytes that are no letters.
EVIL = "\x1b[2J\x1b]0;owned\x07\u202e\u200f<script>alert(1)</script>\"'&\\\n\r\t\x9b31m" + "x" * 10000
TEXTS = ("name", "mesh_name", "site", "role", "cause", "remedy", "peer", "model", "path", "text")


def evil(value, key=""):
    """The same answer with every text that a stranger may choose replaced."""
    if isinstance(value, dict):
        return {k: evil(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [evil(v, key) for v in value]
    return EVIL if isinstance(value, str) and key in TEXTS else value


def safe(text, what, columns=None):
    """No control characters but line ends, nothing that turns or hides what follows, no line that fills the screen."""
    wrong = [c for c in text if (ord(c) < 32 and c != "\n") or 0x7f <= ord(c) < 0xa0 or ord(c) in range(0x200b, 0x2010) or ord(c) in range(0x202a, 0x202f)]
    expect(not wrong, f"{what}: {wrong[:5]!r} in {text[:300]!r}")
    if columns:
        wide = [line for line in text.splitlines() if len(line) > columns and " " in line.strip()]
        expect(not wide, f"{what}: wider than {columns}: {wide[:1]}")


@contextlib.contextmanager
def impostor(peer, answers):
    """Answers for the daemon that is down: by verb, on its socket, its lock held."""
    name = hashlib.blake2b(peer.home.encode(), digest_size=32).hexdigest()[:16]
    path = os.path.join(peer.world.env["XDG_RUNTIME_DIR"], f"mycel-{name}.sock")
    with open(os.path.join(peer.home, "lock"), "w") as lock, socket.socket(socket.AF_UNIX) as listener:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
        listener.bind(path)
        listener.listen()

        def serve():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client, client.makefile("rb") as asked, contextlib.suppress(OSError):
                    verb = json.loads(asked.readline())["verb"]
                    client.sendall(json.dumps(answers.get(verb, {"schema": 1, "exit": 0})).encode() + b"\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(30)


@case
def strangers_names(world):
    """Names of 10,000 characters with escapes, right-to-left marks and markup: in no picture, table or terminal."""
    first = world.founder()
    world.member("p2", first)
    until(lambda: all(p["answered"] for p in first.json("map")["peers"]) and len(first.states()) == 2, "both are known")
    answers = {verb: first.ask(verb) for verb in ("status", "peers", "runs", "hw", "rtt")}
    answers["map"] = {**first.json("map"), "exit": 0}
    expect(all(answers.values()), f"no answer: {[v for v in answers if not answers[v]]}")
    answers["status"]["problems"] = [{"peer": "p2", "cause": "gone", "remedy": "wait"}]
    answers = evil(copy.deepcopy(answers))
    snapshot = world.file("evil.json", json.dumps({k: v for k, v in answers["map"].items() if k != "exit"}))
    first.run("down")
    for locale in ("C.UTF-8", "C"):
        env = {"LC_ALL": locale}
        text = first.run("map", "--from", snapshot, "--hw", env=env).out
        safe(text, f"map in {locale}", 80)
        expect("?" in text, "what can't be shown is a question mark")
        expect(locale == "C.UTF-8" or text.isascii(), "plain ASCII where the terminal has no more")
    svg, dot = (first.run("map", "--from", snapshot, "--as", form).out for form in ("svg", "dot"))
    safe(svg, "svg")
    safe(dot, "dot")
    document = xml.dom.minidom.parseString(svg)
    expect(not document.getElementsByTagName("script") and "<script" not in dot.replace('"', ""), "markup")
    equal(first.run("map", "--from", snapshot, "-o", world.path("evil.png")).status, 0, "a PNG")
    with impostor(first, answers):
        for words, columns in ((("status",), None), (("peers",), None), (("peers", "-q"), None), (("map",), 80), (("top", "--once"), 80)):
            text = first.run(*words, status=None, env={"LC_ALL": "C.UTF-8"})
            safe(text.out + text.err, " ".join(words), columns)
        top = Terminal(first, "top")
        top.shows("healthy")
        for key, what in (("2", "ADDRESS"), ("3", "BUSY"), ("4", "no runs yet"), ("5", "looking at")):
            top.press(key)
            top.shows(what)
        top.press("q")
        until(top.ended, "q ends it")
        for bad in ("\u202e", "\u200f", "\x9b", "\x1b]"):
            expect(bad not in top.raw, f"{bad!r} on the terminal")


@case
def names_that_are_none(world):
    """A peer's or a mesh's name that is too long, or no name: exit 2 and what it may be; nothing is made."""
    for number, name in enumerate(("x" * 64, "x" * 10000, "a\x1b[2Jb", "a\u202eb", "<b>x</b>", "a b", "\u00e9")):
        peer = world.peer(f"nobody{number}")
        for words in (("init", "m", "--name", name), ("init", name)):
            result = peer.run(*words, status=2)
            safe(result.err, repr(name)[:20])
            expect("at most 63" in result.err and len(result.err) < 500, result.err[:500])
        expect(not os.path.exists(os.path.join(peer.home, "key")), "a key was made")


@case
def narrow_and_plain_terminals(world):
    """map and top on 20 columns, and where the terminal has no UTF-8: what they can show, and no letter beyond ASCII."""
    first = world.founder()
    world.member("p2", first)
    until(lambda: len(first.states()) == 2, "both are known")
    for columns in (20, 80):
        shown = Terminal(first, "map", columns=columns, env={"LC_ALL": "C"})
        until(shown.ended, "the map ends")
        expect("p2" in shown.text and shown.text.isascii() and shown.status == 0, f"map on {columns} columns: {shown.text!r}")
    top = Terminal(first, "top", columns=20, env={"LC_ALL": "C"})
    top.shows("p2")
    for key in "2345":
        top.press(key)
    top.resize(24, 80)
    top.press("1")
    top.shows("healthy")
    expect(top.raw.isascii(), "top without UTF-8")
    top.press("q")
    until(top.ended, "q ends it")
    equal(top.status, 0, "its exit status")
    expect(first.run("top", "--once", env={"LC_ALL": "C"}).out.isascii(), "top --once without UTF-8")
