"""Throws spoiled inputs at everything that reads bytes from outside.

    python -m tools.fuzz --inputs 1000000
    python -m tools.fuzz --only patch-set,yaml --seed 7

Each input is a whole one with some changes (`tools/fuzz_mutations.py`), which depend on the seed,
the target and the input's number alone. A target may raise the errors that it documents. A find is

- another exception,
- a process that dies,
- more than a second of processor time for one input, also in code that hears no signal,
- a MemoryError, since a process gets `MOST_MIB` more than it has at its start.

Finds are written to `--out`, a file each, and named with the end of their traceback; the exit
status is 1 where there is one. A find that is mended stays as a test in test/unit/test_fuzz.py.
"""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any, Final

import torch
import typer
from rich.console import Console
from rich.table import Table

from tools.fuzz_mutations import mutated
from tools.fuzz_targets import TARGETS, Decoder, Target

MOST_SECONDS: Final = 1.0
"""Of processor time for one input."""
MOST_MIB: Final = 1024
_STUCK_SECONDS: Final = 60.0
"""Without a next input, of a process that takes no processor time either."""
_KINDS_SHOWN: Final = 40


@dataclass(frozen=True)
class Find:
    """An input that did what none may do.

    Attributes:
        target: name of the decoder.
        number: of the input.
        what: happened.
        data: the input.
    """

    target: str
    number: int
    what: str
    data: bytes


@dataclass(frozen=True)
class Part:
    """Inputs of one target, one after the other."""

    target: Target
    seed: int
    inputs: range


def input_of(target: Target, whole: Sequence[bytes], seed: int, number: int) -> bytes:
    """The input of this number: always the same."""
    rng = Random(f"{seed} {target.name} {number}")
    data = mutated(rng, whole)
    # Half of them have the sums and lengths made right again, as a stranger would.
    return target.mend(data) if target.mend and rng.random() < 0.5 else data


def tried(decoder: Decoder, data: bytes) -> str:
    """What happened that may not; empty where all is well. What was slow is tried again."""
    what = _tried_once(decoder, data)
    return _tried_once(decoder, data) if what.endswith(" s") else what


def _tried_once(decoder: Decoder, data: bytes) -> str:
    begun = time.process_time()
    try:
        decoder.decode(data)
    except decoder.documented:
        pass
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return f"{type(error).__name__} in {where}: {str(error)[:150]!r}"
    took = time.process_time() - begun
    return f"{took:.1f} s" if took > MOST_SECONDS else ""


def _child(part: Part, folder: str, reached: Any, sender: Any) -> None:
    """In a process of its own: the inputs of a part; sends what it finds."""
    faulthandler.disable()
    torch.set_num_threads(1)
    logging.disable()
    warnings.simplefilter("ignore")
    # What a codec prints about bytes that it can't read would fill the terminal.
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    decoder = part.target.open(Path(folder))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    bound = used + (MOST_MIB << 20)
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    for number in part.inputs:
        reached.value = number
        data = input_of(part.target, decoder.whole, part.seed, number)
        # Without a handler the system ends the process, whatever code it is in.
        signal.setitimer(signal.ITIMER_PROF, 2 * MOST_SECONDS)
        what = tried(decoder, data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if what:
            sender.send(Find(part.target.name, number, what, data))
    reached.value = part.inputs.stop
    sender.send(None)


def finds(part: Part, step: Callable[[int], None] = lambda _: None) -> Iterator[Find]:
    """Tries the inputs of a part; a process that dies is started again behind its input.

    Args:
        part: what to try.
        step: told the number that was reached, several times a second.
    """
    begin = part.inputs.start
    context = multiprocessing.get_context("fork")
    while begin < part.inputs.stop:
        with tempfile.TemporaryDirectory() as folder:
            rest = Part(part.target, part.seed, range(begin, part.inputs.stop))
            reached = context.Value("q", begin, lock=False)
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=_child, args=(rest, folder, reached, sender))
            child.start()
            sender.close()
            died = yield from _heard(child, receiver, reached, step)
            if not died:
                return
            number: int = reached.value
            data = _again(part, number)
            yield Find(part.target.name, number, died, data)
            begin = number + 1


def _again(part: Part, number: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return input_of(part.target, part.target.open(Path(folder)).whole, part.seed, number)


def _heard(
    child: Any, receiver: Any, reached: Any, step: Callable[[int], None]
) -> Generator[Find, None, str]:
    """Hands on what a process finds; returns how it died, or nothing where it came to its end."""
    last, since = -1, time.monotonic()
    while True:
        if receiver.poll(0.2):
            try:
                found = receiver.recv()
            except EOFError:
                child.join()
                return _end(child.exitcode)
            if found is None:
                child.join()
                return ""
            yield found
        step(reached.value)
        if reached.value != last:
            last, since = reached.value, time.monotonic()
        elif time.monotonic() - since > _STUCK_SECONDS:
            child.kill()
            child.join()
            return f"stood still for {_STUCK_SECONDS:.0f} s"


def _end(code: int) -> str:
    if code == -signal.SIGPROF:
        return f"more than {2 * MOST_SECONDS:.0f} s"
    return f"the process died of {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"


def main(
    inputs: Annotated[int, typer.Option(help="Inputs in all.", min=1)] = 1_000_000,
    only: Annotated[str, typer.Option(help="Targets, by commas; all where empty.")] = "",
    seed: Annotated[int, typer.Option(help="Of all changes.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for finds.")] = Path("runs/fuzz"),
) -> None:
    """Tries so many inputs, as many of each target."""
    console = Console()
    chosen = [target for target in TARGETS if not only or target.name in only.split(",")]
    if not chosen:
        known = ", ".join(target.name for target in TARGETS)
        raise typer.BadParameter(f"no target is named {only!r}; there are {known}")
    table = Table(title=f"{inputs} inputs, seed {seed}")
    for name in ("target", "inputs", "seconds", "finds"):
        table.add_column(name, justify="left" if name == "target" else "right")
    count, seen = 0, set[tuple[str, str]]()
    for place, target in enumerate(chosen):
        share = range(inputs * place // len(chosen), inputs * (place + 1) // len(chosen))
        begun, own = time.monotonic(), 0
        for found in finds(Part(target, seed, range(len(share)))):
            own += 1
            kind = (target.name, found.what.partition(": ")[0])
            if kind not in seen and len(seen) < _KINDS_SHOWN:
                console.print(f"{target.name} {found.number}: {found.what}", markup=False)
                out.mkdir(parents=True, exist_ok=True)
                (out / f"{target.name}-{seed}-{found.number}.bin").write_bytes(found.data)
            seen.add(kind)
        count += own
        took = time.monotonic() - begun
        console.print(f"{target.name}: {len(share)} inputs, {took:.0f} s, {own} finds")
        table.add_row(target.name, str(len(share)), f"{took:.0f}", str(own))
    console.print(table)
    raise typer.Exit(int(count > 0))


if __name__ == "__main__":
    typer.run(main)
