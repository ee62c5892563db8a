"""How peers are found: announcements on a LAN made of namespaces and a bridge, a gateway's port, several addresses.

The peers lie on hosts of one switch; addresses change under them, strangers and liars speak beside them. Announcements
are read and forged by a second implementation (lan.py).
"""
import contextlib
import ctypes
import os
import select
import socket
import struct
import subprocess
import threading
import time

import lan
from harness import Failed, case, equal, expect, free_port, until

LIBC = ctypes.CDLL(None, use_errno=True)
FOUND = 90  # seconds: 5 until a dead connection is seen, 5 until an address is, 1 until it is told; three times as guard


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    expect(done.returncode == 0, f"ip {' '.join(words)}: {done.stderr.strip()}")


class Switch:
    """Hosts on one bridge, each a network namespace with eth0; all gone at the end."""

    def __init__(self, world, count):
        world.need_hosts()
        self.world, self.tag = world, f"mycel-lan{os.getpid()}"
        self.names = [f"{self.tag}-{k}" for k in range(count + 1)]  # 0 is the switch itself
        try:
            for k, name in enumerate(self.names):
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
                if k == 0:
                    ip("-n", name, "link", "add", "br0", "type", "bridge")
                    ip("-n", name, "link", "set", "br0", "up")
                    continue
                ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"p{k}", "netns", self.names[0])
                ip("-n", self.names[0], "link", "set", f"p{k}", "master", "br0", "up")
                ip("-n", name, "link", "set", "eth0", "up")
                ip("-n", name, "addr", "add", f"10.99.0.{k}/24", "dev", "eth0")
        except BaseException:
            self.close()
            raise

    def close(self):
        for peer in list(self.world.homes()):
            if peer.pid():
                peer.kill()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def move(self, k, last):
        ip("-n", self.names[k], "addr", "flush", "dev", "eth0", "scope", "global")
        ip("-n", self.names[k], "addr", "add", f"10.99.0.{last}/24", "dev", "eth0")

    def run(self, k, peer, *words, stdin=""):
        done = subprocess.run(["ip", "netns", "exec", self.names[k], self.world.binary, "--home", peer.home, *words],
                              input=stdin, capture_output=True, text=True, env=self.world.env, timeout=60)
        expect(done.returncode == 0, f"mycel {' '.join(words)[:60]}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def up(self, k, peer, *words):
        self.run(k, peer, "up", "--detach", "--cpus", "1", "-v", *words)

    def found(self, k, name, mesh, *words):
        peer = self.world.peer(name)
        self.run(k, peer, "init", mesh, "--name", name)
        self.up(k, peer, *words)
        return peer

    def join(self, k, name, sponsor, *words):
        peer = self.world.peer(name)
        token = sponsor.json("invite")["token"]
        self.run(k, peer, "join", "-", "--name", name, "--detach", "--cpus", "1", *words, stdin=token)
        return peer

    @contextlib.contextmanager
    def inside(self, k):
        """What is opened in here by this thread lies on host K."""
        with open("/proc/thread-self/ns/net") as own, open(f"/run/netns/{self.names[k]}") as other:
            expect(LIBC.setns(other.fileno(), 0x40000000) == 0, "cannot enter a namespace")
            try:
                yield
            finally:
                LIBC.setns(own.fileno(), 0x40000000)

    def ear(self, k, address):
        """A socket on host K that hears and sends announcements."""
        with self.inside(k):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((lan.GROUP, lan.PORT))
            s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(lan.GROUP) + socket.inet_aton(address))
            s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
            return s


@contextlib.contextmanager
def switch(world, count):
    s = Switch(world, count)
    try:
        yield s
    finally:
        s.close()


def linked(peer, name):
    answer = peer.ask("peers") or {"peers": []}
    return any(p["name"] == name and p["state"] == "alive" and p["path"] == "direct" for p in answer["peers"])


