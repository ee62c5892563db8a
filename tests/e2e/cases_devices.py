"""Devices: GPUs that an emulated driver shows (tests/fake), devices lost in the middle of a round, broken drivers, what
the owner reserves, and what `mycel hw` says of it all."""
import ctypes.util
import json
import os
import subprocess

from harness import ROOT, Skipped, case, equal, expect, free_port, hashes, sentences, until, wait_for_round

FAKE = os.path.join(ROOT, "zig-out", "tests", "libfakegpu.so")
BUILT = []
# The emulated GPU needs a second for a step that takes others a millisecond: the smallest model that trains.
MODEL = "layers = 1\nwidth = 16\nheads = 1\ninner = 16\ncontext = 16\nbatch = 2\ntied = yes\n"
ROUNDS, STEPS = 100_000, 16


def fake():
    """The environment in which the fake is NVIDIA's driver, with two devices."""
    if not BUILT:
        done = subprocess.run(["./zig.sh", "build", "fake"], cwd=ROOT, capture_output=True, text=True)
        if done.returncode or not os.path.exists(FAKE):
            raise Skipped(f"the emulated driver does not build: {done.stderr.strip()[-300:]}")
        BUILT.append(FAKE)
    return {"MYCEL_CUDA_LIBRARY": FAKE}


def small_run(world, peer, rounds, steps=4, seed=5):
    data, model = world.file("text.txt", sentences(50_000)), world.file("small.model", MODEL)
    return peer.json("train", "--data", data, "--model", model, "--rounds", str(rounds), "--inner-steps", str(steps), "--seed",
                     str(seed), "--detach")["run"]


def lanes(peer):
    return {lane["device"]: lane for lane in peer.json("status", status=None)["lanes"]}


def prefer_gpus(peer):
    """The CPU is slow, as far as the peer remembers; the peer must be down."""
    path = os.path.join(peer.home, "rates")
    with open(path) as file:
        rates = json.load(file)
    for row in rates["rates"]:
        if row["name"] == "cpu":
            row["gflops"] = 1e-9
    with open(path, "w") as file:
        json.dump(rates, file)


def two_peers(world, env, lost=None):
    """A CPU peer, and one whose emulated GPU is the fastest that it has; the GPU's name."""
    env = dict(env, MYCEL_FAKE_LOST=lost) if lost else env
    first = world.founder()
    second = world.member("p2", first)
    second.run("down")
    second.up("--cpus", "1", "--gpus", "nvidia:0", env=env)
    second.run("hw", "--measure", "--json")
    second.run("down")
    prefer_gpus(second)
    second.up("--cpus", "1", "--gpus", "nvidia:0", env=env)
    until(lambda: second.json("status", status=None)["peers_up"] == 1, "the two see each other")
    return first, second


@case
def a_gpu_lost_in_a_round(world):
    """A device fails in the middle of a round: its work moves, the round closes with the CPU's bits, the device returns."""
    lost = world.path("lost")
    first, second = two_peers(world, fake(), lost)
    equal(lanes(second)["nvidia:0"]["state"], "up", "the emulated device")
    run = small_run(world, first, ROUNDS, STEPS)
    until(lambda: lanes(second)["nvidia:0"]["doing"] == "train", "the run trains on the device")
    wait_for_round([second], run, 1)
    equal(second.json("runs", "verify", run, "--round", "1", "--slot", "0")["equal"], True, "a CPU's round replayed on the device")
    words = ("generate", "--run", run, "--prompt", "Ka", "--max-tokens", "30", "--seed", "3")
    expect(len(second.run(*words).out) > 2, "no text from the device")
    until(lambda: lanes(second)["nvidia:0"]["doing"] == "train", "it trains there again", every=0)
    begun = second.round(run)
    world.file("lost.0", "")
    until(lambda: lanes(second)["nvidia:0"]["state"] != "up", "the device is lost")
    wait_for_round([first, second], run, begun + 1)
    shown = second.json("status", status=1)
    expect(any("nvidia:0 is lost" in p["cause"] and "dmesg" in p["remedy"] for p in shown["problems"]), f"problems: {shown['problems']}")
    expect(lanes(second)["nvidia:0"]["why"], "no reason for the loss")
    text = second.run("status", status=1).out
    expect("nvidia:0" in text and "lost" in text and all(len(line) <= 80 for line in text.splitlines()), text)
    for event in ("device.lost device=nvidia:0", "device.moved work=train from=nvidia:0"):
        expect(event in second.log(), f"no {event} in the log")
    last = begun + 2
    wait_for_round([first, second], run, last)
    with_loss = hashes(first, run, range(1, last + 1))
    equal(hashes(second, run, range(1, last + 1)), with_loss, "hashes of the two peers")
    first.run("runs", "pause", run)
    until(lambda: all(p.show(run)["state"] == "paused" for p in (first, second)), "the run is paused")
    os.remove(world.path("lost.0"))
    second.run("hw", "--measure")
    equal(lanes(second)["nvidia:0"]["state"], "up", "the device after it came back")
    expect("device.back device=nvidia:0" in second.log(), "no device.back in the log")
    until(lambda: second.run("status", status=None).status == 0, "it is healthy after the device came back")
    equal(second.run(*words).out, first.run(*words).out, "text of the other peer with the same seed")
    for peer in (second, first):
        peer.run("down")
    alone = [world.founder("a1", "other")]
    alone.append(world.member("a2", alone[0]))
    run = small_run(world, alone[0], ROUNDS, STEPS)
    wait_for_round(alone, run, last)
    equal(hashes(alone[0], run, range(1, last + 1)), with_loss, "hashes of a run that lost a device, of one on CPUs alone")


