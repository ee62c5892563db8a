"""doctor: each trouble that it knows is made for real, and must be named with its cause and its remedy."""
import contextlib
import fcntl
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import time

from cases_devices import fake, small_run, two_peers
from harness import GUARD, ROOT, Skipped, case, equal, expect, free_port, tiny_run, until, wait_for_round

ANSWERS = 3 * 4  # seconds: three times "a few"


def lines(peer, **more):
    """doctor's lines, and that it came back in time with the exit status that they mean."""
    began = time.monotonic()
    result = peer.run("doctor", "--json", status=None, **more)
    expect(time.monotonic() - began < ANSWERS, f"doctor took {time.monotonic() - began:.1f} s")
    told = result.json
    fails = any(line["state"] == "fail" for line in told["checks"])
    equal(told["healthy"], not fails, "healthy")
    equal(result.status, 1 if fails else 0 if told["daemon"] else 3, f"exit status of {told['checks']}")
    for line in told["checks"]:
        equal(bool(line["trouble"]), line["state"] in ("warn", "fail"), f"a trouble where it warns or fails: {line}")
        expect(not line["trouble"] or line["cause"] and line["remedy"], f"no cause or remedy: {line}")
    return told["checks"]


def named(peer, trouble, *words, guard=GUARD, **more):
    """Until doctor names the trouble in a line that holds all `words`; that line."""
    seen = []

    def found():
        seen[:] = [line for line in lines(peer, **more) if line["trouble"]]
        return [line for line in seen if line["trouble"] == trouble and
                all(word in f"{line['peer']}: {line['cause']}; {line['remedy']}" for word in words)]

    return until(found, lambda: f"doctor names {trouble} with {words}: {seen}", guard=guard, every=0.2)[0]


def states(peer, **more):
    """Check -> its worst state."""
    order = ["skip", "pass", "warn", "fail"]
    worst = {}
    for line in lines(peer, **more):
        worst[line["check"]] = max(worst.get(line["check"], "skip"), line["state"], key=order.index)
    return worst


def plain(peer, trouble, **more):
    """As people see it: within 80 columns, the remedy in it."""
    text = peer.run("doctor", status=None, **more).out
    expect(all(len(line) <= 80 or " " not in line.strip() for line in text.splitlines()), f"wider than 80 columns:\n{text}")
    words = " ".join(text.split())
    expect(trouble["remedy"][:40] in words and trouble["cause"][:40] in words, f"not told: {trouble} in\n{text}")
    return text


def two(world):
    first = world.founder()
    second = world.member("p2", first)
    until(lambda: len(first.states()) == 2 and second.json("status", status=None)["peers_up"] == 1, "the two see each other")
    return first, second


@case
def doctor_when_all_is_well(world):
    """Without a home, without a daemon (exit 3), with one (0); docs/troubles.md is what `doctor --markdown` prints."""
    nobody = world.peer("nobody")
    trouble = named(nobody, "home-none", "mycel init", "mycel join")
    equal(nobody.run("doctor", status=None).status, 3, "without a home")
    plain(nobody, trouble)
    expect(not os.path.exists(nobody.home), "doctor makes a home")
    first, second = two(world)
    for peer in (first, second):
        until(lambda p=peer: set(states(p).values()) <= {"pass"}, lambda p=peer: f"nothing is wrong: {lines(p)}")
        equal(peer.run("doctor").out.splitlines()[0], "healthy", "the first line")
    told = until(lambda: [line["cause"] for line in lines(second) if "p1 reaches 127.0.0.1" in line["cause"]], "p1 reaches it")
    equal(len(told), 1, "lines of its address")
    second.run("down")
    named(second, "daemon-none", "mycel up --detach")
    equal(second.run("doctor", status=None).status, 3, "without a daemon")
    with open(os.path.join(ROOT, "docs", "troubles.md")) as file:
        equal(world.run("doctor", "--markdown").out == file.read(), True, "docs/troubles.md is current (mycel doctor --markdown)")


