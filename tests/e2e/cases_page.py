"""The live page and what lies behind it: what it shows is what the command line says, who may ask, and that nobody who
asks too much or wrongly troubles the peer."""
import base64
import gzip
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time

import browser
from harness import ROOT, Failed, Skipped, case, equal, expect, free_port, until

AXE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".cache", "axe", "axe_playwright_python", "axe.min.js")
STREAMS = 64  # node/look/http.h: HTTP_STREAMS
MOST_PACKED = 60000  # bytes of the page, compressed


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


def get(port, path, method="GET", guard=30, **headers):
    """One request on a connection of its own; header names with _ for -."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=guard)
    try:
        connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def raw(port, data, guard=30):
    """What comes back for these very bytes until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=guard) as s:
        s.sendall(data)
        got = b""
        while True:
            try:
                more = s.recv(65536)
            except ConnectionResetError:
                return got
            if not more:
                return got
            got += more


class Stream:
    """/api/v1/events as a page reads it."""

    def __init__(self, port, guard=30):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=guard)
        self.socket.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        self.connection = http.client.HTTPResponse(self.socket)
        self.connection.begin()
        self.status = self.connection.status

    def next(self):
        """(name, object) of the next event."""
        name = None
        while True:
            line = self.connection.readline().decode().rstrip("\n")
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                return name, json.loads(line[6:])
            elif line == "" and self.connection.isclosed():
                raise Failed("the stream ended")

    def until(self, condition, what, guard=180):
        end = time.monotonic() + guard
        while time.monotonic() < end:
            name, told = self.next()
            if condition(name, told):
                return told
        raise Failed(f"the stream never told {what}")

    def close(self):
        self.connection.close()  # it holds the socket, too
        self.socket.close()


def with_page(world, count=1):
    """A lab of `count` peers whose first serves a page; (its peers, port)."""
    mesh = world.lab(count)
    port = free_port()
    mesh[0].run("down")
    mesh[0].up("--cpus", "1", "--http", str(port))
    until(lambda: list(mesh[0].states().values()) == ["alive"] * count, "all are alive")
    return mesh, port


def small_run(world, peer, rounds):
    """A run of the preset `small`, a step a round; its id."""
    data = world.file("text", "the quick brown fox jumps over the lazy dog. " * 3000)
    return peer.json("train", "--data", data, "--model", "small", "--rounds", str(rounds), "--inner-steps", "1",
                     "--detach")["run"]


def steady(peer):
    return {k: peer[k] for k in ("name", "id", "role", "state", "self", "path", "site", "addresses")}


def pairs(links):
    return {tuple(sorted((k["a"], k["b"]))) for k in links}


@case
def page_says_what_commands_say(world):
    """status, peers, map and runs by HTTP are what the command line prints; the map's places are its picture's."""
    mesh, port = with_page(world, 4)
    first = mesh[0]
    run = small_run(world, first, 2)
    until(lambda: first.show(run)["state"] == "done", "the run is done", guard=300)
    status, said = get(port, "/api/v1/status").json, first.json("status")
    for key in ("schema", "healthy", "id", "name", "mesh", "mesh_name", "role", "version", "port", "peers_up", "http"):
        equal(status[key], said[key], key)
    equal(status["http"], port, "the port that status tells")
    equal([steady(p) for p in get(port, "/api/v1/peers").json["peers"]], [steady(p) for p in first.json("peers")["peers"]], "peers")
    keys = ("id", "state", "round", "rounds", "loss", "val_loss", "tokens", "params_hash")
    equal([{k: r[k] for k in keys} for r in get(port, "/api/v1/runs").json["runs"]],
          [{k: r[k] for k in keys} for r in first.json("runs")["runs"]], "runs")
    equal(get(port, f"/api/v1/runs/{run}").json["history"], first.show(run)["history"], "a run's rounds")
    equal(get(port, "/api/v1/runs/" + "0" * 64).status, 404, "a run that isn't there")

    def agree():
        drawn, printed = get(port, "/api/v1/map").json, first.json("map")
        same = all({p["id"]: p[k] for p in drawn["peers"]} == {p["id"]: p[k] for p in printed["peers"]}
                   for k in ("name", "state", "site", "host", "self", "answered"))
        return same and pairs(drawn["links"]) == pairs(printed["links"]) and drawn

    drawn = until(agree, "map by HTTP and by the command agree on every peer and edge")
    expect("layout" not in first.json("map"), "the command's map has no layout")
    layout = drawn["layout"]
    equal([p["label"] for p in layout["peers"]], [p["name"] for p in drawn["peers"]], "labels")
    svg = first.run("map", "--from", world.file("map.json", json.dumps(drawn)), "--as", "svg").out
    discs = [tuple(map(float, m)) for m in re.findall(r'<circle class="[^"]*" r="[^"]*" cx="([\d.]+)" cy="([\d.]+)"', svg)][:len(layout["peers"])]
    away = {(round(x - p["x"]), round(y - p["y"])) for (x, y), p in zip(discs, layout["peers"])}
    equal(len(away), 1, f"one shift takes the page's places to the picture's: {away}")


