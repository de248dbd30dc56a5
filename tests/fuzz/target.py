"""Fuzzing for as long as one likes, guided by coverage: `python -m tests.fuzz.target [NAME ...] --seconds N`.

Each target (`targets.py`) runs in a process of its own. Inputs that reach something new are kept in `.fuzz/NAME`, and
the next run goes on from them. An input that fails is kept in `tests/fuzz/crashers/NAME`, one for each place in the
source where the error came up, and the run goes on; `test_targets.py` replays what is kept there.

Needs atheris, which is not among the packages for development: it is large, and not there for every Python.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import re
import subprocess
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
CRASHERS = Path(__file__).resolve().parent / "crashers"
CORPUS = ROOT / ".fuzz"

MISSING = "fuzzing needs atheris, which is not installed: make fuzz installs it, or pip install -e '.[fuzz]'"
SECONDS_DEFAULT = 60
INPUT_SECONDS_MAX = 10
"""An input that takes longer is a defect."""
RSS_MIB_MAX = 1024
"""Of the process. Atheris itself takes about 120."""


def main(arguments: list[str] | None = None) -> int:
    """Run targets one after the other, and print a line for each. 1: something was found; 2: it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.target", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="targets (default: all)")
    parser.add_argument("--seconds", type=int, default=SECONDS_DEFAULT, help="for each target (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="print the names of the targets")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.inside:
        _fuzz(given.names[0], given.seconds)
        return 0
    from tests.fuzz.targets import TARGETS

    names = given.names or list(TARGETS)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        parser.error(f"there is no target {unknown[0]}: they are {', '.join(TARGETS)}")
    if given.list:
        print("\n".join(names))
        return 0
    if find_spec("atheris") is None:
        print(MISSING, file=sys.stderr)
        return 2
    print(f"{'target':<12} {'inputs':>10} {'inputs/s':>9} {'RSS MiB':>8} {'kept':>6} {'failed':>7}", flush=True)
    failed = [name for name in names if not _run(name, given.seconds)]
    for name in failed:
        print(f"{name}: see {(CRASHERS / name).relative_to(ROOT)}")
    return 1 if failed else 0


def _run(name: str, seconds: int) -> bool:
    """Run one target in a process of its own. False: something was found."""
    before = _files(CRASHERS / name)
    command = [sys.executable, "-m", "tests.fuzz.target", name, "--inside", "--seconds", str(seconds)]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    found = _files(CRASHERS / name) - before
    inputs = _figure(done.stderr, "number_of_executed_units")
    row = f"{name:<12} {inputs:>10,} {inputs // max(1, seconds):>9,} {_figure(done.stderr, 'peak_rss_mb'):>8,}"
    print(f"{row} {len(_files(CORPUS / name)):>6,} {len(found):>7,}", flush=True)
    if found or done.returncode:
        said = [line for line in done.stderr.splitlines() if not line.startswith(("#", "stat::", "INFO:"))]
        print("\n".join(said[-100:]), file=sys.stderr)
    return not found and not done.returncode


def _figure(text: str, name: str) -> int:
    found = re.search(rf"stat::{name}:\s+(\d+)", text)
    return int(found[1]) if found else 0


def _files(directory: Path) -> set[Path]:
    return set(directory.iterdir()) if directory.is_dir() else set()


def _fuzz(name: str, seconds: int) -> None:
    """Fuzz in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["twistedkv"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    corpus, seeds, crashers = CORPUS / name, CORPUS / f"{name}.seeds", CRASHERS / name
    for directory in (corpus, seeds, crashers):
        directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (seeds / f"{number:03}").write_bytes(seed)
    known: set[str] = set()

    def one_input(data: bytes) -> None:
        try:
            target.check(data)
        except Exception as error:
            where = _place(error)
            if where not in known:
                known.add(where)
                (crashers / hashlib.sha1(data, usedforsecurity=False).hexdigest()[:16]).write_bytes(data)
                traceback.print_exc()

    gc.collect()
    gc.freeze()
    options = {
        "max_total_time": seconds,
        "max_len": target.bytes_max,
        "timeout": INPUT_SECONDS_MAX,
        "rss_limit_mb": RSS_MIB_MAX,
        "artifact_prefix": f"{crashers}/",
        "print_final_stats": 1,
    }
    if target.words:
        words = CORPUS / f"{name}.words"
        words.write_text("".join('"{}"\n'.format("".join(f"\\x{byte:02x}" for byte in word)) for word in target.words))
        options["dict"] = words
    atheris.Setup(
        [sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(corpus), str(seeds)],
        one_input,
    )
    atheris.Fuzz()


def _place(error: BaseException) -> str:
    """Where in our source an error came up, and what it is: two inputs that have this in common are one defect."""
    frames: list[Any] = [f for f in traceback.extract_tb(error.__traceback__) if str(ROOT) in f.filename]
    last = frames[-1]
    return f"{type(error).__name__} {last.filename}:{last.lineno}"


if __name__ == "__main__":
    sys.exit(main())