def both_linked(a, b):
    return linked(a, os.path.basename(b.home)) and linked(b, os.path.basename(a.home))


def told(peer, of, address):
    answer = peer.ask("peers") or {"peers": []}
    return any(p["name"] == of and f"{address}:6173" in p["addresses"] for p in answer["peers"])


def counts(peer):
    return (peer.ask("status") or {}).get("lan") or {}


def say(text):
    print(f"     {text}", flush=True)


def seconds_until_found(p1, p2, and_also=lambda: True):
    """How long two peers take to link by the LAN's help, and by nothing else."""
    begin = time.monotonic()
    until(lambda: and_also() and both_linked(p1, p2), lambda: f"they find each other: {counts(p1)}, {counts(p2)}", guard=FOUND)
    expect(counts(p1)["dialled"] + counts(p2)["dialled"] > 0, "they found each other, but not by the LAN")
    return time.monotonic() - begin


@case
def lan_both_moved(world):
    """Two peers get new addresses at once, no known one is left: they find each other; without LAN discovery they don't."""
    with switch(world, 5) as s:
        p1 = s.found(1, "p1", "one")
        p2 = s.join(2, "p2", p1)
        q1 = s.found(3, "q1", "two", "--no-lan")
        q2 = s.join(4, "q2", q1, "--no-lan")
        stranger = s.found(5, "stranger", "three")
        until(lambda: both_linked(p1, p2) and both_linked(q1, q2), "the pairs are whole")
        for k in (1, 2, 3, 4):
            s.move(k, 100 + k)
        took = seconds_until_found(p1, p2, lambda: told(p1, "p2", "10.99.0.102") and told(p2, "p1", "10.99.0.101"))
        until(lambda: not linked(q1, "q2") and not linked(q2, "q1"), "the pair without LAN discovery has lost each other")
        time.sleep(took + 5)  # as long again: what it cannot do
        expect(not both_linked(q1, q2), "the pair without LAN discovery found each other: this case shows nothing")
        for q in (q1, q2):
            equal((counts(q)["on"], counts(q)["sent"]), (False, 0), "LAN of a peer with --no-lan")
        heard = counts(stranger)
        expect(heard["foreign"] > 0, "the stranger heard nothing")
        equal((heard["heard"], heard["dialled"]), (0, 0), "what a peer of another mesh made of it")
        equal(stranger.ask("status")["refused"], 0, "what others tried with a peer of another mesh")
        say(f"two peers that both moved found each other {took:.1f} s later")


@case
def lan_restarted_elsewhere(world):
    """Both peers stopped, moved, started: the stored addresses are stale, and they find each other."""
    with switch(world, 2) as s:
        p1 = s.found(1, "p1", "one")
        p2 = s.join(2, "p2", p1)
        until(lambda: both_linked(p1, p2), "the pair is whole")
        for k, peer in ((1, p1), (2, p2)):
            peer.run("down")
            s.move(k, 200 + k)
        for k, peer in ((1, p1), (2, p2)):
            s.up(k, peer)
        say(f"two peers that were restarted elsewhere found each other {seconds_until_found(p1, p2):.1f} s later")


