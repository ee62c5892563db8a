"""Every command block of README.md, docs/tutorial.md and docs/howto/ is run, as it stands there.

A fence begins with the language and words that no reader sees:

    ```sh                    run on anna
    ```sh ben                run on ben (anna, ben, cleo: three hosts, each with a home of its own)
    ```sh anna gpu           with an emulated GPU
    ```sh here               run on this machine itself, outside of the three hosts
    ```sh not-run: why       not run; said aloud

A block's commands run one after the other, each has to succeed. TOKEN and ID are what the last `mycel invite` and
`mycel train` printed. To keep it short no run takes more than three rounds, and text.txt and the plays are short texts. /tmp is a
folder of the test's, `scp` copies between the three homes.
"""
import os
import re
import subprocess

from harness import GUARD, ROOT, Failed, Skipped, case, expect, sentences

MACHINES = ("anna", "ben", "cleo")
ROUNDS = 3
SLOW = 240  # seconds for one command
FENCE = re.compile(r"^( *)```(.*)$")
SCP = """#!/bin/sh
# scp MACHINE:FILE FOLDER between the homes of the test
exec cp "%s/${1%%%%:*}/${1#*:}" "$2"
"""


class Block:
    def __init__(self, line, info, text):
        self.line, self.text = line, text
        words = info.split()
        self.language = words[0] if words else ""
        self.why_not = info.split("not-run:", 1)[1].strip() if "not-run:" in info else None
        known = [w for w in words[1:] if w in MACHINES]
        self.machine = known[0] if known else "anna"
        self.gpu, self.here = "gpu" in words[1:], "here" in words[1:]
        self.strange = [] if self.why_not else [w for w in words[1:] if w not in MACHINES + ("gpu", "here")]

    def commands(self):
        """Its lines, with those joined that a backslash continues."""
        joined = self.text.replace("\\\n", " ")
        return [c for c in joined.splitlines() if c.strip() and not c.strip().startswith("#")]


def blocks(path):
    """The fenced blocks of a Markdown file."""
    found, inside = [], None
    with open(os.path.join(ROOT, path)) as file:
        for number, line in enumerate(file.read().splitlines(), 1):
            fence = FENCE.match(line)
            if fence and inside is None:
                inside = (number, fence.group(2).strip(), [])
            elif fence:
                found.append(Block(inside[0], inside[1], "\n".join(inside[2])))
                inside = None
            elif inside:
                inside[2].append(line)
    expect(inside is None, f"{path}: a block without an end")
    return found


