"""Puts deliberate faults into a copy of the package, one at a time, and sees which test finds each.

Usage: python -m tools.deliberate_faults [--only NAME] [--jobs N]

The faults are in deliberate_faults.yaml beside this file. A fault is caught when a test of its test
files fails with it; in the end all these tests must pass without any fault, so that a test that
always fails catches nothing. The exit status is 1 if a fault is missed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix(".yaml")
TIMEOUT_SECONDS = 120
OUT_OF_TIME = "out of time"
"""The verdict where the tests took too long to say anything; it counts as missed."""
LEFT_OUT = (".git", ".patchline", "__pycache__", "runs", "shared", ".*_cache")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Fault:
    """A change that a test must notice.

    Attributes:
        name: unique.
        file: below the folder patchline_ros.
        text: what stands in the file exactly once.
        replacement: what stands there instead.
        breaks: what is wrong then.
        tests: files below the folder test that must find it.
    """

    name: str
    file: str
    text: str
    replacement: str
    breaks: str
    tests: tuple[str, ...]


def read_faults(path: Path = LIST) -> list[Fault]:
    """The faults of all rooms."""
    rooms = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    return [
        Fault(name, file, text, replacement, breaks, tuple(tests))
        for faults in rooms.values()
        for name, (file, text, replacement, breaks, tests) in faults.items()
    ]


def unfit(fault: Fault, root: Path) -> str:
    """Why a fault can't be put into this tree; empty: it can."""
    path = root / "patchline_ros" / fault.file
    if not path.is_file():
        return f"{fault.name}: there is no file {fault.file}; name the file that holds the text now"
    count = path.read_text(encoding="utf-8").count(fault.text)
    if count != 1:
        return f"{fault.name}: {fault.file} holds {fault.text!r} {count} times; it must be once"
    missing = [test for test in fault.tests if not (root / "test" / test).is_file()]
    return f"{fault.name}: there is no test/{missing[0]}" if missing else ""


def copied_tree(folder: Path) -> Path:
    """A copy of this tree without what was built."""
    return shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)


def failures(root: Path, tests: Sequence[str], *options: str) -> list[str]:
    """Ids of the tests that fail. Raises TimeoutExpired where they take longer than they may."""
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    # Python takes a compiled file for current when the source has the same size and second.
    variables = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        [*command, *tests],
        cwd=root,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS * len(tests),
        check=False,
    )
    return _FAILED.findall(done.stdout)


def found_by(fault: Fault, root: Path) -> str:
    """The first test that fails with the fault, or OUT_OF_TIME; empty: none fails."""
    path = root / "patchline_ros" / fault.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(fault.text, fault.replacement), encoding="utf-8")
    try:
        failed = failures(root, [f"test/{test}" for test in fault.tests], "-x")
    except subprocess.TimeoutExpired:
        return OUT_OF_TIME
    finally:
        path.write_text(whole, encoding="utf-8")
    return failed[0] if failed else ""


def try_faults(faults: Sequence[Fault], jobs: int) -> int:
    """Tries them all in `jobs` copies of the tree and prints a line for each; how many are missed.

    A line is printed as soon as the result is there, in the order of the list.
    """
    width = max(len(fault.name) for fault in faults)
    found = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as workers:
        free: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            free.put(copied_tree(Path(folder, str(number))))

        def attempt(fault: Fault) -> str:
            root = free.get()
            try:
                return found_by(fault, root)
            finally:
                free.put(root)

        for fault, test in zip(faults, workers.map(attempt, faults), strict=True):
            found[fault.name] = test
            verdict = test.removeprefix("test/") or f"MISSED ({fault.breaks})"
            print(f"{fault.name:{width}}  {verdict}", flush=True)
        tests = sorted(set(found.values()) - {"", OUT_OF_TIME})
        always = set(failures(free.get(), tests)) if tests else set()
    for name, test in found.items():
        if test in always:
            print(f"{name:{width}}  MISSED, since {test} fails without the fault, too")
    return sum(test in ("", OUT_OF_TIME, *always) for test in found.values())


def main() -> int:
    """0: all were caught, 1: one was missed, 2: the list does not fit the tree."""
    parser = argparse.ArgumentParser(description="See which tests find deliberate faults.")
    parser.add_argument("--only", metavar="NAME", help="try this fault alone")
    parser.add_argument("--jobs", type=int, default=1, help="copies of the tree side by side")
    arguments = parser.parse_args()
    faults = [one for one in read_faults() if arguments.only in (None, one.name)]
    wrong = [sentence for fault in faults if (sentence := unfit(fault, ROOT))]
    if not faults:
        wrong = [f"no fault is named {arguments.only}; {LIST.name} lists them"]
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 2
    missed = try_faults(faults, max(1, arguments.jobs))
    print(f"{len(faults) - missed} of {len(faults)} faults caught, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
