"""The benchmarks that need real processes run at all; what they measure here is nobody's pass or fail."""
from harness import case, equal, expect


@case
def bench_of_a_mesh(world):
    """Four processes join, lose one, broadcast: every figure comes, and nobody is accused wrongly."""
    parts = ["join", "kill", "cast", "large"]
    answer = world.run("bench", "mesh", *parts, "--nodes", "4", "--runs", "1", "--seconds", "1", "--json", "-q").json
    rows = {row["name"]: row for row in answer["bench"]}
    expect(answer["hardware"], "the machine is not said")
    for part in parts:
        expect(any(name.startswith(part + ":") for name in rows), f"no figure of {part}: {list(rows)}")
    for name, row in rows.items():
        expect(row["value"] >= 0 and row["runs"] == 1, f"{name} was not measured: {row}")
    equal(rows["kill: kill -9 seen by all, 4 peers"]["note"], "nobody else accused", "who was accused")
    expect("missed" not in str(rows), f"a broadcast was missed: {rows}")


@case
def bench_of_a_map(world):
    """Fifty peers: no label lies on another, drawn twice the same, and nobody moves far when one joins."""
    answer = world.run("bench", "map", "50", "--seconds", "0.1", "--json", "-q").json
    rows = {row["name"]: row for row in answer["bench"]}
    for where in ("on 6 sites", "without sites"):
        equal(rows[f"map 50 peers {where}"]["note"], "0 labels on others; twice: the same bytes", where)
        expect(rows[f"one joins or leaves 50 peers {where}"]["value"] < 3, "the median peer moves by less than three labels")


@case
def bench_says_what_it_cannot(world):
    """A word that is no benchmark and no part of one is a usage error."""
    equal(world.run("bench", "mesh", "jion").status, 2, "exit of a wrong part")
    equal(world.run("bench", "gemm", "join").status, 2, "exit of another benchmark's part")