@case
def page_is_one_file(world):
    """The page: within its size, nothing from elsewhere, style and script by the hashes that its policy allows."""
    _, port = with_page(world)
    plain, packed = get(port, "/"), get(port, "/", Accept_Encoding="gzip")
    equal((plain.status, packed.status, packed.headers["content-encoding"]), (200, 200, "gzip"), "the page")
    equal(gzip.decompress(packed.body), plain.body, "packed and plain")
    expect(len(packed.body) <= MOST_PACKED, f"the page has {len(packed.body)} bytes")
    text = plain.body.decode()
    policy = plain.headers["content-security-policy"]
    for tag in ("style", "script"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        equal(len(inside), 1, f"<{tag}> stands once")
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        expect(f"{tag}-src 'sha256-{digest}'" in policy, f"the policy doesn't allow this {tag}")
    for word in ("default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"):
        expect(word in policy, f"the policy lacks {word}")
    expect("unsafe" not in policy, "the policy is strict")
    expect(not re.search(r'(src|href)="(https?:)?//', text), "something is loaded from elsewhere")
    expect(not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), "text could become markup")
    for path in ("/", "/api/v1/status", "/metrics", "/nothing"):
        headers = get(port, path).headers
        equal((headers["x-content-type-options"], headers["cache-control"]), ("nosniff", "no-store"), path)
        expect("set-cookie" not in headers and "access-control-allow-origin" not in headers, f"{path}: {headers}")