@case
def broken_drivers(world):
    """A driver that is no library, lacks calls, does not start, is old or refuses every image: said, and the CPU goes on."""
    env = fake()
    garbage = world.file("garbage.so", os.urandom(4096))
    empty = ctypes.util.find_library("m")
    first = world.founder()
    for name, change, word in (("garbage", {"MYCEL_CUDA_LIBRARY": garbage}, "garbage.so"),
                               ("foreign", {"MYCEL_CUDA_LIBRARY": empty}, "too old"),
                               ("absent", {"MYCEL_CUDA_LIBRARY": world.path("absent.so")}, "absent.so"),
                               ("dead", {"MYCEL_FAKE_FAIL": "init:0"}, "does not start"),
                               ("refusing", {"MYCEL_FAKE_FAIL": "module_open:0"}, "kernels")):
        first.run("down")
        first.up(env={**env, **change})
        until(lambda: first.json("hw")["peer"]["gpus"] == "looked", f"{name}: the drivers were tried")
        devices = first.json("hw")["devices"]
        bad = [d for d in devices if not d["usable"]]
        expect(bad and all(word in d["why"] for d in bad), f"{name}: no {word!r} in {devices}")
        equal([d["name"] for d in devices if d["usable"]], ["cpu"], f"{name}: usable devices")
        expect(bad[0]["why"][:20] in " ".join(first.run("hw").out.split()), f"{name}: the text does not say so")
        expect("device.unusable" in first.log(), f"{name}: not in the log")
        first.run("status")
        told = world.run("--home", world.path("none"), "hw", "--json", env={**env, **change}).good().json
        expect(any(word in d.get("why", "") for d in told["devices"] if not d["usable"]), f"{name}: without a daemon")
    run = small_run(world, first, 2)
    wait_for_round([first], run, 2)


@case
def device_memory_runs_out(world):
    """A model that a device has no room for trains on the CPU; memory that runs out in a step moves the step."""
    env = fake()
    first, second = two_peers(world, dict(env, MYCEL_FAKE_MEMORY=str(1 << 20)))
    run = small_run(world, first, 2)
    wait_for_round([first, second], run, 2)
    equal(lanes(second)["nvidia:0"]["losses"], 0, "losses of a device that is too small")
    second.run("down")
    second.up("--cpus", "1", "--gpus", "nvidia:0", env=dict(env, MYCEL_FAKE_FAIL="alloc:1"))
    run = small_run(world, first, 2, seed=6)  # within a second the same text would be the same run
    wait_for_round([first, second], run, 2)
    expect(lanes(second)["nvidia:0"]["losses"] > 0, "no loss when allocations fail")


@case
def owners_limits(world):
    """Limits of 0, negative, beyond the machine, of devices that aren't there: exit 2 and one sentence; good ones hold."""
    env = fake()
    first = world.founder()
    first.run("down")
    for words, text in ((("--cpus", "0"), "whole number from 1"), (("--cpus", "-1"), "whole number"), (("--cpus", "100000"), "may be used here"),
                        (("--cpus", "99999999999"), "may be used here"), (("--memory", "0"), "4GB"), (("--memory", "-1GB"), "4GB"),
                        (("--memory", "4000TB"), "may be used here"), (("--memory", "lots"), "4GB"), (("--gpus", "0"), "none"),
                        (("--gpus", "3"), "2 GPUs: nvidia:0, nvidia:1"), (("--gpus", "nvidia:7"), "2 GPUs: nvidia:0, nvidia:1"),
                        (("--gpus", "nvidia:0,amd:3"), "amd:3"), (("--share", "0"), "1 to 100"), (("--share", "101"), "1 to 100"),
                        (("--share", "-5"), "1 to 100")):
        for more in ((), ("--detach",)):
            result = first.run("up", *words, *more, status=2, env=env)
            expect(text in result.err and result.err.count("\n") == 1, f"up {words}: {result.err!r}")
    result = world.run("--home", world.path("lab"), "lab", "up", "1", "--gpus", "nvidia:9", env=env)
    expect(result.status == 2 and "nvidia:9" in result.err, f"lab up --gpus nvidia:9: {result.status} {result.err!r}")
    first.up("--cpus", "1", "--memory", "600MB", "--gpus", "1", "--share", "50%", env=env)
    until(lambda: first.json("hw")["peer"]["gpus"] == "looked", "the devices were looked at")
    peer = first.json("hw")["peer"]
    equal((peer["cpus"], peer["limits"]["gpus"], peer["limits"]["share_percent"]), (1, "1", 50), "limits")
    expect(peer["memory_bytes"] <= 600_000_000, f"memory of {peer['memory_bytes']}")
    state = {lane["device"]: (lane["state"], lane["duty_percent"]) for lane in peer["lanes"]}
    equal(state, {"cpu": ("up", 100), "nvidia:0": ("up", 50), "nvidia:1": ("elsewhere", 0)}, "lanes")
    expect("--share 50%" in first.run("hw").out, "the limits are not in the text")
    first.run("down")
    first.up("--gpus", "none", env=env)
    equal([d["name"] for d in first.json("hw")["devices"]], ["cpu"], "devices with --gpus none")


