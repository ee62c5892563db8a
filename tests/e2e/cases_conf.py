"""mycel.conf, the first page, and what a lab's peers keep over their restarts."""
import os
import shutil
import subprocess

from harness import case, equal, expect, free_port, until


def rows(peer, env=None):
    return {row["key"]: (row["value"], row["from"]) for row in peer.json("conf", env=env)["conf"]}


@case
def conf_is_taken(world):
    """A peer takes its flags from the command line, the environment, its home's file and the system's, in this order."""
    peer = world.peer("p1")
    port = free_port()
    system = world.file("system.conf", f"# all of us\nlisten = 127.0.0.1:{port}\ncpus = 1\nsite = attic\nname = sys\n")
    env = {"MYCEL_CONF": system}
    peer.run("init", "m", env=env)
    world.file("p1/mycel.conf", "http = 0\nsite = cellar\nshare = 50%\n")
    env["MYCEL_SHARE"] = "25"
    told = rows(peer, env)
    equal(told["listen"], (f"127.0.0.1:{port}", "system"), "listen")
    equal((told["site"], told["share"], told["http"]), (("cellar", "home"), ("25", "environment"), ("0", "home")), "the rest")
    equal((told["memory"], told["name"]), ((None, "default"), ("sys", "settings")), "memory and name")
    peer.up(env=env)
    status = peer.json("status")
    equal((status["name"], status["port"]), ("sys", port), "name and port")
    expect(status["http"] > 0, "no live page")
    limits = peer.json("hw")["peer"]["limits"]
    equal((limits["cpus"], limits["share_percent"]), (1, 25), "what the peer took of the machine")
    peer.run("down")


@case
def conf_is_refused(world):
    """A file with a mistake: exit 2, file and line, what to do; nothing starts, nothing is made."""
    peer = world.peer("p1")
    peer.run("init", "m", "--listen", "127.0.0.1:0")
    path = world.file("p1/mycel.conf", "cpus = 1\nhtpp = 80\n")
    for words in (["up", "--detach"], ["conf"]):
        told = peer.run(*words, status=2)
        expect(f"{path}:2: there is no key 'htpp'; did you mean http?" in told.err, f"{words}: {told.err}")
    equal(peer.pid(), 0, "a process")
    world.file("p1/mycel.conf", "cpus = 1\n")
    none = world.run("--home", world.path("new"), "init", "m", env={"MYCEL_CONF": world.path("absent")})
    equal(none.status, 2, "a system's file that isn't there")
    expect("unset MYCEL_CONF" in none.err and not os.path.exists(world.path("new")), none.err)
    world.file("p1/mycel.conf", b"cpus = \x1b]0;x\x07\n")
    told = peer.run("up", status=2).err
    expect("\x1b" not in told and "mycel.conf:1:" in told, repr(told))


@case
def first_page(world):
    """`mycel` alone says what to type next, by what is there; --version says what `version` says."""
    peer = world.peer("p1")

    def page():
        told = world.run(env={"MYCEL_HOME": peer.home})
        equal(told.status, 2, "exit status")
        return told.out

    expect("mycel init NAME" in page() and "mycel join TOKEN" in page(), page())
    peer.run("init", "m", "--listen", "127.0.0.1:0")
    expect("mycel up --detach" in page(), page())
    peer.up("--cpus", "1")
    expect(f"process {peer.pid()}" in page() and "mycel map" in page(), page())
    for words in (["--version"], ["-V"], ["up", "--version"]):
        told = world.run(*words)
        equal((told.status, told.out), (0, world.run("version").out), " ".join(words))


@case
def lab_keeps_its_limits(world):
    """A lab's peers come back with the limits of the first `lab up`: by lab restart, by lab up, by hand."""
    home = world.path("lab-home")

    def lab(*words):
        return world.run("--home", home, "lab", *words).good()

    port = free_port()
    lab("up", "2", "--cpus", "1", "--memory", "300MB", "--gpus", "none", "--http", "0", "-q")
    peer = world.peer("lab-home/lab/2")

    def limits():
        until(lambda: peer.run("status", status=None).status in (0, 1), "the peer answers")
        return peer.json("hw")["peer"]["limits"], peer.json("status", status=None)["http"] > 0

    first = limits()
    equal(first, ({"cpus": 1, "memory_bytes": 300000000, "gpus": "none", "share_percent": 100}, True), "limits at first")
    lab("restart", "2")
    equal(limits(), first, "after lab restart")
    peer.run("down")
    world.run("--home", home, "lab", "run", "--peer", "2", "--", "mycel", "up", "--detach", env={"MYCEL_HTTP": str(port)}).good()
    equal(limits(), first, "after lab run -- mycel up")
    expect(peer.json("status", status=None)["http"] != port, "the environment of the caller reached a lab's peer")
    peer.kill()
    lab("up", "2")
    equal(limits(), first, "after lab up")
    lab("down")