def hear_one(ear, key, mesh, of):
    """A datagram by the peer `of`, and what it says."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if select.select([ear], [], [], 1)[0]:
            datagram = ear.recv(2000)
            said = lan.read(key, mesh, datagram)
            if said and said["id"] == of:
                return datagram, said
    raise Failed("no announcement was heard")


@case
def lan_lies(world):
    """Noise, forgeries, replays and old news are counted and ignored; a true word about a false address costs a dial."""
    with switch(world, 3) as s:
        p1 = s.found(1, "p1", "one")
        p2 = s.join(2, "p2", p1)
        until(lambda: both_linked(p1, p2), "the pair is whole")
        with open(os.path.join(p1.home, "charter"), "rb") as f:
            key, mesh = lan.key_of(f.read())
        equal(mesh.hex(), p1.json("status")["mesh"], "the mesh id by the second implementation")
        with open(os.path.join(p2.home, "key")) as f:
            lines = dict(line.split() for line in f.read().splitlines()[1:])
        seed, ident = bytes.fromhex(lines["seed"]), bytes.fromhex(lines["id"])
        ear = s.ear(3, "10.99.0.3")
        p2.run("down")
        s.up(2, p2)  # it speaks when it starts
        datagram, said = hear_one(ear, key, mesh, ident.hex())
        equal(said["addresses"], [("10.99.0.2", 6173)], "the addresses it tells")
        expect(ident not in datagram and mesh not in datagram, "an announcement shows who it is")
        until(lambda: both_linked(p1, p2), "the pair is whole again")

        def sends(bytes_, what, by=1):
            before = counts(p1)
            ear.sendto(bytes_, (lan.GROUP, lan.PORT))
            until(lambda: counts(p1)[what] >= before[what] + by, lambda: f"{what} counts: {before}, now {counts(p1)}", guard=15)

        now, nonce, was = int(time.time()), os.urandom(24), counts(p1)["dialled"]
        bogus = [("10.99.0.3", 4444)]
        sends(datagram, "replayed")
        sends(b"\1" + os.urandom(232), "foreign")
        sends(b"\1" + os.urandom(20), "malformed")
        sends(b"\2" + os.urandom(232), "malformed")
        # By someone who has the mesh's key, in p2's name.
        sends(lan.announce(key, mesh, b"x" * 32, nonce, 99, 0, now, bogus, ident=ident), "forged")
        # By p2 itself, but of another day; of an earlier life.
        sends(lan.announce(key, mesh, seed, nonce, said["incarnation"], 60000, now - 86400, bogus), "stale")
        sends(lan.announce(key, mesh, seed, nonce, said["incarnation"] - 1, 60001, now, bogus), "replayed")
        equal(counts(p1)["dialled"], was, "dials by what was no news")
        # p2 is gone. Its key says a false address: a connection comes there, and no link.
        p2.run("down")
        until(lambda: not linked(p1, "p2"), "p2 is gone")
        with s.inside(3):
            trap = socket.create_server(("10.99.0.3", 4444))
        trap.settimeout(30)
        sends(lan.announce(key, mesh, seed, nonce, said["incarnation"] + 50, 0, now, bogus), "heard")
        caller, _ = trap.accept()
        caller.close()
        equal(counts(p1)["dialled"], was + 1, "dials of the false address")
        expect(not linked(p1, "p2"), "a link to nobody is up")
        trap.close()
        ear.close()


@case
def lan_costs_little(world):
    """A flood of noise: most is dropped unread, the peer answers, and what it costs is told."""
    with switch(world, 2) as s:
        p1 = s.found(1, "p1", "one")
        ear = s.ear(2, "10.99.0.2")
        until(lambda: counts(p1).get("sent", 0) > 0, "it speaks")
        noise, sent = b"\1" + os.urandom(232), 20000
        before, cpu = counts(p1), p1.ask("status")["process"]["cpu_s"]
        begin = time.monotonic()
        for _ in range(sent):
            ear.sendto(noise, (lan.GROUP, lan.PORT))
        until(lambda: counts(p1)["limited"] > before["limited"], "the flood is limited")
        after, spent = counts(p1), p1.ask("status")["process"]["cpu_s"] - cpu
        opened = after["foreign"] - before["foreign"]
        expect(0 < opened < sent / 10, f"{opened} of {sent} were opened")
        p1.run("status")
        say(f"{sent} datagrams of noise: {opened} opened, {spent * 1000:.0f} ms of CPU in {time.monotonic() - begin:.1f} s, all else included")
        ear.close()


# ---- the gateway's port ----

class Gateway(threading.Thread):
    """A router's PCP or NAT-PMP on host K. `way`: pcp, natpmp, refuses, garbage (then the right answer)."""

    def __init__(self, s, k, way, outer="203.0.113.7"):
        super().__init__(daemon=True)
        self.way, self.outer, self.requests, self.over = way, socket.inet_aton(outer), [], False
        with s.inside(k):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.socket.bind((f"10.99.0.{k}", 5351))
        self.socket.settimeout(0.2)
        self.start()

    def close(self):
        self.over = True
        self.join()
        self.socket.close()

    def run(self):
        while not self.over:
            try:
                request, who = self.socket.recvfrom(2000)
            except TimeoutError:
                continue
            self.requests.append(request)
            for answer in self.answers(request):
                self.socket.sendto(answer, who)

    def answers(self, q):
        if self.way == "garbage":
            for size in (1, 3, 12, 59, 60, 61, 1100, 1400):
                yield os.urandom(size)
            yield b"\2\x81" + bytes(58)
        if q[0] == 2 and self.way == "natpmp":
            yield struct.pack(">BBHI", 0, 128 + q[1], 1, 9)
        elif q[0] == 2:  # RFC 6887 11.1
            code, lifetime = (2 if self.way == "refuses" else 0), struct.unpack_from(">I", q, 4)[0]
            yield (struct.pack(">BBBBII12x", 2, 0x81, 0, code, min(lifetime, 3600), 9) + q[24:42]
                   + struct.pack(">H", 40000) + bytes(10) + b"\xff\xff" + self.outer)
        elif q[1] == 0:  # RFC 6886 3.2, 3.3
            yield struct.pack(">BBHI", 0, 128, 2 if self.way == "refuses" else 0, 9) + self.outer
        else:
            inner, lifetime = struct.unpack_from(">HxxI", q, 4)
            yield struct.pack(">BBHIHHI", 0, 130, 0, 9, inner, 40000 if lifetime else 0, min(lifetime, 3600))


