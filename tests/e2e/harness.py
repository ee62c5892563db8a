"""What the end-to-end cases are made of: a peer by its home, a lab, and waiting on conditions.

Every wait is a poll on a condition with a guard time, at least three times the limit that the product promises, so that
no case depends on the machine's speed. A case gets a `World`, whose folder and processes end with it.
"""
import fcntl
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GUARD = 60  # seconds, for anything that has no limit of its own
CASES = []
NO_HOSTS = []  # why network namespaces cannot be made here, once that is known


class Failed(Exception):
    """A case's expectation does not hold."""


class Skipped(Exception):
    """This machine lacks what the case needs; said loudly."""


def case(function):
    """Registers a case; its name is the function's, its description the docstring's first line."""
    CASES.append(function)
    return function


def expect(condition, text):
    if not condition:
        raise Failed(text)


def equal(got, wanted, what):
    if got != wanted:
        raise Failed(f"{what}: {got!r}, not {wanted!r}")


def until(condition, what, guard=GUARD, every=0.05):
    """Polls until `condition()` gives something true, and returns that. `what` may be a function that explains."""
    end = time.monotonic() + guard
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"not within {guard} s: {what() if callable(what) else what}")
        time.sleep(every)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def good(self, status=0):
        if self.status != status:
            raise Failed(f"exit {self.status}, not {status}\n{self.err.strip()[-2000:]}")
        return self

    @property
    def json(self):
        lines = self.out.strip().splitlines()
        if not lines:
            raise Failed(f"no JSON on stdout (exit {self.status}): {self.err.strip()}")
        return json.loads(lines[-1])


class Peer:
    """One home. `run` gives the command line's answer; the daemon is whoever holds the home's lock."""

    def __init__(self, world, home):
        self.world, self.home = world, home

    def run(self, *words, status=0, guard=GUARD, stdin="", env=None):
        result = self.world.run("--home", self.home, *words, guard=guard, stdin=stdin, env=env)
        if status is not None and result.status != status:
            raise Failed(f"mycel {' '.join(words)[:60]}: exit {result.status}, not {status}\n{result.err.strip()}")
        return result

    def json(self, *words, status=0, **rest):
        return self.run(*words, "--json", status=status, **rest).json

    def pid(self):
        """The process that holds the lock; 0 for none."""
        try:
            with open(os.path.join(self.home, "lock"), "r+") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return 0
                except OSError:
                    return int(lock.read().split()[0])
        except (OSError, ValueError, IndexError):
            return 0

    def kill(self, number=signal.SIGKILL):
        pid = self.pid()
        expect(pid > 0, f"no process holds {self.home}")
        os.kill(pid, number)
        if number == signal.SIGKILL:
            until(lambda: self.pid() == 0, f"process {pid} ends")
        return pid

    def up(self, *words, **rest):
        return self.run("up", "--detach", *words, **rest)

    def ask(self, verb, guard=10):
        """The daemon's answer to a verb by its control socket, without a process for the command; None for none."""
        name = hashlib.blake2b(self.home.encode(), digest_size=32).hexdigest()[:16]
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(guard)
                s.connect(os.path.join(self.world.env["XDG_RUNTIME_DIR"], f"mycel-{name}.sock"))
                s.sendall(json.dumps({"verb": verb}).encode() + b"\n")
                with s.makefile("rb") as answers:
                    for line in answers:
                        answer = json.loads(line)
                        if "exit" in answer:
                            return answer
        except (OSError, ValueError):
            pass
        return None

    def rss(self):
        """Resident bytes of its process; 0 for none."""
        try:
            with open(f"/proc/{self.pid()}/statm") as statm:
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            return 0

    def states(self):
        """Peer name -> state, as this peer sees it."""
        return {p["name"]: p["state"] for p in self.json("peers")["peers"]}

    def show(self, run, number=None, status=0):
        words = ["runs", "show", run] + (["--round", str(number)] if number is not None else [])
        return self.json(*words, status=status)

    def round(self, run):
        """Closed rounds of the run as this peer knows it; -1 while it doesn't."""
        result = self.run("runs", "show", run, "--json", status=None)
        return result.json.get("round", -1) if result.status == 0 else -1

    def log(self):
        try:
            with open(os.path.join(self.home, "log"), errors="replace") as log:
                return log.read()
        except OSError:
            return ""


