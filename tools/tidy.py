#!/usr/bin/env python3
"""Style as a test.

    tools/tidy.py             the rules below over every tracked or new file
    tools/tidy.py --format    clang-format agrees with every C file
    tools/tidy.py --format --fix    writes what clang-format wants

Exit status 0 when everything holds, otherwise 1 with one line a finding: FILE:LINE: what, and what to do.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("core", "gossip", "mesh", "sched", "store", "ledger", "hip", "learn", "node", "tools", "bench", "tests")
MAX_LINES = 900
MAX_COLUMNS = 120
PURE = ("gossip/", "ledger/", "learn/round", "learn/peer", "learn/manifest", "learn/commit", "learn/run_spec")
FORBIDDEN_IN_PURE = re.compile(r"\b(clock_gettime|gettimeofday|time|rand|random|getenv|printf|fprintf|fopen|socket|"
                               r"pthread_\w+|randombytes_buf|random_bytes)\s*\(")
UNSAFE = re.compile(r"\b(gets|strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|atof)\s*\(")
ASSERT = re.compile(r"^\s*assert\s*\(|#include <assert.h>")
HERE = "/" + "work/"
REGISTRY = re.compile(r"https?://[^\s)\"']*(pypi\.org|npmjs|crates\.io|debian\.org|proxy\.golang)", re.I)


def files():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    names = out.stdout.split("\n") if out.returncode == 0 else []
    return [ROOT / n for n in names if n and (ROOT / n).is_file()]


def is_c(path):
    return path.suffix in (".c", ".h", ".inc") and path.relative_to(ROOT).parts[0] in FOLDERS


def without_comments(text):
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.S)
    return re.sub(r"//[^\n]*", "", text)


def check_c(name, text, say):
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        say(1, f"{len(lines)} lines: split it (one idea a file, at most {MAX_LINES})")
    code = without_comments(text)
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS:
            say(number, f"{len(line)} columns: at most {MAX_COLUMNS}")
        if re.match(r'\s*#\s*include\s+"[^"]*\.\./', line):
            say(number, "an include goes up by '../': name it from its module's folder")
    for number, line in enumerate(code.split("\n"), 1):
        if UNSAFE.search(line):
            say(number, "an unbounded or unchecked C function: use the bounded one")
        if ASSERT.search(line) and not name.startswith("tests/"):
            say(number, "assert vanishes in release builds: use check()")
        if name.startswith(PURE) and FORBIDDEN_IN_PURE.search(line):
            say(number, "pure code has no clock, randomness, threads or output: take it as an argument")
        if re.search(r"\b\w+_t\b\s*;", line) and "typedef" in line:
            say(number, "no _t typedefs: name the struct")
        if not name.startswith("tests/") and re.search(r"\bexit\s*\(", line) and not name.startswith(("tools/", "node/")):
            say(number, "library code never exits: return an error")
    if name.endswith(".h"):
        guard = re.sub(r"\W", "_", name).upper()
        if name.startswith(FOLDERS) and f"#ifndef {guard}\n" not in text:
            say(1, f"include guard {guard} is missing")


def check_any(name, text, say):
    for number, line in enumerate(text.split("\n"), 1):
        if HERE in line:
            say(number, "names a path of one machine")
        if REGISTRY.search(line):
            say(number, "names a package registry's host")
        if line != line.rstrip() and not name.endswith(".md"):
            say(number, "ends with white space")
        if "\t" in line and not name.endswith((".txt", "Makefile", ".go", "go.mod")):
            say(number, "has a tab")
    if text and not text.endswith("\n"):
        say(text.count("\n") + 1, "has no newline at its end")


def main():
    findings = []
    checked = 0
    if "--format" in sys.argv:
        names = [str(p) for p in files() if is_c(p) and p.suffix != ".inc"]
        mode = ["-i"] if "--fix" in sys.argv else ["--dry-run", "-Werror"]
        for at in range(0, len(names), 40):
            result = subprocess.run(["clang-format-14", *mode, *names[at:at + 40]], capture_output=True, text=True)
            findings += [l for l in result.stderr.split("\n") if "error:" in l]
        checked = len(names)
    else:
        for path in files():
            name = str(path.relative_to(ROOT))
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue

            def say(line, what, file=name):
                findings.append(f"{file}:{line}: {what}")

            checked += 1
            check_any(name, text, say)
            if is_c(path):
                check_c(name, text, say)
        for folder in FOLDERS:
            if (ROOT / folder).is_dir() and not (ROOT / folder / "README.md").is_file():
                findings.append(f"{folder}/:1: has no README.md: what it is, what it must never do, where to start")
    for finding in findings[:200]:
        print(finding)
    print(f"tidy: {checked} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