@case
def daemon_of_another_session(world):
    """A daemon that was started without XDG_RUNTIME_DIR (cron, a container) answers a command of a session, which has one."""
    peer = world.peer("p1")
    peer.run("init", "m", "--listen", "127.0.0.1:0")
    peer.up("--cpus", "1", env={"XDG_RUNTIME_DIR": ""})
    expect(peer.json("status")["healthy"], "the peer is not healthy")
    expect("only peers on this machine" in peer.run("invite", env={"XDG_RUNTIME_DIR": ""}).err, "a token of a loopback")
    peer.run("down")
    told = peer.run("status", status=3).err
    expect(f"mycel --home {peer.home} up --detach" in told, told)


@case
def newcomers_way(world):
    """From nothing to a mesh of two hosts and its map: three commands on one, two on the other, each telling the next."""
    world.need_hosts()
    lab = world.path("hosts")
    world.labs_on_hosts.append(lab)
    world.run("--home", lab, "lab", "hosts", "up", "2").good()

    def type_in(host, *words):
        os.makedirs(world.path(host, "run"), exist_ok=True)
        env = [f"HOME={world.path(host)}", f"XDG_RUNTIME_DIR={world.path(host, 'run')}", "MYCEL_HOME="]
        return world.run("--home", lab, "lab", "hosts", "exec", "1" if host == "anna" else "2", "--", "env", "-u",
                         "SUDO_UID", *env, world.binary, *words).good()

    expect("mycel up --detach" in type_in("anna", "init", "garden", "--name", "anna").err, "init tells the next command")
    expect("mycel invite" in type_in("anna", "up", "--detach").err, "up tells the next command")
    line = type_in("anna", "invite").err.split("  mycel ")[1].split("\n")[0].split()
    equal((line[0], line[2]), ("join", "--detach"), "the line that invite prints")
    expect("loopback" not in type_in("anna", "invite").err, "a token that leads elsewhere")
    joined = type_in("ben", *line, "--name", "ben").err
    expect("Admitted to the mesh garden" in joined and "mycel map" in joined, joined)
    until(lambda: all(n in type_in("ben", "map").out for n in ("garden: 2 peers", "anna", "ben")), "the map shows both")
    status = type_in("ben", "status", "--json").json
    equal((status["healthy"], status["refused"]), (True, 0), "healthy, and what ben refused")


@case
def homes_that_cannot_be(world):
    """A home that is a file, another's, or on a disk that cannot be written: what is wrong with it, and nothing else."""
    peer = world.peer("p1")
    told = world.run("--home", world.file("a-file", "x"), "init", "m")
    equal((told.status, "Not a directory" in told.err), (1, True), told.err)
    peer.run("init", "m", "--listen", "no.such.host.invalid:6173")
    told = peer.run("up", status=1).err
    expect("no.such.host.invalid:6173" in told and "no name that is known" in told, told)
    told = world.run("status", env={"HOME": ""})
    expect(told.status == 1 and "HOME is not set" in told.err, told.err)
    if os.geteuid() == 0:
        os.makedirs(world.path("closed"), mode=0o700)
        os.chmod(world.folder, 0o755)
        program = shutil.copy(world.binary, world.path("mycel"))  # where anybody may run it
        for verb, status in (("status", 3), ("up", 1), ("init m", 1)):
            told = subprocess.run([program, "--home", world.path("closed", "h"), *verb.split()], user=65534, text=True,
                                  env={**world.env, "XDG_RUNTIME_DIR": ""}, cwd="/", capture_output=True)
            equal((told.returncode, "Permission denied" in told.stderr, "mycel.conf" in told.stderr), (status, True, False),
                  told.stderr)


@case
def output_that_nobody_takes(world):
    """A table, a page or a picture that cannot be written: exit 1, and said."""
    peer = world.peer("p1")
    peer.run("init", "m", "--listen", "127.0.0.1:0")
    peer.up("--cpus", "1")
    for words in (["peers"], ["hw"], ["conf"], ["status"], ["map"], ["help"], ["doctor"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([world.binary, "--home", peer.home, *words], stdout=full, stderr=subprocess.PIPE, text=True,
                                  env=world.env)
        equal((done.returncode, "cannot write" in done.stderr), (1, True), f"{words}: {done.stderr}")


@case
def home_made_anew(world):
    """A peer that lost its home joins again at its old address: the old one is dead, and nobody warns of a stranger there."""
    founder, peer, port = world.founder(), world.peer("p2"), free_port()

    def join():
        token = founder.json("invite")["token"]
        peer.run("join", "-", "--name", "p2", "--listen", f"127.0.0.1:{port}", "--detach", "--cpus", "1", stdin=token)

    join()
    until(lambda: founder.states().get("p2") == "alive", "the founder sees it")
    peer.kill()
    shutil.rmtree(peer.home)
    join()

    def told():
        text = str(founder.json("status", status=None)["problems"])
        expect("another key" not in text, text)
        return "dead for" in text

    until(told, "the founder finds the old peer dead")
    expect("another key" not in str(peer.json("status", status=None)["problems"]), "what the new peer says")