@case
def doctor_of_a_home(world):
    """A key that others can read, an open home, damaged files, another mesh's charter or key, a disk that is read-only."""
    one, other = world.peer("one"), world.peer("other")
    one.run("init", "one", "--listen", f"127.0.0.1:{free_port()}")
    other.run("init", "two", "--listen", f"127.0.0.1:{free_port()}")
    key = os.path.join(one.home, "key")
    os.chmod(key, 0o644)
    plain(one, named(one, "key-open", "chmod 600", key, "0644"))
    os.chmod(key, 0o600)
    os.chmod(one.home, 0o777)
    named(one, "home-open", f"chmod 700 {one.home}")
    os.chmod(one.home, 0o700)
    for name in ("charter", "settings", "key", "certificate"):
        path = os.path.join(one.home, name)
        with open(path, "rb") as file:
            good = file.read()
        with open(path, "wb") as file:
            file.write(good[: len(good) // 3])
        named(one, "home-damaged", name, "restore it from a copy")
        with open(path, "wb") as file:
            file.write(good)
    kept = world.path("kept")
    for name, word in (("charter", "another mesh"), ("key", "another key")):
        path = os.path.join(one.home, name)
        shutil.copy(path, kept)
        shutil.copy(os.path.join(other.home, name), path)
        named(one, "certificate-other", word, "must be of one peer")
        shutil.copy(kept, path)
    conf = os.path.join(one.home, "mycel.conf")
    with open(conf, "w") as file:
        file.write("colour = green\n")
    named(one, "conf-wrong", f"{conf}:1", "colour", "mycel conf")
    with open(conf, "w") as file:
        file.write("listen = 203.0.113.9:6173\n")
    named(one, "port-not-here", "203.0.113.9")
    os.remove(conf)
    expect(states(one)["certificate"] == "pass", lines(one))
    if subprocess.run(["mount", "--bind", one.home, one.home], capture_output=True, check=False).returncode:
        raise Skipped("no bind mounts here")
    world.mounts.append(one.home)
    subprocess.run(["mount", "-o", "remount,bind,ro", one.home], check=True)
    named(one, "home-closed", "Read-only file system", "ls -ld")


@case
def doctor_of_a_daemon_that_does_not_answer(world):
    """Stopped; busy for ever; behind a socket that is elsewhere: each within a few seconds, with its process."""
    first = world.founder()
    pid = first.kill(signal.SIGSTOP)
    try:
        plain(first, named(first, "daemon-stopped", f"kill -CONT {pid}"))
        sock = next(name for name in os.listdir(world.folder) if name.startswith("mycel-") and name.endswith(".sock"))
        with contextlib.ExitStack() as crowd:  # nor when others wait already, more than the kernel queues
            for _ in range(40):
                other = crowd.enter_context(socket.socket(socket.AF_UNIX))
                other.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    other.connect(world.path(sock))
            named(first, "daemon-stopped", f"kill -CONT {pid}")
            expect(f"kill -CONT {pid}" in first.run("status", status=5, guard=ANSWERS).err, "status does not say what to do")
        expect(f"kill -CONT {pid}" in first.run("peers", status=5, guard=ANSWERS).err, "nor does peers")
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: states(first)["daemon"] == "pass", "it answers again")
    os.mkdir(world.path("run"), 0o700)
    named(first, "daemon-apart", "XDG_RUNTIME_DIR", str(pid), env={"XDG_RUNTIME_DIR": world.path("run")})
    first.run("down")
    with open(os.path.join(first.home, "lock"), "w") as lock, socket.socket(socket.AF_UNIX) as mute:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        with contextlib.suppress(FileNotFoundError):
            os.remove(world.path(sock))
        mute.bind(world.path(sock))
        mute.listen()
        named(first, "daemon-silent", f"kill {os.getpid()}", "1 s", f"{first.home}/log")


@case
def doctor_of_a_port(world):
    """In use, and by whom; of no address of this machine; forbidden."""
    peer = world.peer("p1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        peer.run("init", "m", "--listen", f"127.0.0.1:{port}")
        plain(peer, named(peer, "port-in-use", str(port), f"process {os.getpid()}", "--listen"))
    equal(states(peer)["port"], "pass", "a free port")
    away = world.peer("away")
    away.run("init", "m", "--listen", "203.0.113.7:6173")
    named(away, "port-not-here", "203.0.113.7:6173", "ip address")
    low = world.peer("low")
    low.run("init", "m", "--listen", "127.0.0.1:91")
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
        if int(file.read()) <= 91 or not shutil.which("setpriv"):
            raise Skipped("low ports are free to all here, or there is no setpriv")
    command = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service", world.binary, "--home", low.home,
               "doctor", "--json"]
    told = json.loads(subprocess.run(command, env=world.env, capture_output=True, text=True, check=False).stdout)
    found = [line for line in told["checks"] if line["trouble"] == "port-forbidden"]
    expect(found and "1024" in found[0]["remedy"], told)


@case
def doctor_of_an_address(world):
    """What a peer advertises is not where it listens: the other one, asked to dial it, says so."""
    first, second = two(world)
    second.run("down")
    wrong = free_port()
    second.up("--cpus", "1", "--advertise", f"127.0.0.1:{wrong}")
    plain(second, named(second, "address-closed", f"127.0.0.1:{wrong}", "--advertise", "refused"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", wrong))
        other.listen()
        named(second, "address-closed", "no answer in time")
    equal(states(first)["address"], "pass", "the other one's")


@case
def doctor_behind_a_firewall(world):
    """Hosts of their own: a filter before the port, seen from outside; one that drops all, seen on the machine itself."""
    peers = world.lab_on_hosts(3, 3)
    until(lambda: states(peers[2])["address"] == "pass", "it is reached at first")

    def nft(*words):
        done = world.run("--home", world.path("lab-home"), "lab", "hosts", "exec", "3", "--", "nft", *words)
        if done.status:
            raise Skipped(f"no nft here: {done.err.strip()[-200:]}")

    port = str(peers[2].json("status", status=None)["port"])
    nft("add", "table", "inet", "t")
    nft("add", "chain", "inet", "t", "in", "{ type filter hook input priority 0; }")
    nft("add", "rule", "inet", "t", "in", "iifname", "!=", "lo", "tcp", "dport", port, "ct", "state", "new", "drop")
    named(peers[2], "address-closed", "no answer in time", f"open TCP port {port}")
    equal(states(peers[2])["port"], "skip", "from another host")

    def there():
        done = world.run("--home", world.path("lab-home"), "lab", "hosts", "exec", "3", "--", world.binary, "--home",
                         peers[2].home, "doctor", "--json")
        return next(line for line in done.json["checks"] if line["check"] == "port")

    equal(there()["state"], "pass", "on the host itself")
    nft("add", "rule", "inet", "t", "in", "tcp", "dport", port, "ct", "state", "new", "drop")
    found = there()
    equal(found["trouble"], "port-closed", "with all filtered")
    expect("firewall" in found["remedy"] and "no answer in time" in found["cause"], found)
    peers[1].run("down")
    world.run("--home", world.path("lab-home"), "lab", "hosts", "exec", "2", "--", world.binary, "--home", peers[1].home, "up",
              "--detach", "--cpus", "1", "--map-port").good()
    named(peers[1], "gateway-refuses", "speaks neither", "by hand", "--map-port")


def shifted(world, seconds):
    """The environment in which the wall clock is off by so much: a library before libc's (no package brings one here)."""
    source = world.file("clock.c", """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long off(void) { const char *s = getenv("TEST_CLOCK_OFF"); return s ? atol(s) : 0; }
int clock_gettime(clockid_t id, struct timespec *t)
{
    int (*real)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, t);
    if (id == CLOCK_REALTIME) t->tv_sec += off();
    return result;
}
time_t time(time_t *out)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}
""")
    compiler = next((c for c in ("clang-14", "cc") if shutil.which(c)), None)
    if not compiler:
        raise Skipped("no C compiler for the library that shifts the clock")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", world.path("clock.so"), source, "-ldl"], check=True)
    return {"LD_PRELOAD": world.path("clock.so"), "TEST_CLOCK_OFF": str(seconds)}


@case
def doctor_of_a_clock(world):
    """One clock of three over an hour ahead: its own peer knows by the others; with two peers it may be either; behind its papers."""
    ahead = shifted(world, 4000)
    first, second = two(world)
    third = world.member("p3", first)
    until(lambda: len(third.states()) == 3, "all are known")
    third.run("down")
    third.up("--cpus", "1", env=ahead)
    plain(third, named(third, "clock-off", "66 min ahead of those of 2 peers", "timedatectl", env=ahead), env=ahead)
    line = named(first, "clock-peer", "66 min ahead of this machine's", "1 more")
    equal(line["peer"], "p3", "whose clock")
    second.run("down")
    named(third, "clock-differs", "66 min ahead of the one of p1", "date -u", env=ahead)
    third.run("down")
    behind = {**ahead, "TEST_CLOCK_OFF": "-86400"}
    named(third, "clock-behind", "at least", "its certificate was made later", "timedatectl", env=behind)


@case
def doctor_of_another_mesh(world):
    """Another mesh's peer at the sponsor's address; nobody there at all."""
    port = free_port()
    first = world.founder("p1", "one", port)
    second = world.member("p2", first)
    until(lambda: len(second.states()) == 2, "both are known")
    first.run("down")
    second.run("down")
    os.remove(os.path.join(second.home, "members"))  # as one that never met anybody
    second.up("--cpus", "1")
    named(second, "mesh-nobody", "sponsor")
    other = world.founder("q1", "two", port)
    line = named(second, "mesh-stranger", f"127.0.0.1:{port}", "another key", "new token")
    plain(second, line)
    problems = second.json("status", status=1)["problems"]
    expect(any(p["trouble"] == "mesh-stranger" for p in problems), f"status does not say so: {problems}")
    other.run("down")
    first.up("--cpus", "1")
    until(lambda: states(second)["mesh"] == "pass", lambda: f"all is well once it is back: {lines(second)}")


@case
def doctor_of_a_certificate(world):
    """Near its end, expired, with and without a daemon, by another's clock; revoked, as others say, and as its own list does."""
    first = world.peer("p1")
    first.run("init", "m", "--name", "p1", "--listen", f"127.0.0.1:{free_port()}")
    first.up("--cpus", "1", env={"MYCEL_FAULT": "brief"})
    second = world.member("p2", first)
    named(second, "certificate-expired", "its certificate expired", "mycel invite", "date")
    # Dialled by one whose new address it does not know: that one shuts it out, and says so.
    first.run("down")
    own = second.json("status", status=None)
    with open(os.path.join(first.home, "sponsor"), "wb") as file:  # whom it is to look for: u8 count, u8 size, address
        address = own["addresses"][0].encode()
        file.write(bytes.fromhex(own["id"]) + bytes([1, len(address)]) + address)
    first.up("--cpus", "1", "--listen", f"127.0.0.1:{free_port()}")
    equal(named(first, "member-expired", "shut out", "mycel invite")["peer"], own["id"][:8], "who is shut out")
    line = named(second, "certificate-disputed", "p1 says", "date -u")
    expect(any(p["trouble"] == "certificate-disputed" and p["cause"] == line["cause"]
               for p in second.json("status", status=1)["problems"]), "status does not say so")
    second.run("down")
    plain(second, named(second, "certificate-expired", "mycel invite"))
    behind = shifted(world, -3600)
    named(second, "certificate-expiring", "in 59 min", "in time", env=behind)
    first.run("down")  # it keeps a key out for a while, and its new address was not known
    os.remove(os.path.join(first.home, "sponsor"))
    first.up("--cpus", "1")
    second.up("--cpus", "1", env=behind)
    named(second, "certificate-disputed", "expired", "date -u", env=behind)
    second.run("down")
    third = world.member("p3", first)
    until(lambda: len(third.states()) >= 2, "it is a member")
    founder = first.json("status", status=None)["id"]
    own = bytes.fromhex(third.json("status", status=None)["id"])
    third.run("down")
    first.run("down")
    with open(os.path.join(first.home, "revocations"), "wb") as file:
        file.write(own)
    first.up("--cpus", "1")
    third.up("--cpus", "1")
    line = named(third, "certificate-revoked", "says so", "ask a founder")
    expect("(p1 says" in line["cause"] or founder[:8] in line["cause"], f"not by whom: {line}")
    plain(third, line)
    third.run("down")
    with open(os.path.join(third.home, "revocations"), "wb") as file:
        file.write(own)
    named(third, "certificate-revoked", "its own list")


def small_disk(world, name, size, kind="tmpfs"):
    """A file system of its own; skipped where none can be mounted."""
    folder = world.path(name)
    os.mkdir(folder, 0o700)
    if kind == "tmpfs":
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    else:
        image = world.path(f"{name}.img")
        with open(image, "wb") as file:
            file.truncate(size)
        if subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], capture_output=True, check=False).returncode:
            raise Skipped("no mkfs.ext4 here")
        words = ["mount", "-o", "loop", image, folder]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"no {kind} can be mounted here: {done.stderr.strip()}")
    world.mounts.append(folder)
    return folder


