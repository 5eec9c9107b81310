"""Steps of a set-up: each is done once, leaves a stamp, and is repeated when its inputs change."""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOG_LINES_SHOWN = 15
SECONDS_TO_END = 10.0
"""After which a step that was asked to end is killed."""


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


@dataclass(frozen=True)
class _Run:
    """A step at work, with the start of its line of progress."""

    step: Step
    line: str
    log: Path
    process: subprocess.Popen[bytes]
    started: float

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


def run_due(steps: list[Step], log: Path, environment: dict[str, str], lock: int) -> None:
    """Run the steps that are not done, side by side where they may, with a line of progress each.

    steps: each after the one that it needs. log: folder for what the commands print. environment:
    variables of the commands. lock: descriptor of the locked file, which the commands inherit, so
    that one that outlives a killed launcher keeps the lock until it has ended. Raises SetupError at
    the first step that fails, when those beside it have been ended too.
    """
    lines = {step.name: f"[{n}/{len(steps)}] {step.title}" for n, step in enumerate(steps, 1)}
    waiting = list(steps)
    runs: list[_Run] = []
    try:
        while waiting or runs:
            for step in _ready(waiting, runs):
                waiting.remove(step)
                # Asked at its turn: the one that it needs may have cleared the folder of its stamp.
                if not step.done:
                    path = log / f"{step.name}.log"
                    _announce(lines[step.name])
                    with _interrupt_held_back():
                        runs.append(_start(step, lines[step.name], path, environment, lock))
            for run in [run for run in runs if run.process.poll() is not None]:
                runs.remove(run)
                _finish(run)
            _show(runs)
            if runs:
                time.sleep(0.05)
    finally:
        _end(runs)


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


def _ready(waiting: list[Step], runs: list[_Run]) -> list[Step]:
    """The steps whose turn it is: what they need is neither to come nor at work."""
    unfinished = {step.name for step in waiting} | {run.step.name for run in runs}
    return [step for step in waiting if not step.needs or step.needs.name not in unfinished]


@contextmanager
def _interrupt_held_back() -> Iterator[None]:
    """Answer a Ctrl-C afterwards: a step that is started but not yet noted would go on alone."""
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if came:
        signal.raise_signal(signal.SIGINT)


def _start(step: Step, line: str, log: Path, environment: dict[str, str], lock: int) -> _Run:
    step.stamp.unlink(missing_ok=True)
    started = time.monotonic()
    step.prepare()
    with log.open("wb") as output:
        process = subprocess.Popen(
            step.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[lock],
            # A group of its own, to end it with everything that it has started.
            start_new_session=True,
        )
    return _Run(step, line, log, process, started)


def _finish(run: _Run) -> None:
    """Say how long the step took and leave its stamp, or raise SetupError if it failed."""
    _clear()
    print(f"{run.line} ... {run.seconds:.0f} s", file=sys.stderr, flush=True)
    status = run.process.returncode
    if status != 0:
        last = run.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        raise SetupError(
            "\n".join(
                [
                    f"{run.line} failed (exit status {status}). The log ends with:",
                    *(f"    {text}" for text in last),
                    f"The whole log is {os.path.relpath(run.log)}.",
                    f"{run.step.advice}, then call ./patchline again: what is done is kept.",
                ]
            )
        )
    write_aside(run.step.stamp, run.step.key)


def _announce(line: str) -> None:
    """Where no line of progress is shown, say what begins: it may take minutes."""
    if not sys.stderr.isatty():
        print(f"{line} ...", file=sys.stderr, flush=True)


def _show(runs: list[_Run]) -> None:
    """On a terminal, show what is at work and for how long; the next line takes its place."""
    if runs and sys.stderr.isatty():
        line = ", ".join(f"{run.line} ... {run.seconds:.0f} s" for run in runs)
        # One that is broken into two could not be replaced.
        line = line[: shutil.get_terminal_size().columns - 1]
        print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)


def _clear() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _end(runs: list[_Run]) -> None:
    """End the steps at work and whatever they have started."""
    for run in runs:
        _send(run, signal.SIGTERM)
    until = time.monotonic() + SECONDS_TO_END
    # Not only the step itself: ninja's compilers are in groups of their own, and it ends them.
    while any(_send(run, 0) for run in runs) and time.monotonic() < until:
        time.sleep(0.02)
    for run in runs:
        _send(run, signal.SIGKILL)
        run.process.wait()


def _send(run: _Run, number: int) -> bool:
    """Send a signal to what is left of a step; whether there was anything left."""
    # One that has ended counts for as long as nobody has asked.
    run.process.poll()
    try:
        os.killpg(run.process.pid, number)
    except ProcessLookupError:
        return False
    return True
