"""Bad input: each gives a clear error and its exit status; bytes from outside are counted and change nothing."""
import os
import socket
import time

from harness import case, equal, expect, free_port, sentences, tiny_run, until, wait_for_round


def refused(result, status, *words):
    """The exit status, and an error on stderr that holds one of `words`."""
    expect(result.status in (status if isinstance(status, tuple) else (status,)),
           f"exit {result.status}, not {status}: {result.err.strip()}")
    expect(result.err.startswith("mycel: ") or "\nmycel: " in result.err, f"no error on stderr: {result.err!r}")
    expect(not words or any(word in result.err.lower() for word in words), f"none of {words} in: {result.err.strip()}")


def join(world, name, token):
    return world.run("--home", world.path(name), "join", token, "--name", name, "--listen", f"127.0.0.1:{free_port()}",
                     "--detach")


@case
def usage_errors(world):
    """Unknown verbs and flags, missing and wrong values: exit 2 with a suggestion, before anything is done."""
    for words, text in ((["statsu"], "did you mean 'mycel status'"), (["vote"], "there is no command"), (["-q"], "mycel help"),
                        (["train", "--dtaa", "x"], "--data"), (["train"], "--data file"), (["lab", "up", "0"], "number of peers"),
                        (["up", "--credits", "8"], "takes no flag"), (["init", "m", "--listen", "6173"], "host:port"),
                        (["join"], "token"), (["runs", "shwo", "x"], "runs show")):
        refused(world.run("--home", world.path("none"), *words), 2, text)
    expect(not os.path.exists(world.path("none")), "a wrong call makes a home")
    as_json = world.run("status", "--home", world.path("none"), "--json")
    equal((as_json.status, as_json.json["error"]), (3, "NO_DAEMON"), "an error as JSON")


@case
def bad_tokens(world):
    """Cut short, altered, no token at all, used up, expired, revoked: each is told apart and admits nobody."""
    first = world.founder()
    token = first.json("invite")["token"]
    middle = len(token) // 2
    altered = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1:]
    refused(join(world, "cut", token[:-8]), 4)
    refused(join(world, "altered", altered), (4, 5))
    refused(join(world, "none", "hello"), 4)
    refused(world.run("--home", world.path("empty"), "join", "-", stdin="\n"), 4, "token")
    expect("p1" not in os.listdir(world.folder) or not os.path.exists(world.path("cut", "key")), "a refused joiner has a key")
    equal(join(world, "p2", token).status, 0, "the honest joiner")
    refused(join(world, "late", token), 4, "used")
    made = first.json("invite")
    first.run("invite", "revoke", made["id"])
    refused(join(world, "revoked", made["token"]), 4)
    short = first.json("invite", "--ttl", "1s")["token"]
    ends = time.time() + 2
    until(lambda: time.time() > ends, "the token's time passes")
    refused(join(world, "expired", short), 4, "expired")
    equal(sorted(first.states()), ["p1", "p2"], "members")
    used = first.json("invite", "--uses", "2")["token"]
    for name in ("p3", "p4"):
        equal(join(world, name, used).status, 0, "a token of two uses")
    refused(join(world, "p5", used), 4, "used")


@case
def another_mesh_at_the_address(world):
    """A token whose sponsor is gone and another mesh's peer has its address; nobody is there; a home that is taken."""
    port = free_port()
    first = world.founder("p1", "one", port)
    token = first.json("invite")["token"]
    first.run("down")
    gone = join(world, "early", token)
    refused(gone, 5, str(port))
    other = world.founder("q1", "two", port)
    refused(join(world, "wrong", token), (4, 5), str(port))
    equal(list(other.states()), ["q1"], "members of the other mesh")
    # A member of one mesh doesn't join another: one home, one mesh.
    refused(world.run("--home", first.home, "join", other.json("invite")["token"]), 4, "already", "exists")
    equal(join(world, "q2", other.json("invite")["token"]).status, 0, "an honest joiner of the other mesh")


def send_raw(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.sendall(data)
        s.settimeout(10)
        try:
            while s.recv(4096):
                pass
        except OSError:
            pass


@case
def strangers_on_the_port(world):
    """Random bytes, an HTTP request, a greeting that lies: counted, closed, and the next honest round completes."""
    peers = world.lab(2)
    port = peers[0].json("status")["port"]
    run = tiny_run(world, peers[0], 5000)
    wait_for_round(peers, run, 2)
    before = peers[0].json("status")["refused"]
    send_raw(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    send_raw(port, bytes(range(256)) * 64)
    # A ZMTP greeting that asks for no security, then a frame with a lying length.
    send_raw(port, b"\xff" + b"\0" * 8 + b"\x7f\x03\x00NULL" + b"\0" * 48 + b"\x06" + b"\xff" * 8 + b"x" * 100)
    until(lambda: peers[0].json("status")["refused"] > before, "the refusals are counted", guard=30)
    reached = peers[0].round(run)
    wait_for_round(peers, run, reached + 2)
    third = world.member("p9", peers[0])
    until(lambda: len(third.states()) == 3, "an honest joiner gets in")


@case
def taken_home_and_port(world):
    """A second daemon in one home, a port in use, a home without a peer."""
    first = world.founder()
    refused(first.run("up", status=None), 4, "use", "process")
    refused(first.run("up", "--detach", status=None), 4, "use", "process")
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        second = world.peer("p2")
        second.run("init", "m", "--listen", f"127.0.0.1:{port}")
        refused(second.run("up", "--detach", status=None), 4, str(port))
        refused(second.run("up", status=None), 4, str(port))
    second.up()
    second.run("status")
    refused(world.peer("nobody").run("up", status=None), 1, "init")
    os.chmod(os.path.join(first.home, "key"), 0o644)
    first.kill()
    expect(first.run("up", "--detach", status=None).status != 0, "a key that others can read is accepted")


@case
def bad_data_and_models(world):
    """A text that is missing, empty, a folder or too short; a model that is wrong or doesn't fit; the next run works."""
    first = world.founder()
    good = world.file("good.txt", sentences(50_000))

    def train(data, *more):
        return first.run("train", "--data", data, "--rounds", "2", "--inner-steps", "2", "--detach", *more, status=None)

    refused(train(world.path("absent.txt")), 1, "no such file")
    refused(train(world.file("empty.txt", "")), 4, "empty")
    refused(train(world.folder), 1, "folder")
    refused(train(world.file("short.txt", "too short")), 4, "longer")
    refused(train("ab" * 32), (1, 4, 5))
    refused(train(good, "--held-out", world.file("none.txt", "")), 4, "empty")
    refused(train(good, "--held-out", world.file("tiny.txt", "x")), 4, "longer")
    refused(train(good, "--model", "huge"), (1, 2, 4), "huge")
    refused(train(good, "--model", world.file("bad.model", "layers = many\n")), (2, 4), "layers", "line 1")
    refused(train(good, "--model", world.file("big.model", "preset = small\nlayers = 64\nwidth = 8192\nheads = 64\ninner = 32768\ncontext = 1024\n")),
            (1, 2, 4), "memory")
    equal(first.json("runs")["runs"], [], "runs after refused ones")
    run = tiny_run(world, first, 3)
    wait_for_round([first], run, 3)
    refused(first.run("runs", "show", "ffff", status=None), 1)
    refused(first.run("runs", "show", run, "--round", "99", status=None), 1)
    refused(first.run("generate", "--run", "ffff", "--prompt", "x", status=None), 1)
