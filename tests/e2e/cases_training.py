"""Training: the same parameters everywhere, the same trajectory whatever computes it, an even load."""
import os
import signal

from harness import Skipped, case, equal, expect, hashes, sentences, tiny_run, until, wait_for_round


@case
def four_peers_train(world):
    """Each closed round has one params_hash on every peer; verify says equal; generate writes the same on two peers."""
    peers = world.lab(4)
    run = tiny_run(world, peers[0], 12)
    wait_for_round(peers, run, 12)
    for peer in peers:
        until(lambda p=peer: p.show(run)["state"] == "done", "the run is done")
    rounds = range(1, 13)
    first = hashes(peers[0], run, rounds)
    equal(len(set(first)), 12, "distinct hashes")
    for peer in peers[1:]:
        equal(hashes(peer, run, rounds), first, "hashes of the rounds")
    for r in rounds:
        shown = peers[3].show(run, r)
        equal(len({c["slot"] for c in shown["commits"]}), shown["peers"], f"commits of round {r}, each once")
    newest = peers[0].show(run)
    expect(newest["val_loss"] < 5.0, f"held-out loss {newest['val_loss']} after training, 5.5 before")
    verdict = peers[2].json("runs", "verify", run, "--round", "11")
    equal(verdict["equal"], True, "replay of round 11")
    words = ("generate", "--run", run, "--prompt", "Ka", "--max-tokens", "60", "--seed", "3")
    text = peers[0].run(*words).out
    expect(len(text) > 30 and text.startswith("Ka"), f"generated {text!r}")
    equal(peers[3].run(*words).out, text, "text of another peer with the same seed")
    listed = peers[1].json("runs")["runs"]
    equal([(r["id"], r["state"], r["round"]) for r in listed], [(run, "done", 12)], "runs")


@case
def train_prints_and_detaches(world):
    """Plan, baselines, a line a round; Ctrl-C leaves the run going with 130; watch follows it to its end."""
    peers = world.lab(2)
    data, model = world.file("t.txt", sentences(100_000)), world.file("m.model", "preset = small\nlayers = 1\nwidth = 32\nheads = 2\ninner = 32\n")
    process = world.start("--home", peers[0].home, "train", "--data", data, "--model", model, "--rounds", "100", "--inner-steps", "2")
    lines = []

    def next_rows():
        lines.append(process.stdout.readline())
        return any(line.split()[:1] == ["3"] for line in lines) or not lines[-1]

    until(next_rows, "three rounds are printed", every=0)
    process.send_signal(signal.SIGINT)
    equal(process.wait(timeout=30), 130, "exit status after an interrupt")
    text = "".join(lines)
    for word in ("run ", "plan ", "trigram", "ROUND", "VAL LOSS", "ETA"):
        expect(word in text, f"no '{word}' in\n{text}")
    expect(all(len(line.rstrip("\n")) <= 80 for line in lines), "lines are wider than 80 columns")
    run = peers[1].json("runs")["runs"][0]["id"]
    expect("runs watch" in process.stderr.read(), "the interrupt doesn't say how to see the run again")
    equal(peers[0].json("runs", "pause", run)["id"], run, "paused run")
    until(lambda: peers[1].show(run)["state"] == "paused", "the run is paused on the other peer")
    peers[1].run("runs", "resume", run)
    done = peers[1].run("runs", "watch", run[:8], guard=120)
    expect("done" in done.out, "the run isn't done at the end of watch")
    again = tiny_run(world, peers[0], 10_000)
    wait_for_round(peers, again, 1)
    peers[0].run("runs", "cancel", again)
    until(lambda: peers[1].show(again)["state"] not in ("running", "waiting"), "the run is cancelled on the other peer")