@case
def hardware_as_told(world):
    """hw with and without a daemon: the machine, each device, rates once measured and kept, what lies where; 80 columns."""
    env = fake()
    alone = world.run("--home", world.path("none"), "hw", "--json").good().json
    equal(alone["machine"]["cpus_usable"], len(os.sched_getaffinity(0)), "usable cpus")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    expect(memory / 2 < alone["machine"]["memory_bytes"] < memory * 1.1, f"memory of {alone['machine']['memory_bytes']}, not {memory}")
    equal((alone["peer"], [d["name"] for d in alone["devices"]][:1]), (None, ["cpu"]), "without a daemon")
    expect(not os.path.exists(world.path("none")), "hw makes a home")
    first = world.founder()
    first.run("down")
    first.up(env=env)
    until(lambda: all(d.get("gflops") for d in first.json("hw")["devices"]), "the devices are measured by themselves")
    told = first.json("hw", "--measure")
    for device in told["devices"]:
        expect(device["usable"] and device["gflops"] > 0 and device["gbytes_per_s"] > 0, f"no rates: {device}")
    equal([lane["device"] for lane in told["peer"]["lanes"]], ["cpu", "nvidia:0", "nvidia:1"], "lanes")
    text = first.run("hw").out
    expect(all(len(line) <= 80 for line in text.splitlines()), f"wider than 80 columns:\n{text}")
    for word in ("machine", "caches", "memory", "DEVICE", "GFLOP/S", "nvidia:1", "LANE", "BUSY"):
        expect(word in text, f"no {word!r} in\n{text}")
    first.run("down")
    kept = world.run("--home", first.home, "hw", "--json", env=env).good().json
    equal([d["gflops"] > 0 for d in kept["devices"]], [True] * 3, "rates kept in the home")


@case
def hardware_as_described(world):
    """hw of a machine's file: each of eight peers gets one GPU and the cores of its socket; a bad file says what and where."""
    peer = world.peer("nobody")
    fixtures = os.path.join(ROOT, "tests", "fixtures", "topology")
    server = os.path.join(fixtures, "server-2x64-8gpu.xml")
    told = peer.json("hw", "--topology", server, "--peers", "8")
    equal((told["machine"]["cores"], len(told["machine"]["pci"]), len(told["peers"])), (128, 8, 8), "machine")
    devices = [lane["device"] for plan in told["peers"] for lane in plan["lanes"]]
    equal(sorted(set(devices)), sorted([card["pci"] for card in told["machine"]["pci"]] + ["cpu"]), "devices")
    for plan in told["peers"]:
        socket = [0] if plan["index"] <= 4 else [1]
        equal([lane["nodes"] for lane in plan["lanes"]], [socket, socket], f"memory of peer {plan['index']}")
    for name in sorted(os.listdir(fixtures)):
        if name.endswith(".xml"):
            text = peer.run("hw", "--topology", os.path.join(fixtures, name), "--peers", "2").out
            expect(all(len(line) <= 80 for line in text.splitlines()), f"{name}: wider than 80 columns:\n{text}")
    with open(server) as file:
        text = file.read()
    for name, content, said in (("cut", text[: len(text) // 2], "cut short"), ("empty", "", "is empty"),
                                ("garbage", "what?", "not hwloc's XML"),
                                ("old", text.replace('version="2.0"', ""), "version 2")):
        path = world.file(name, content)
        err = peer.run("hw", "--topology", path, status=4).err
        expect(said in err and path in err, f"{name}: {err}")
    expect("not found" in peer.run("hw", "--topology", world.path("missing"), status=4).err, "a missing file")
    peer.run("hw", "--topology", server, "--peers", "0", status=2)
    peer.run("hw", "--topology", server, "--peers", "1025", status=2)
    peer.run("hw", "--peers", "2", status=2)
