"""Steps of a set-up: each is done once, leaves a stamp, and is repeated when its inputs change."""

import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOG_LINES_SHOWN = 15


class SetupError(Exception):
    """The environment could not be set up; the message says why and how to go on."""


@dataclass(frozen=True)
class Step:
    """A part of the set-up that is done as a whole or not at all.

    made: the folder that holds the result, and with it the stamp. inputs: everything the result
    depends on beside the command and `needs`, the step whose result this one builds upon. advice:
    what to do when it fails, the first half of a sentence.
    """

    name: str
    title: str
    command: list[str]
    inputs: list[bytes]
    made: Path
    needs: "Step | None"
    advice: str
    prepare: Callable[[], None] = lambda: None

    @property
    def stamp(self) -> Path:
        """File that holds the key once the step is done."""
        return self.made / ".patchline" / self.name

    @property
    def key(self) -> str:
        """Hash of everything that the result depends on."""
        key = hashlib.sha256(self.needs.key.encode() if self.needs else b"")
        for part in (*(word.encode() for word in self.command), *self.inputs):
            key.update(hashlib.sha256(part).digest())
        return key.hexdigest()

    @property
    def done(self) -> bool:
        """Whether the stamp is there and valid."""
        return self.stamp.exists() and self.stamp.read_text() == self.key


def run_due(steps: list[Step], log: Path, environment: dict[str, str], lock: int) -> None:
    """Run the steps that are not done, with a line of progress each.

    log: folder for what the commands print. environment: variables of the commands. lock:
    descriptor of the locked file, which the commands inherit, so that one that outlives a killed
    launcher keeps the lock until it has ended. Raises SetupError at the first step that fails.
    """
    for number, step in enumerate(steps, start=1):
        # Asked at its turn: a step before it may have cleared the folder that holds its stamp.
        if not step.done:
            line = f"[{number}/{len(steps)}] {step.title}"
            _run(step, line, log / f"{step.name}.log", environment, lock)


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the lock on a file, after whoever holds it now; its descriptor."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another ./patchline call that sets up ...", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def write_aside(path: Path, text: str) -> None:
    """Write a file that is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".new")
    aside.write_text(text)
    os.replace(aside, path)


def _run(step: Step, line: str, log: Path, environment: dict[str, str], lock: int) -> None:
    step.stamp.unlink(missing_ok=True)
    started = time.monotonic()
    print(f"{line} ...", end="", file=sys.stderr, flush=True)
    step.prepare()
    with log.open("wb") as output:
        process = subprocess.Popen(
            step.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[lock],
        )
        status = _wait(process, f"{line} ...", started)
    print(f" {time.monotonic() - started:.0f} s", file=sys.stderr)
    if status != 0:
        last = log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        raise SetupError(
            "\n".join(
                [
                    f"{line} failed (exit status {status}). The log ends with:",
                    *(f"    {text}" for text in last),
                    f"The whole log is {os.path.relpath(log)}.",
                    f"{step.advice}, then call ./patchline again: what is done is kept.",
                ]
            )
        )
    write_aside(step.stamp, step.key)


def _wait(process: subprocess.Popen[bytes], line: str, started: float) -> int:
    """Exit status of the step; counts the seconds on a terminal meanwhile."""
    while True:
        try:
            status = process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            if sys.stderr.isatty():
                seconds = time.monotonic() - started
                print(f"\r{line} {seconds:.0f} s", end="", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            # The terminal has sent the signal to the step as well.
            process.wait()
            raise
        else:
            if sys.stderr.isatty():
                print(f"\r{line}", end="", file=sys.stderr)
            return status