class Scene:
    """Three hosts with a home each, and what earlier commands printed."""

    def __init__(self, world, path):
        self.world, self.path, self.seen = world, path, {}
        world.need_hosts()
        self.lab = world.path("hosts")
        world.labs_on_hosts.append(self.lab)
        world.run("--home", self.lab, "lab", "hosts", "up", str(len(MACHINES)), guard=60).good()
        os.makedirs(world.path("bin"))
        os.makedirs(world.path("tmp"))
        os.symlink(os.path.abspath(world.binary), world.path("bin", "mycel"))
        with open(world.path("bin", "scp"), "w") as scp:
            scp.write(SCP % world.folder)
        os.chmod(world.path("bin", "scp"), 0o755)
        for name in MACHINES:
            os.makedirs(world.path(name, ".cache", "data"))
            os.makedirs(world.path(name, "run"), mode=0o700)
            for text, size in (("text.txt", 200_000), (".cache/data/plays-train.txt", 200_000),
                               (".cache/data/plays-held-out.txt", 20_000)):
                world.file(f"{name}/{text}", sentences(size, seed=size))
        os.makedirs(world.path("here", "run"), mode=0o700)
        world.labs_on_hosts.append(world.path("here", ".local", "state", "mycel"))

    def filled(self, command):
        """The command with what stands for something put in."""
        for name in ("TOKEN", "ID"):
            if re.search(rf"\b{name}\b", command):
                expect(name in self.seen, f"nothing was printed that {name} could stand for: {command}")
                command = re.sub(rf"\b{name}\b", self.seen[name], command)
        command = command.replace("/tmp/", self.world.path("tmp") + "/")
        command = re.sub(r"--rounds (\d+)", lambda m: f"--rounds {min(ROUNDS, int(m.group(1)))}", command)
        return re.sub(r"--round (\d+)", lambda m: f"--round {min(ROUNDS - 1, int(m.group(1)))}", command)

    def environment(self, block):
        home = self.world.path("here" if block.here else block.machine)
        env = {"HOME": home, "XDG_RUNTIME_DIR": os.path.join(home, "run"), "NO_COLOR": "1", "MYCEL_CONF": "",
               "PATH": f"{self.world.path('bin')}:{os.environ['PATH']}"}
        if block.gpu:
            library = os.path.join(ROOT, "zig-out", "tests", "libfakegpu.so")
            if not os.path.exists(library):
                raise Skipped(f"{self.path}:{block.line}: NO EMULATED GPU HERE (zig build fake makes it): NOT RUN")
            env["MYCEL_CUDA_LIBRARY"] = library
        return home, env

    def run(self, block):
        home, env = self.environment(block)
        where = [] if block.here else [self.world.binary, "--home", self.lab, "lab", "hosts", "exec",
                                       str(MACHINES.index(block.machine) + 1), "--"]
        for command in block.commands():
            words = ["env", "-i", *(f"{k}={v}" for k, v in env.items()), "sh", "-euc", self.filled(command)]
            try:
                done = subprocess.run(where + words, cwd=home, env=self.world.env, stdin=subprocess.DEVNULL,
                                      capture_output=True, text=True, timeout=max(SLOW, GUARD))
            except subprocess.TimeoutExpired as late:
                raise Failed(f"{self.path}:{block.line}: {command.strip()}: no end within {late.timeout} s")
            if done.returncode:
                raise Failed(f"{self.path}:{block.line}: {command.strip()}: exit {done.returncode}\n{done.stdout[-600:]}"
                             f"{done.stderr[-600:]}")
            self.look(command, done.stdout)

    def look(self, command, out):
        token = re.findall(r"\bmycel1[a-z2-7]{40,}", out)
        run = re.findall(r"\b[0-9a-f]{8,64}\b", out)
        if " invite" in command and token:
            self.seen["TOKEN"] = token[-1]
        if "mycel" in command and " train " in command and run:
            self.seen["ID"] = run[0]


def documents():
    howto = sorted(os.listdir(os.path.join(ROOT, "docs", "howto")))
    return ["README.md", "docs/tutorial.md", *(f"docs/howto/{name}" for name in howto if name.endswith(".md"))]


def document(path):
    """A case that runs the blocks of one document."""
    name = "docs_" + os.path.splitext(os.path.basename(path))[0].lower().replace("-", "_")
    if path.endswith("howto/README.md"):
        name = "docs_howto"

    def run_it(world):
        found = blocks(path)
        for block in found:
            expect(block.language, f"{path}:{block.line}: a block of no language; ```sh is run, others say what they are")
            expect(not block.strange, f"{path}:{block.line}: what is {block.strange}?")
        shell = [b for b in found if b.language == "sh"]
        for block in shell:
            if block.why_not is not None:
                expect(block.why_not, f"{path}:{block.line}: not run, and without a reason")
                print(f"     {path}:{block.line} NOT RUN: {block.why_not}", flush=True)
        if any(b.why_not is None for b in shell):
            scene = Scene(world, path)
            for block in shell:
                if block.why_not is None:
                    scene.run(block)

    run_it.__name__, run_it.__doc__ = name, f"The command blocks of {path}."
    return case(run_it)


for place in documents():
    document(place)


@case
def docs_links(world):
    """Every link between the documents, and every file of this repository that they name, is there."""
    names = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "*.md"], capture_output=True, text=True)
    for name in names.stdout.split():
        with open(os.path.join(ROOT, name)) as file:
            text = re.sub(r"```.*?```", "", file.read(), flags=re.S)
        for link in re.findall(r"\]\(([^)#\s]+)", text):
            if "://" in link:
                continue
            expect(os.path.exists(os.path.join(ROOT, os.path.dirname(name), link)), f"{name}: {link} is not there")
        for path in re.findall(r"`((?:docs|tools|tests|build)/[\w./-]+)`", text):
            expect(os.path.exists(os.path.join(ROOT, path)), f"{name}: {path} is not there")