def fill(folder, leave):
    """Leaves so many bytes free, by room that is taken but not written where that can be; 0: fewer than a page."""
    with open(os.path.join(folder, "filler"), "wb", buffering=0) as file, contextlib.suppress(OSError):
        room = os.statvfs(folder)
        if leave:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - leave)
        while not leave:
            file.write(b"\0" * 65536)
    return os.path.join(folder, "filler")


@case
def doctor_of_a_disk(world):
    """Full; without room for one more file; nearly full."""
    folder = small_disk(world, "small", 64 << 20)
    peer = world.peer("small/home")
    peer.run("init", "m", "--listen", f"127.0.0.1:{free_port()}")
    equal(states(peer)["disk"], "pass", "a small disk with room")
    filler = fill(folder, 1 << 20)
    plain(peer, named(peer, "disk-full", "free of 67 MB", "free some space"))
    os.remove(filler)
    small_disk(world, "files", "64m,nr_inodes=40")
    peer = world.peer("files/home")
    peer.run("init", "m", "--listen", f"127.0.0.1:{free_port()}")
    expect("files free" in named(peer, "disk-full")["cause"], "no word of files")
    large = small_disk(world, "large", 8 << 30, "ext4")
    peer = world.peer("large/home")
    peer.run("init", "m", "--listen", f"127.0.0.1:{free_port()}")
    equal(states(peer)["disk"], "pass", "a large disk with room")
    fill(large, 200 << 20)
    named(peer, "disk-low", "nearly full", "free some space")