class UpnpGateway(threading.Thread):
    """A router on host K that speaks UPnP alone. `way`: upnp, once (its first port is taken), elsewhere (its description
    is said to lie on another machine), endless (a description without an end)."""

    SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"

    def __init__(self, s, k, way):
        super().__init__(daemon=True)
        self.way, self.address, self.requests, self.over = way, f"10.99.0.{k}", [], False
        with s.inside(k):
            self.search = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.search.bind(("", 1900))
            self.search.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                                   socket.inet_aton("239.255.255.250") + socket.inet_aton(self.address))
            self.http = socket.create_server((self.address, 5000))
        self.start()

    def close(self):
        self.over = True
        self.join()
        self.search.close()
        self.http.close()

    def run(self):
        while not self.over:
            for s in select.select([self.search, self.http], [], [], 0.2)[0]:
                if s is self.search:
                    _, who = s.recvfrom(2000)
                    host = "10.99.0.3" if self.way == "elsewhere" else self.address
                    s.sendto(b"HTTP/1.1 200 OK\r\nLOCATION: http://%b:5000/root.xml\r\n\r\n" % host.encode(), who)
                    continue
                caller, _ = s.accept()
                with caller, contextlib.suppress(OSError):
                    caller.settimeout(2)
                    caller.sendall(self.answer(caller))

    def answer(self, caller):
        head, _, body = caller.recv(4096).partition(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        while len(body) < length:
            body += caller.recv(4096)
        self.requests.append((head + b"\r\n\r\n" + body).decode())
        if head.startswith(b"GET"):
            text = (f"<root><service><serviceType>{self.SERVICE}</serviceType><controlURL>/ctl</controlURL></service></root>")
            return b"HTTP/1.1 200 OK\r\n\r\n" + (b"<x>" * 40000 if self.way == "endless" else text.encode())
        if b"#GetExternalIPAddress" in head:
            return b"HTTP/1.1 200 OK\r\n\r\n<NewExternalIPAddress>203.0.113.7</NewExternalIPAddress>"
        if self.way == "once" and b"<NewExternalPort>6173<" in body:
            return b"HTTP/1.1 500 Internal Server Error\r\n\r\n<errorCode>718</errorCode>"
        return b"HTTP/1.1 200 OK\r\n\r\n<ok/>"


@contextlib.contextmanager
def gateway(s, k, way, **rest):
    g = (UpnpGateway if way in ("upnp", "once", "elsewhere", "endless") else Gateway)(s, k, way, **rest)
    try:
        yield g
    finally:
        g.close()


def port_map(peer):
    return (peer.ask("status") or {}).get("port_map") or {}


def until_mapped(peer, state="mapped"):
    return until(lambda: port_map(peer).get("state") == state and port_map(peer), lambda: f"{state}: {port_map(peer)}", guard=30)


@case
def portmap_by_pcp_and_natpmp(world):
    """A port is asked for, told to the mesh and given back, by PCP, by NAT-PMP, and past a gateway's garbage."""
    with switch(world, 2) as s:
        ip("-n", s.names[1], "route", "add", "default", "via", "10.99.0.2")
        p1 = s.found(1, "p1", "one")
        equal(port_map(p1)["state"], "off", "without the flag")
        p1.run("down")
        for way, by in (("pcp", "pcp"), ("natpmp", "nat-pmp"), ("garbage", "pcp")):
            with gateway(s, 2, way) as g:
                s.up(1, p1, "--map-port")
                got = until_mapped(p1)
                equal((got["external"], got["by"], got["gateway"], got["reachable"]), ("203.0.113.7:40000", by, "10.99.0.2", True), way)
                until(lambda: p1.ask("status")["addresses"][0] == "203.0.113.7:40000", "the first address that others are told")
                expect(f"203.0.113.7:40000 by {by}\n" in p1.run("status").out, "status doesn't show the gateway's port")
                expect("10.99.0.1:6173" in p1.ask("status")["addresses"], "the LAN's address is lost")
                expect(way != "garbage" or got["refused"] >= 9, f"garbage that counts: {got}")
                asked = len(g.requests)
                p1.run("down")
                until(lambda: len(g.requests) > asked, "the port is given back")
                last = g.requests[-1]
                equal(last[4:8] if by == "pcp" else last[8:12], bytes(4), "lifetime of the last request")


@case
def portmap_without_luck(world):
    """No gateway, a deaf one, one that refuses, one behind another NAT: each is named, and the peer goes on."""
    with switch(world, 2) as s:
        p1 = s.found(1, "p1", "one", "--map-port")
        expect("no gateway" in until_mapped(p1, "failed")["why"], port_map(p1)["why"])
        expect("no port: no gateway" in p1.run("status").out, "status says nothing of it")
        p1.run("down")
        expect("port_map.failed" in p1.log(), "the log says nothing of it")
        ip("-n", s.names[1], "route", "add", "default", "via", "10.99.0.2")
        s.up(1, p1, "--map-port")
        expect("nothing listens there" in until_mapped(p1, "failed")["why"], port_map(p1)["why"])
        p1.run("down")
        with gateway(s, 2, "refuses"):
            s.up(1, p1, "--map-port")
            expect("refuses" in until_mapped(p1, "failed")["why"], port_map(p1)["why"])
            p1.run("down")
        with gateway(s, 2, "pcp", outer="100.64.1.1"):
            s.up(1, p1, "--map-port")
            got = until_mapped(p1)
            equal(got["reachable"], False, "reachable behind another NAT")
            expect("another NAT" in got["why"], got["why"])
            equal(p1.ask("status")["addresses"][0], "10.99.0.1:6173", "the first address that others are told")
            equal(p1.run("status").status, 0, "the peer's health")


@case
def portmap_by_upnp(world):
    """A router of UPnP alone: a port, another where that is taken, given back; never a request to another machine."""
    with switch(world, 2) as s:
        ip("-n", s.names[1], "route", "add", "default", "via", "10.99.0.2")
        p1 = s.found(1, "p1", "one")
        p1.run("down")
        for way in ("upnp", "once"):
            with gateway(s, 2, way) as g:
                s.up(1, p1, "--map-port")
                got = until_mapped(p1)
                port = int(got["external"].split(":")[1])
                equal((got["external"].split(":")[0], got["by"], got["reachable"]), ("203.0.113.7", "upnp", True), way)
                expect((port == 6173) == (way == "upnp"), f"{way}: port {port}")
                equal(p1.ask("status")["addresses"][0], f"203.0.113.7:{port}", "the first address that others are told")
                expect("<NewInternalClient>10.99.0.1<" in g.requests[-1], g.requests[-1])
                p1.run("down")
                until(lambda: "#DeletePortMapping" in g.requests[-1], "the port is given back")
                expect(f"<NewExternalPort>{port}<" in g.requests[-1], g.requests[-1])
        for way, why in (("elsewhere", "nothing listens there"), ("endless", "names no WAN connection")):
            with gateway(s, 2, way) as g:
                s.up(1, p1, "--map-port")
                expect(why in until_mapped(p1, "failed")["why"], port_map(p1)["why"])
                equal(len(g.requests), 0 if way == "elsewhere" else 1, f"{way}: requests")
                p1.run("down")


# ---- several addresses ----

@case
def join_past_dead_addresses(world):
    """A token whose first addresses are dead or mute: the last one admits, without waiting for each of the others."""
    mute = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
    dead = [f"127.0.0.1:{s.getsockname()[1]}" for s in mute] + [f"127.0.0.1:{free_port()}"]
    port = free_port()
    p1 = world.peer("p1")
    p1.run("init", "test", "--name", "p1", "--listen", f"127.0.0.1:{port}")
    p1.up("--cpus", "1", *(word for a in dead + [f"127.0.0.1:{port}"] for word in ("--advertise", a)))
    token = p1.json("invite")["token"]
    p2 = world.peer("p2")
    begin = time.monotonic()
    joined = p2.run("join", "-", "--name", "p2", "--listen", f"127.0.0.1:{free_port()}", "--detach", "--cpus", "1", stdin=token)
    took = time.monotonic() - begin
    # 250 ms a mute address; one after the other, each until its time is up, took 4 s an address.
    expect(took < 12, f"join took {took:.1f} s")
    expect(f"127.0.0.1:{port}: admitted" in joined.err and "connection refused" in joined.err, joined.err)
    begin = time.monotonic()
    until(lambda: both_linked(p1, p2), "they are linked", guard=15)
    say(f"joined past 5 mute addresses and a dead one in {took:.1f} s, linked {time.monotonic() - begin:.1f} s later")
    for s in mute:
        s.close()


@case
def join_at_another_address(world):
    """The token's only address is dead: join says what it answered, and `--sponsor` names the right one."""
    port, dead = free_port(), free_port()
    p1 = world.peer("p1")
    p1.run("init", "test", "--name", "p1", "--listen", f"127.0.0.1:{port}")
    p1.up("--cpus", "1", "--advertise", f"127.0.0.1:{dead}")
    token = p1.json("invite")["token"]
    p2 = world.peer("p2")
    words = ("join", "-", "--name", "p2", "--listen", f"127.0.0.1:{free_port()}", "--detach", "--cpus", "1")
    refused = p2.run(*words, stdin=token, status=5)
    expect(f"127.0.0.1:{dead}: connection refused" in refused.err, refused.err)
    p2.run(*words, "--sponsor", "nonsense:port", stdin=token, status=2)
    p2.run(*words, "--sponsor", f"127.0.0.1:{port}", stdin=token)
    until(lambda: linked(p2, "p1"), "they are linked")