@case
def page_refuses(world):
    """A foreign Host, other methods, other paths and bytes that are no request are told so; the peer goes on."""
    mesh, port = with_page(world)
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", f"localhost:{port}.evil.example"):
        for path in ("/", "/api/v1/status", "/metrics", "/healthz"):
            equal(get(port, path, Host=host).status, 403, f"{path} for {host}")
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
        equal(get(port, "/healthz", Host=host).status, 200, host)
    expect(raw(port, b"GET / HTTP/1.1\r\n\r\n").split(b"\r\n")[0].split()[1] in (b"400", b"403"), "no Host at all")
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = get(port, "/api/v1/status", method=method)
        equal((answer.status, answer.headers["allow"]), (405, "GET, HEAD"), method)
    head = get(port, "/api/v1/status", method="HEAD")
    equal((head.status, head.body), (200, b""), "HEAD")
    for path in ("/nothing", "/api/v1/", "/api/v1/status/x", "/../key", "/%2e%2e/key", "/api/v1/runs/XYZ", "/" + "a" * 2000):
        equal(get(port, path).status, 404, path[:40])
    equal(get(port, "/healthz?x=1").status, 200, "a query is passed over")
    for data in (b"\0" * 3000, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\nHost: " + b"a" * 100000 + b"\r\n\r\n",
                 b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nxx"):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as s:
            try:
                s.sendall(data)
            except OSError:
                pass
    equal(get(port, "/healthz").body, b"ok\n", "the server after all that")
    equal(mesh[0].json("status")["healthy"], True, "the peer after all that")


@case
def page_port_in_use(world):
    """--http on a port that is taken, and on none that there can be: what is wrong, and exit 4 or 2."""
    peer = world.founder()
    peer.run("down")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for words in (("--detach",), ()):
            result = peer.run("up", "--http", str(port), *words, status=4)
            expect(str(port) in result.err and "in use" in result.err and "--http" in result.err, result.err)
        equal(peer.pid(), 0, "nothing runs")
    peer.run("up", "--detach", "--http", "65536", status=2)
    peer.run("up", "--detach", "--http", "web", status=2)
    peer.up("--http", "0")
    port = peer.json("status")["http"]
    expect(port > 0, "any free port is told in status")
    equal(get(port, "/readyz").body, b"ready\n", "ready")
    with socket.socket() as outside:  # listens on the loopback alone
        outside.settimeout(10)
        address = next((a for a in os.popen("hostname -I").read().split() if ":" not in a), None)
        if address:
            expect(outside.connect_ex((address, port)) != 0, f"{address} answers, too")
    peer.run("down")
    peer.up()
    equal(peer.json("status")["http"], 0, "no page where none was asked for")


@case
def page_streams(world):
    """The stream tells at once what is there, then what changes; a thousand open ones cost the peer nothing it needs."""
    mesh, port = with_page(world, 3)
    stream = Stream(port)
    equal(stream.status, 200, "the stream")
    missing = {"status", "peers", "map", "runs", "log"}
    stream.until(lambda name, told: missing.discard(name) or not missing, "everything")
    mesh[2].kill()
    stream.until(lambda name, told: name == "peers" and any(p["name"] == "p3" and p["state"] != "alive" for p in told["peers"]), "the loss")
    stream.until(lambda name, told: name == "status" and told["problems"], "the problem")
    equal(get(port, "/api/v1/status").json["healthy"], False, "health")
    equal((get(port, "/healthz").status, get(port, "/readyz").status), (200, 200), "it serves and is a member all the same")
    many = []
    try:
        for _ in range(1000):
            s = socket.create_connection(("127.0.0.1", port), timeout=60)
            s.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            many.append(s)
        answers = [s.recv(12)[-3:] for s in many]
        equal((answers.count(b"200"), answers.count(b"503")), (STREAMS - 1, 1000 - STREAMS + 1), "taken and refused")
        equal(get(port, "/healthz").status, 200, "the server beside them")
        equal(mesh[0].json("status", status=1)["peers_up"], 1, "the peer beside them")
        stream.until(lambda name, told: name == "status", "the first stream beside them")
    finally:
        for s in many:
            s.close()
        stream.close()
    until(lambda: b"mycel_http_streams 0" in get(port, "/metrics").body, "all places are free again")
    again = Stream(port)
    equal(again.status, 200, "a new stream")
    mesh[0].run("down")  # ends with a stream open
    again.close()


SAMPLE = re.compile(r'^([a-z_]+)(\{[a-z_]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z_]+="(?:[^"\\\n]|\\["\\n])*")*\})? (-?[0-9.e+-]+|NaN|[+-]Inf)$')


@case
def page_metrics(world):
    """Metrics as Prometheus reads them: each family told once with help and type, no series twice, numbers as in status."""
    mesh, port = with_page(world, 3)
    answer = get(port, "/metrics")
    equal(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8", "type")
    types, helped, seen = {}, set(), {}
    for line in answer.body.decode().splitlines():
        if line.startswith("# HELP "):
            helped.add(line.split()[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            expect(name not in types and name in helped and kind in ("gauge", "counter"), line)
            types[name], last = kind, name
        else:
            match = SAMPLE.match(line)
            expect(match and match[1] == last, f"no sample of {last}: {line}")
            expect((types[last] == "counter") == last.endswith("_total"), f"{last} is a {types[last]}")
            expect(match[1] + (match[2] or "") not in seen, f"twice: {line}")
            seen[match[1] + (match[2] or "")] = float(match[3])
    equal(seen['mycel_peers{state="alive"}'], 2, "peers alive")
    equal(seen["mycel_problems"], 0, "problems")
    equal(len([k for k in seen if k.startswith("mycel_peer_rtt_seconds{")]) <= 2, True, "a series a link at most")
    expect(seen['mycel_link_bytes_total{direction="sent",lane="control"}'] > 0, "bytes sent")
    expect(seen["mycel_process_resident_memory_bytes"] > 1e6, "memory")
    dashboard = os.path.join(os.path.dirname(__file__), "..", "..", "tools", "grafana.json")
    with open(dashboard) as file:
        asked = set(re.findall(r"mycel_[a-z_]+", " ".join(re.findall(r'"expr": "((?:[^"\\]|\\.)*)"', file.read()))))
    expect(asked and asked <= set(types), f"the dashboard asks for {asked - set(types)}")


@case
def page_metrics_by_promtool(world):
    """Prometheus' own check has no complaint, with a run that trains as without."""
    promtool = shutil.which("promtool", path=os.path.join(ROOT, ".cache/promtool/root/usr/bin") + ":" + os.environ["PATH"])
    if not promtool:
        raise Skipped("NO promtool HERE: ./run-tests --only e2e fetches it")
    mesh, port = with_page(world, 2)
    run = small_run(world, mesh[0], 2)
    until(lambda: mesh[0].show(run)["state"] == "done", "the run is done", guard=300)
    said = subprocess.run([promtool, "check", "metrics"], input=get(port, "/metrics").body, capture_output=True)
    equal((said.returncode, said.stdout + said.stderr), (0, b""), "promtool")


HOSTILE = """(() => {
  const evil = '<img src=x onerror=window.bad=1>\\u202e\\u001b[31m' + 'x'.repeat(10000);
  const peer = { ...now.peers[0], id: 'ff'.repeat(32), name: evil, site: evil, role: evil, self: false };
  take.peers({ peers: [now.peers[0], peer] });
  take.status({ ...now.status, mesh_name: evil, problems: [{ peer: evil, cause: evil, remedy: evil }] });
  take.log({ time: '2020-01-01T00:00:00Z', event: 'x', text: evil });
  const map = structuredClone(now.map);
  map.peers[0].name = evil; map.layout.peers[0].label = evil.slice(0, 14); map.peers[0].devices = [{ name: evil, gpu: true, busy_percent: 3 }];
  take.map(map);
  view.hover(0, { clientX: 5, clientY: 5 });
  return [...document.querySelectorAll('img, iframe, object, embed')].length;
})()"""

BIG = """(() => {
  const n = 500, at = (i) => ({ x: (i % 25) * 150, y: Math.floor(i / 25) * 60 });
  const peers = Array.from({ length: n }, (_, i) => ({ id: i.toString(16).padStart(64, '0'), name: 'p' + i, site: 's' + i % 9, host: String(i), state: 'alive', self: i === 0, answered: true, devices: [] }));
  const links = Array.from({ length: 5 * n }, (_, i) => ({ a: peers[i % n].id, b: peers[(i * 7 + 13) % n].id, rtt_us: 900, bytes_s: i * 99 }));
  const box = (i) => ({ ...at(i), width: 100, height: 40, first: i, count: 1, drawn: true, folded: false, label: 's' });
  const layout = { width: 3750, height: 1200, ink: 0.5, peers: peers.map((p, i) => ({ ...at(i), label: p.name })), hosts: peers.map((_, i) => box(i)), sites: peers.map((_, i) => box(i)),
    trees: [{ run: 'ab'.repeat(32), ink: 0.5, flows: peers.slice(1).map((_, i) => [i + 1, i % 9, 0]) }], bundled: true, bundles: links.map((_, i) => ({ a: i % n, b: (i * 7 + 13) % n, links: 1, bytes_s: i * 99, rtt_us: 900 })) };
  take.map({ peers, links, flows: [], layout });
  return document.querySelector('#view canvas') ? 'canvas' : 'none';
})()"""


def look(world):
    program = browser.find()
    if not program:
        raise Skipped("NO CHROMIUM HERE: ./run-tests installs chromium-headless-shell where Debian has it")
    return browser.Browser(program, world.path("browser"))


@case
def page_in_a_browser(world):
    """In Chromium: every peer and edge of the map is drawn and listed, nothing is loaded from elsewhere, nothing complains."""
    mesh, port = with_page(world, 4)
    until(lambda: all(p["answered"] for p in get(port, "/api/v1/map").json["peers"]), "all answer")
    shown = look(world)
    try:
        shown.look(1280, 900)
        shown.open(f"http://127.0.0.1:{port}/")
        shown.wait("document.querySelectorAll('#view [data-peer]').length === 4 && document.querySelectorAll('#rows tr').length === 4")
        drawn = get(port, "/api/v1/map").json

        def agree():
            edges = shown.value("[...document.querySelectorAll('#view line[data-a]')].map((l) => [l.dataset.a, l.dataset.b])")
            return {tuple(sorted(e)) for e in edges} == pairs(get(port, "/api/v1/map").json["links"])

        until(agree, "the page draws every edge of the map")
        ids = {p["id"] for p in drawn["peers"]}
        equal(set(shown.value("[...document.querySelectorAll('#view [data-peer]')].map((g) => g.dataset.peer)")), ids, "peers drawn")
        rows = shown.value("[...document.querySelectorAll('#rows tr')].map((r) => [r.dataset.peer, r.children[0].textContent, r.children[1].textContent])")
        equal({tuple(r) for r in rows}, {(p["id"], p["name"], p["state"]) for p in mesh[0].json("peers")["peers"]}, "rows of the table")
        equal(shown.requests(), [f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/api/v1/events"], "one request and a stream")
        equal(shown.value("document.getElementById('health').textContent"), "Healthy", "health")
        mesh[3].kill()
        shown.wait("document.getElementById('health').textContent !== 'Healthy' && !document.getElementById('problems').hidden", guard=180)
        shown.wait("document.querySelector('#view circle.suspect, #view circle.dead') !== null", guard=180)
        equal(shown.complaints(), [], "what the page complains of")
        equal(shown.value(HOSTILE), 0, "markup that a stranger's text became")
        equal(shown.value("window.bad === undefined && document.querySelector('#rows').textContent.includes('<img')"), True, "shown as text")
        equal(shown.value(BIG), "canvas", "500 peers")
        moved = shown.value("""new Promise((done) => { const began = performance.now(); let frames = 0;
          const step = () => { view.moveBy(1, 0); if (++frames < 30) requestAnimationFrame(step); else done((performance.now() - began) / 30); }; step(); })""")
        expect(moved > 0, "the canvas moves")
        equal(shown.complaints(), [], "what the page complains of, in the end")
    finally:
        shown.close()


DRAWN_SUMS = "[...document.querySelectorAll('#view line.flow')].map((l) => [l.dataset.from, l.dataset.to])"
TOLD_SUMS = "[...document.querySelectorAll('#sums li')].map((l) => [...l.querySelectorAll('bdi')].map((b) => b.textContent))"


@case
def page_draws_a_runs_sums(world):
    """The tree of the run that is chosen, by keyboard, is the one of `map --run`, drawn and in words; gone with the run."""
    mesh, port = with_page(world, 4)
    first = mesh[0]
    run = small_run(world, first, 1000)
    shown = look(world)
    try:
        shown.look(1280, 900)
        shown.open(f"http://127.0.0.1:{port}/")
        shown.wait("document.getElementById('trees')?.hidden === false && document.getElementById('tree').options.length === 2", guard=120)
        equal(shown.value("document.getElementById('tree').labels[0].textContent.trim().startsWith('Sums of')"), True, "the choice has a name")
        equal(shown.value(DRAWN_SUMS), [], "sums before a run is chosen")
        shown.value("document.getElementById('tree').focus()")
        for kind in ("rawKeyDown", "keyUp"):
            shown.call("Input.dispatchKeyEvent", type=kind, key="ArrowDown", code="ArrowDown", windowsVirtualKeyCode=40)
        equal(shown.value("document.getElementById('tree').value"), run, "the run that the keyboard chose")

        def agree():
            printed = first.json("map", "--run", run[:8])
            names = {p["id"]: p["name"] for p in printed["peers"]}
            flows = {(f["from"], f["to"]) for f in printed["flows"]}
            told = {(a, line[0]) for line in shown.value(TOLD_SUMS) for a in line[1:]}
            return flows and {tuple(d) for d in shown.value(DRAWN_SUMS)} == flows and told == {(names[a], names[b]) for a, b in flows}

        until(agree, "the page's sums and those of `map --run` are the same")
        equal(get(port, "/api/v1/map").json["flows"], [], "flows of no run in particular")
        first.run("runs", "cancel", run)
        shown.wait("document.getElementById('trees').hidden && document.getElementById('sum-details').hidden", guard=120)
        equal(shown.value(DRAWN_SUMS), [], "sums of a run that was cancelled")
        equal(shown.complaints(), [], "what the page complains of")
    finally:
        shown.close()


# A run's sums, chosen, and everything that can be opened is.
SUMS = """(() => {
  take.map({ ...now.map, layout: { ...now.map.layout, trees: [{ run: 'ab'.repeat(32), ink: 1, flows: [[0, 1, 0], [2, 1, 1]] }] } });
  $('tree').selectedIndex = 1;
  $('tree').dispatchEvent(new Event('change'));
  for (const details of document.querySelectorAll('details')) details.open = true;
  const at = (id) => now.map.peers.findIndex((p) => p.id === id), lines = [...document.querySelectorAll('#view line.flow')];
  return [lines.map((l) => [at(l.dataset.from), at(l.dataset.to)]), [...document.querySelectorAll('#sums li')].map((l) => l.textContent)];
})()"""


@case
def page_is_accessible(world):
    """axe-core finds nothing to complain of, in light and dark and at three widths; the keyboard reaches what the mouse does."""
    if not os.path.exists(AXE):
        raise Skipped("NO axe-core HERE: ./run-tests --only e2e fetches it from PyPI")
    _, port = with_page(world, 3)
    shown = look(world)
    try:
        for width, dark in ((360, False), (1280, True), (2560, False)):
            shown.look(width, 900, dark)
            shown.open(f"http://127.0.0.1:{port}/")
            shown.wait("document.querySelectorAll('#view [data-peer]').length === 3 && document.querySelectorAll('#rows tr').length === 3")
            a, b, c = (p["name"] for p in get(port, "/api/v1/map").json["peers"])
            equal(shown.value(SUMS), [[[0, 1], [2, 1]], [f"level 0: {b} sums for {a}", f"level 1: {b} sums for {c}"]], "sums that are drawn")
            with open(AXE) as file:
                shown.call("Runtime.evaluate", expression=file.read())
            found = shown.value("axe.run().then((r) => r.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html.slice(0, 90)).join(' | ')))")
            equal(found, [], f"axe at {width}")
            equal(shown.value("document.documentElement.scrollWidth <= innerWidth"), True, f"no sideways scrolling at {width}")
        before = shown.value("document.querySelector('#view g').getAttribute('transform')")
        shown.value("document.getElementById('view').focus()")
        for key in ("ArrowLeft", "+"):
            shown.call("Input.dispatchKeyEvent", type="keyDown", key=key)
            shown.call("Input.dispatchKeyEvent", type="keyUp", key=key)
        expect(shown.value("document.querySelector('#view g').getAttribute('transform')") != before, "keys move the map")
    finally:
        shown.close()