@case
def doctor_of_a_disk_that_fills_up(world):
    """The daemon's own word: its disk refuses writes, so it does not vote."""
    folder = small_disk(world, "small", 32 << 20)
    first = world.founder()
    second = world.peer("small/home")
    second.run("join", "-", "--name", "p2", "--listen", f"127.0.0.1:{free_port()}", "--detach", "--cpus", "1",
               stdin=first.json("invite")["token"])
    run = tiny_run(world, first, 5000)
    wait_for_round([first, second], run, 1)
    fill(folder, 0)
    line = named(second, "disk-refuses", "no space left", "resumes by itself")
    equal(line["peer"], "p2", "whose disk")


@contextlib.contextmanager
def memory_group(limit):
    """A memory control group, of version 1 or 2; gives the file that takes processes."""
    for mount, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        folder = f"{mount}/mycel-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            os.mkdir(folder)
            try:
                with open(os.path.join(folder, name), "w") as file:
                    file.write(str(limit))
                yield os.path.join(folder, "cgroup.procs")
                return
            finally:
                until(lambda f=folder: not os.system(f"rmdir {f} 2>/dev/null"), "the group is empty", guard=10)
    raise Skipped("no control group can be made here")


def under(world, peer, prepare, *words):
    """The command's JSON, run in a process that `prepare` has changed."""
    done = subprocess.run([world.binary, "--home", peer.home, *words, "--json"], env=world.env, capture_output=True, text=True,
                          preexec_fn=prepare, check=False)
    return json.loads(done.stdout)


