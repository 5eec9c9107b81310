"""`patchline trial ...`. Only what is called is imported."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from patchline_ros.runtime.backend import Backend
from patchline_ros.word_lists import comma_separated

FAILURE = 1
USER_ERROR = 2
INTERRUPTED = 130

app = typer.Typer(
    help="Put the whole graph to the test on this computer; exit status 1 where it does not hold.",
    no_args_is_help=True,
)

Bundle = Annotated[
    Path | None,
    typer.Option(help="Models to run.", show_default="the shipped ones for the simulated road"),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="New or empty folder for logs and result.", show_default="runs/trial-NAME-DATE-TIME"
    ),
]


Rate = Annotated[float, typer.Option(min=1, max=120, help="Pictures a second.")]


@app.command()
def stops(
    times: Annotated[int, typer.Option(min=1, help="Starts and stops of the whole graph.")] = 50,
    bundle: Bundle = None,
    out: Out = None,
) -> None:
    """Start and stop the graph again and again: no traceback, nothing left, under 3 s."""
    with _sentences():
        from patchline_ros.trials.stops import try_stops
        from patchline_ros.trials.trial_setup import make_setup

        setup = make_setup("stops", bundle, out, shlex.join(["patchline", *sys.argv[1:]]))
        failed = try_stops(setup, times)
    if failed:
        _fail(f"{failed} of {times} stops did not hold; logs are in {setup.out}", FAILURE)


@app.command()
def latency(
    seconds: Annotated[float, typer.Option(min=5, help="Of each of the three phases.")] = 100.0,
    rate: Rate = 30.0,
    swaps: Annotated[int, typer.Option(min=1, max=1000, help="Of each model.")] = 20,
    backend: Annotated[
        Backend,
        typer.Option(help="Of the perception nodes; onnx needs a bundle of `patchline export`."),
    ] = Backend.PYTORCH,
    bundle: Bundle = None,
    out: Out = None,
) -> None:
    """Time from a 640x480 picture to its results: alone, while the adapter trains, through swaps.

    No picture may be lost by transport or to a swap, and no answer be of half-swapped weights.
    """
    with _sentences():
        from patchline_ros.trials.latency import measure_latency
        from patchline_ros.trials.trial_setup import make_setup

        setup = make_setup("latency", bundle, out, shlex.join(["patchline", *sys.argv[1:]]))
        missed = measure_latency(setup, seconds, rate, swaps, backend)
    if missed:
        _fail(f"{missed} limits do not hold; logs are in {setup.out}", FAILURE)


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long.")] = 30.0,
    rate: Rate = 30.0,
    bundle: Bundle = None,
    out: Out = None,
) -> None:
    """Pictures, labelled frames and swaps for a long time: memory, threads and files stay flat."""
    with _sentences():
        from patchline_ros.trials.soak import soak
        from patchline_ros.trials.trial_setup import make_setup

        setup = make_setup("soak", bundle, out, shlex.join(["patchline", *sys.argv[1:]]))
        grown = soak(setup, minutes, rate)
    if grown:
        _fail(f"{grown} processes grow; logs are in {setup.out}", FAILURE)


@app.command()
def faults(
    only: Annotated[
        str,
        typer.Option(
            help="Of the cases that --list names, such as 'adapter*,patch-set*'.",
            show_default="all",
        ),
    ] = "",
    list_: Annotated[bool, typer.Option("--list", help="Only name the cases.")] = False,
    bundle: Bundle = None,
    out: Out = None,
) -> None:
    """Kill its processes and damage its messages and files; after each it must recover in 10 s.

    No wrong weights may ever be active, and no labelled frame that was acknowledged may be lost.
    """
    with _sentences():
        from patchline_ros.trials.faults import chosen_cases, list_cases, try_faults
        from patchline_ros.trials.trial_setup import make_setup

        cases = chosen_cases(comma_separated(only))
        if list_:
            list_cases(cases)
            return
        setup = make_setup("faults", bundle, out, shlex.join(["patchline", *sys.argv[1:]]))
        failed = try_faults(setup, cases)
    if failed:
        _fail(f"{failed} of {len(cases)} cases failed; logs are in {setup.out}", FAILURE)


@contextmanager
def _sentences() -> Iterator[None]:
    """What the user can mend is said in one sentence; SIGTERM ends a trial as Ctrl-C does."""
    from patchline_ros.graph.processes import ProcessDiedError

    signal.signal(signal.SIGTERM, _interrupt)
    # A shell that starts a trial in the background has it ignored, and each process inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    try:
        yield
    except (ValueError, ModuleNotFoundError) as error:
        _fail(str(error), USER_ERROR)
    except (TimeoutError, ProcessDiedError) as error:
        _fail(str(error), FAILURE)
    except KeyboardInterrupt:
        seconds = time.monotonic() - began
        _fail(f"interrupted after {seconds:.0f} s; every process was stopped", INTERRUPTED)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _fail(sentence: str, code: int) -> NoReturn:
    print(f"patchline: {sentence}", file=sys.stderr)
    raise typer.Exit(code)