class World:
    """A temporary folder with homes in it, and the program under test."""

    def __init__(self, name, binary):
        self.name, self.binary = name, binary
        self.folder = tempfile.mkdtemp(prefix=f"mycel-{name[:20]}-")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("MYCEL_", "XDG_"))}
        self.env.update(XDG_RUNTIME_DIR=self.folder, HOME=self.folder, NO_COLOR="1", MYCEL_CONF="")
        self.mounts = []
        self.processes = []
        self.labs_on_hosts = []

    def run(self, *words, guard=GUARD, stdin="", env=None):
        try:
            done = subprocess.run([self.binary, *words], input=stdin.encode(), capture_output=True, timeout=guard,
                                  env={**self.env, **(env or {})}, cwd=self.folder)
        except subprocess.TimeoutExpired as late:
            raise Failed(f"mycel {' '.join(words)[:80]}: no end within {guard} s\n{(late.stderr or b'').decode()[-800:]}")
        return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def start(self, *words, **rest):
        """A command that runs beside the case; ended with it."""
        process = subprocess.Popen([self.binary, *words], env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **rest)
        self.processes.append(process)
        return process

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def peer(self, name):
        return Peer(self, self.path(name))

    def file(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data if isinstance(data, bytes) else data.encode())
        return self.path(name)

    def founder(self, name="p1", mesh="test", port=None):
        """A mesh of one running peer."""
        peer = self.peer(name)
        peer.run("init", mesh, "--name", name, "--listen", f"127.0.0.1:{port or free_port()}")
        peer.up("--cpus", "1")
        return peer

    def member(self, name, sponsor, role="member"):
        peer = self.peer(name)
        token = sponsor.json("invite", "--role", role)["token"]
        peer.run("join", "-", "--name", name, "--listen", f"127.0.0.1:{free_port()}", "--detach", "--cpus", "1", stdin=token)
        return peer

    def lab(self, count, cpus=1, env=None):
        result = self.run("--home", self.path("lab-home"), "lab", "up", str(count), "--cpus", str(cpus), "--json", env=env)
        expect(result.status == 0, f"lab up: exit {result.status}\n{result.err}")
        return [self.peer(f"lab-home/lab/{k}") for k in range(1, count + 1)]

    def lab_on_hosts(self, count, hosts, *limits, home="lab-home", guard=180):
        """A lab whose peers lie on network namespaces; skipped where those cannot be made."""
        self.need_hosts()
        self.labs_on_hosts.append(self.path(home))
        self.run("--home", self.path(home), "lab", "up", str(count), "--hosts", str(hosts), "--cpus", "1", "--json", *limits,
                 guard=guard).good()
        return [self.peer(f"{home}/lab/{k}") for k in range(1, count + 1)]

    def need_hosts(self):
        """Skips the case where network namespaces with all their limits cannot be made; the reason is told once."""
        if NO_HOSTS:
            raise Skipped("no network namespaces, as said above")
        tried = self.run("--home", self.path("probe"), "lab", "hosts", "up", "1", "--rate", "1gbit", "--delay", "1ms", "--loss", "1%")
        self.run("--home", self.path("probe"), "lab", "hosts", "down")
        if tried.status:
            NO_HOSTS.append(tried.err.strip())
            raise Skipped(f"NO NETWORK NAMESPACES HERE: {tried.err.strip()}")

    def homes(self):
        for folder, _, files in os.walk(self.folder):
            if "lock" in files:
                yield Peer(self, folder)

    def close(self, keep_logs_in=None):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for peer in list(self.homes()):
            pid = peer.pid()
            if pid:
                os.kill(pid, signal.SIGKILL)
            if keep_logs_in and peer.log():
                os.makedirs(keep_logs_in, exist_ok=True)
                name = os.path.relpath(peer.home, self.folder).replace("/", "-")
                with open(os.path.join(keep_logs_in, f"{name}.log"), "w") as out:
                    out.write(peer.log())
        for peer in list(self.homes()):
            until(lambda p=peer: p.pid() == 0, "the last processes end", guard=10)
        for home in self.labs_on_hosts:
            self.run("--home", home, "lab", "hosts", "down")
        for mount in self.mounts:
            subprocess.run(["umount", mount], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


# What several cases use one after the other, since it takes long to make: name -> object with close(keep_logs_in).
SHARED = {}


def drop_shared(keep_logs_in=None):
    for name in list(SHARED):
        SHARED.pop(name).close(keep_logs_in)


def sentences(size, seed=1):
    """Text with something to learn: sentences of a small made-up language, the same for the same seed."""
    pick = random.Random(seed)
    syllables = ["ka", "lo", "mi", "ten", "ur", "sa", "bel", "dri"]
    words = ["".join(pick.choices(syllables, k=pick.randint(1, 3))) for _ in range(60)]
    parts, length = [], 0
    while length < size:
        sentence = " ".join(pick.choices(words, k=pick.randint(3, 9))).capitalize() + ".\n"
        parts.append(sentence)
        length += len(sentence)
    return "".join(parts)[:size]


# A model that takes milliseconds a step: what the cases check is the mesh.
TINY_MODEL = "layers = 2\nwidth = 32\nheads = 2\ninner = 64\ncontext = 32\nbatch = 4\ntied = yes\n"


def tiny_run(world, peer, rounds, *more, seed=1, text=None, steps=4):
    """Starts a small run on `peer`, detached; its id."""
    data = world.file("text.txt", text or sentences(200_000))
    model = world.file("tiny.model", TINY_MODEL)
    return peer.json("train", "--data", data, "--model", model, "--rounds", str(rounds), "--inner-steps", str(steps),
                     "--seed", str(seed), "--detach", *more)["run"]


def wait_for_round(peers, run, number, guard=GUARD):
    """Until each of `peers` has closed round `number` of the run."""
    for peer in peers:
        until(lambda p=peer: p.round(run) >= number,
              lambda p=peer: f"{os.path.basename(p.home)} reaches round {number} (is at {p.round(run)}; "
                             f"{p.run('runs', status=None).err.strip()[-300:]})", guard=guard, every=0.1)


def hashes(peer, run, rounds):
    return [peer.show(run, r)["params_hash"] for r in rounds]