@case
def doctor_of_limits(world):
    """Open files, locked memory, cpus, a control group's memory: of the command, and of a daemon that runs so."""
    first = world.founder()
    expect(states(first)["limits"] == "pass", lines(first))
    pid = first.pid()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (200, 200))
    plain(first, named(first, "limit-files", "only 200", "ulimit -n 1024", "LimitNOFILE"))
    resource.prlimit(pid, resource.RLIMIT_MEMLOCK, (0, 0))
    named(first, "limit-locked", "only 0 B", "LimitMEMLOCK")
    first.run("down")

    def lower():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512))
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    told = {line["trouble"]: line for line in under(world, first, lower, "doctor")["checks"]}
    expect("only 512" in told["limit-files"]["cause"], told)
    if os.cpu_count() > 1:
        expect(f"only 1 of {os.cpu_count()} cpus" in told["limit-cpus"]["cause"] and "CPUQuota" in told["limit-cpus"]["remedy"], told)
    with memory_group(128 << 20) as procs:
        def enter():
            with open(procs, "w") as file:
                file.write(str(os.getpid()))

        told = {line["trouble"]: line for line in under(world, first, enter, "doctor")["checks"]}
        expect("134 MB" in told["limit-memory"]["cause"] and "MemoryMax" in told["limit-memory"]["remedy"], told)
        enter_here = subprocess.run([world.binary, "--home", first.home, "up", "--detach", "--cpus", "1"], env=world.env,
                                    capture_output=True, preexec_fn=enter, check=False)
        equal(enter_here.returncode, 0, enter_here.stderr)
        named(first, "limit-memory", "134 MB")
        first.run("down")


