#!/usr/bin/env python3
"""End-to-end cases over the built program: tests/e2e/run.py [--list] [--full] [--binary PATH] [NAME...]

Prints a line a case and writes "passed failed skipped" to .cache/tests/e2e/e2e.count. Logs of the peers of a failed
case stay in .cache/tests/e2e/NAME/.
"""
import argparse
import os
import shutil
import signal
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

if "--full" in sys.argv:
    os.environ["MYCEL_FULL"] = "1"  # read by cases as they are loaded

from harness import CASES, ROOT, Failed, Skipped, World, drop_shared  # noqa: E402
import cases_attacks  # noqa: E402,F401
import cases_bad_input  # noqa: E402,F401
import cases_bench  # noqa: E402,F401
import cases_bundle  # noqa: E402,F401
import cases_conf  # noqa: E402,F401
import cases_devices  # noqa: E402,F401
import cases_discovery  # noqa: E402,F401
import cases_docs  # noqa: E402,F401
import cases_doctor  # noqa: E402,F401
import cases_faults  # noqa: E402,F401
import cases_hosts  # noqa: E402,F401
import cases_journey  # noqa: E402,F401
import cases_look  # noqa: E402,F401
import cases_page  # noqa: E402,F401
import cases_package  # noqa: E402,F401
import cases_trace  # noqa: E402,F401
import cases_training  # noqa: E402,F401

OUT = os.path.join(ROOT, ".cache", "tests", "e2e")


def run_case(function, binary):
    """("OK" | "FAIL" | "SKIP", why)."""
    name = function.__name__
    kept = os.path.join(OUT, name)
    shutil.rmtree(kept, ignore_errors=True)
    world = World(name, binary)
    failed = True
    try:
        function(world)
        failed = False
        return "OK", ""
    except Skipped as why:
        failed = False
        return "SKIP", str(why)
    except Failed as why:
        place = traceback.extract_tb(sys.exc_info()[2])
        line = next(f"{os.path.basename(f.filename)}:{f.lineno}" for f in reversed(place) if "cases_" in f.filename)
        return "FAIL", f"{line}: {why}"
    except Exception:  # a case's own mistake, or output that isn't what it reads
        return "FAIL", traceback.format_exc()
    finally:
        world.close(kept if failed else None)
        if failed:
            drop_shared(kept)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=os.path.join(ROOT, "zig-out", "bin", "mycel"))
    parser.add_argument("--list", action="store_true", help="names of the cases")
    parser.add_argument("--full", action="store_true", help="each case three times: what depends on chance gets more of it")
    parser.add_argument("names", nargs="*", help="run these only; a part of the name suffices")
    args = parser.parse_args()
    chosen = [c for c in CASES if not args.names or any(n in c.__name__ for n in args.names)]
    if args.list:
        for function in chosen:
            print(f"{function.__name__:40} {(function.__doc__ or '').splitlines()[0]}")
        return 0
    if not chosen:
        print(f"no case is called {' or '.join(args.names)}; --list shows their names", file=sys.stderr)
        return 2
    if not os.access(args.binary, os.X_OK):
        print(f"{args.binary} is not there; ./quickstart --build-only builds it", file=sys.stderr)
        return 1
    os.makedirs(OUT, exist_ok=True)
    counts = {"OK": 0, "FAIL": 0, "SKIP": 0}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what the cases made goes with them
    try:
        for function in chosen * (3 if args.full else 1):
            begin = time.monotonic()
            verdict, why = run_case(function, os.path.abspath(args.binary))
            counts[verdict] += 1
            seconds = time.monotonic() - begin
            print(f"{verdict:4} {function.__name__} ({seconds:.1f} s){': ' + why if why else ''}", flush=True)
    finally:
        drop_shared()
    with open(os.path.join(OUT, "e2e.count"), "w") as out:
        out.write(f"{counts['OK']} {counts['FAIL']} {counts['SKIP']}\n")
    print(f"e2e: {counts['OK']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