@case
def same_seed_same_bits(world):
    """The trajectory is the same with other keys, other thread counts and each instruction set this CPU has."""
    with open("/proc/cpuinfo") as info:
        flags = info.read()
    text = sentences(120_000)
    wanted, missing = None, []
    for isa, cpus, needs in (("portable", 1, None), ("avx2", 2, " avx2 "), ("avx512", 3, " avx512bw ")):
        if needs and needs not in flags:
            missing.append(isa)
            continue
        env = {"MYCEL_ISA": isa}
        folder = world.path(isa)
        cpus = min(cpus, len(os.sched_getaffinity(0)))
        result = world.run("--home", folder, "lab", "up", "3", "--cpus", str(cpus), "--json", env=env)
        equal(result.status, 0, f"lab up with {isa}: {result.err}")
        peers = [world.peer(f"{isa}/lab/{k}") for k in (1, 2, 3)]
        equal(peers[0].json("version", env=env)["kernels"], isa, "kernels in use")
        run = tiny_run(world, peers[0], 6, seed=7, text=text)
        wait_for_round(peers, run, 6)
        got = hashes(peers[1], run, range(1, 7))
        world.run("--home", folder, "lab", "down")
        wanted = wanted or got
        equal(got, wanted, f"trajectory with {isa} on {cpus} threads")
    if missing:
        raise Skipped(f"this CPU has no {' and no '.join(missing)}; the others agree")


@case
def no_hidden_leader(world):
    """Over 20 rounds without faults the busiest peer moves at most 1.3 times the mean of bulk bytes."""
    peers = world.lab(4)
    run = tiny_run(world, peers[0], 40)

    def moved():
        states = [peer.json("status", status=None) for peer in peers]
        return [state["bulk_tx_bytes"] + state["bulk_rx_bytes"] for state in states]

    # Data and first parameters are fetched before round 2 closes: state fetches are apart.
    wait_for_round(peers, run, 2)
    before = moved()
    begin = max(peer.round(run) for peer in peers)
    wait_for_round(peers, run, 40)
    moved_since = [b - a for a, b in zip(before, moved())]
    mean = sum(moved_since) / 4
    expect(40 - begin >= 20, f"only {40 - begin} rounds were measured")
    expect(mean > 0, "no bulk bytes are counted")
    expect(max(moved_since) <= 1.3 * mean, f"busiest over mean is {max(moved_since) / mean:.2f}: {moved_since}")


@case
def a_wrong_update_is_named(world):
    """A trainer whose update is wrong by one in one element is caught by replay, and the tensor is named."""
    peers = world.lab(3)
    peers[2].run("down")
    peers[2].up(env={"MYCEL_FAULT": "update"})
    until(lambda: peers[0].json("status", status=None)["peers_up"] == 2, "all three are up")
    run = tiny_run(world, peers[0], 4)
    wait_for_round(peers, run, 4)
    slots = {m["id"]: m["slot"] for m in peers[0].show(run)["slots"]}
    liar = peers[2].json("status")["id"]
    verdict = peers[0].json("runs", "verify", run, "--round", "4", "--slot", str(slots[liar]), status=6)
    equal(verdict["equal"], False, "replay of a wrong update")
    equal(verdict["tensor"], "layers.0.attention_out", "the tensor that differs")
    honest = peers[1].json("status")["id"]
    equal(peers[0].json("runs", "verify", run, "--round", "4", "--slot", str(slots[honest]))["equal"], True,
          "replay of an honest update")


@case
def a_fast_run_is_not_verified(world):
    """A run of profile fast-bf16 trains, is another run than the same in repro-fp32, and verify refuses it with the reason."""
    peers = world.lab(2)
    run = tiny_run(world, peers[0], 3, "--profile", "fast-bf16")
    wait_for_round(peers, run, 3)
    same = tiny_run(world, peers[0], 3)
    wait_for_round(peers, same, 3)
    equal([peers[1].show(r)["profile"] for r in (run, same)], ["fast-bf16", "repro-fp32"], "profiles")
    expect(peers[1].show(run)["spec"]["kernel_spec"] != peers[1].show(same)["spec"]["kernel_spec"], "one spec for both profiles")
    refused = peers[1].run("runs", "verify", run, status=2)
    expect("fast-bf16 cannot be replayed" in refused.err, refused.err)
    equal(peers[1].json("runs", "verify", same)["equal"], True, "replay of the run in repro-fp32")
    refused = peers[0].run("train", "--data", world.path("text.txt"), "--profile", "fast", status=2)
    expect("repro-fp32|fast-bf16" in refused.err, refused.err)