@case
def doctor_of_drivers(world):
    """A driver that is none, or that never comes back: named with and without a daemon, which works on."""
    first = world.founder()
    first.run("down")
    broken = {"MYCEL_CUDA_LIBRARY": world.file("garbage.so", os.urandom(4096))}
    plain(first, named(first, "driver-broken", "garbage.so", "nvidia", "reinstall", env=broken), env=broken)
    first.up("--cpus", "1", env=broken)
    named(first, "driver-broken", "garbage.so")
    first.run("down")
    refusing = {**fake(), "MYCEL_FAKE_FAIL": "module_open:0"}
    named(first, "driver-broken", "kernels", env=refusing)
    compiler = next((c for c in ("clang-14", "cc") if shutil.which(c)), None)
    if not compiler:
        raise Skipped("no C compiler for a driver that hangs")
    source = world.file("hang.c", "#include <unistd.h>\n__attribute__((constructor)) static void hang(void) { for (;;) pause(); }\n")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", world.path("hang.so"), source], check=True)
    named(first, "driver-silent", "4 s", "--gpus none", env={"MYCEL_CUDA_LIBRARY": world.path("hang.so")})


@case
def doctor_of_a_lost_device(world):
    """A GPU that fails while it trains."""
    lost = world.path("lost")
    first, second = two_peers(world, fake(), lost)
    run = small_run(world, first, 100_000, 16)
    wait_for_round([second], run, 1)
    world.file("lost.0", "")
    named(second, "device-lost", "nvidia:0 is lost", "dmesg", "mycel hw --measure")


@case
def doctor_of_a_split(world):
    """Hosts cut off from the others: both sides say split, how many and who."""
    peers = world.lab_on_hosts(6, 6)
    until(lambda: all(p.json("status", status=None)["peers_up"] == 5 for p in peers), "all see all")
    world.run("--home", world.path("lab-home"), "lab", "split", "1..2").good()
    line = named(peers[0], "mesh-split", "4 of 5 peers were lost", "p3", "p6", "on other hosts", "heals by itself", guard=90)
    plain(peers[0], line)
    named(peers[4], "mesh-split", "2 of 5 peers were lost", "p1", "p2", guard=90)
    problems = peers[0].json("status", status=1)["problems"]
    expect(any(p["trouble"] == "mesh-split" for p in problems), f"status does not say so: {problems}")


@case
def doctor_of_a_silent_peer(world):
    """A peer that is stopped: suspected, then found dead; both are told, with who it is."""
    peers = world.lab(3)
    until(lambda: len(peers[0].states()) == 3, "all are known")
    pid = peers[2].kill(signal.SIGSTOP)
    try:
        line = until(lambda: next((p for p in peers[0].ask("status")["problems"] if p["trouble"] == "member-suspect"), None),
                     "it is suspected", every=0.02)
        equal((line["peer"], line["remedy"]), ("p3", "wait some seconds"), "the line")
        equal(named(peers[0], "member-dead", "dead for", "mycel up")["peer"], "p3", "who is dead")
    finally:
        os.kill(pid, signal.SIGCONT)


@case
def doctor_of_a_stalled_run(world):
    """Two of three are gone: the run waits, and doctor says for whom and what to do."""
    peers = world.lab(3)
    run = tiny_run(world, peers[0], 5000, steps=8)
    wait_for_round(peers, run, 1)
    peers[1].kill()
    peers[2].kill()
    line = named(peers[0], "run-stalled", f"run {run[:8]} waits", "quorum", "mycel up")
    expect(line["peer"] in ("p2", "p3"), f"it names {line['peer']!r}")
    plain(peers[0], line)
    named(peers[0], "mesh-split", "2 of 2 peers")
