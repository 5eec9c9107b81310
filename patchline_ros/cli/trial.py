"""`patchline trial ...`."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from patchline_ros.cli.errors import (
    FAILURE,
    INTERRUPTED,
    errors_in_a_sentence,
    fail,
    treat_sigterm_as_ctrl_c,
)
from patchline_ros.runtime.backend import Backend
from patchline_ros.word_lists import comma_separated

app = typer.Typer(
    help="Put the whole graph to the test on this computer; exit status 1 where it does not hold.",
    no_args_is_help=True,
)

Bundle = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the bundle whose models run.",
        show_default="the shipped one for the simulated road",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder for logs and result; it must be new or empty.",
        show_default="runs/trial-NAME-DATE-TIME",
    ),
]
Rate = Annotated[
    float, typer.Option(min=1, max=120, help="Pictures a second that the camera publishes.")
]


@app.command()
def stops(
    times: Annotated[
        int, typer.Option(min=1, help="Number of starts and stops of the whole graph.")
    ] = 50,
    bundle: Bundle = None,
    out: Out = None,
) -> None:
    """Start and stop the graph again and again: no traceback, nothing left, under 3 s."""
    with _trial_errors():
        from patchline_ros.trials.stops import try_stops
        from patchline_ros.trials.trial_setup import make_setup

        setup = make_setup("stops", bundle, out, shlex.join(["patchline", *sys.argv[1:]]))
        failed = try_stops(setup, times)
    if failed:
        fail(f"{failed} of {times} stops did not hold; logs are in {setup.out}", FAILURE)


@app.command()
def restarts(
    times: Annotated[int, typer.Option(min=1, help="Number of kills, of each node in turn.")] = 50,
    bundle: Bundle = None,
    out: Out = None,
) -> None:
    """Kill nodes between two messages, which Fast DDS does not see: none may start again deaf."""
    with _trial_errors():
        from patchline_ros.trials.restarts import try_restarts
        from patchline_ros.trials.trial_setup import make_setup

        setup = make_setup("restarts", bundle, out, shlex.join(["patchline", *sys.argv[1:]]))
        deaf = try_restarts(setup, times)
    if deaf:
        fail(f"{deaf} of {times} nodes were deaf; logs are in {setup.out}", FAILURE)


@app.command()
def latency(
    seconds: Annotated[
        float, typer.Option(min=5, help="Seconds that each of the three phases takes.")
    ] = 100.0,
    rate: Rate = 30.0,
    swaps: Annotated[
        int, typer.Option(min=1, max=1000, help="Number of swaps of each model.")
    ] = 20,
    backend: Annotated[
        Backend,
        typer.Option(
            help="Backend of the perception nodes; onnx needs the graphs of `patchline export`, "
            "auto takes them where they are."
        ),
    ] = Backend.AUTO,
    bundle: Bundle = None,
    out: Out = None,
) -> None:
    """Time from a 640x480 picture to its results: alone, while the adapter trains, through swaps.

    No picture may be lost by transport or to a swap, and no answer be of half-swapped weights.
    """
    with _trial_errors():
        from patchline_ros.trials.latency import measure_latency
        from patchline_ros.trials.trial_setup import make_setup

        setup = make_setup("latency", bundle, out, shlex.join(["patchline", *sys.argv[1:]]))
        missed = measure_latency(setup, seconds, rate, swaps, backend)
    if missed:
        fail(f"{missed} limits do not hold; logs are in {setup.out}", FAILURE)


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(min=0.1, help="Minutes that the trial takes.")] = 30.0,
    rate: Rate = 30.0,
    bundle: Bundle = None,
    out: Out = None,
) -> None:
    """Send pictures, labels and swaps for long: memory, threads and files must stay flat."""
    with _trial_errors():
        from patchline_ros.trials.soak import soak
        from patchline_ros.trials.trial_setup import make_setup

        setup = make_setup("soak", bundle, out, shlex.join(["patchline", *sys.argv[1:]]))
        grown = soak(setup, minutes, rate)
    if grown:
        fail(f"{grown} processes grow; logs are in {setup.out}", FAILURE)


@app.command()
def weathers(
    rounds: Annotated[
        int, typer.Option(min=1, help="Number of times that each weather comes.")
    ] = 3,
    labels: Annotated[
        bool, typer.Option("--labels/--no-labels", help="Whether the camera publishes labels.")
    ] = True,
    rate: Rate = 4.0,
    bundle: Bundle = None,
    out: Out = None,
) -> None:
    """Drive through fog, night, rain and snow again and again, with clear roads between.

    At each visit every model must be as good as at the first one, and never below its source model;
    memory and disk stay bounded.
    """
    with _trial_errors():
        from patchline_ros.trials.trial_setup import make_setup
        from patchline_ros.trials.weathers import visit_weathers

        setup = make_setup("weathers", bundle, out, shlex.join(["patchline", *sys.argv[1:]]))
        failed = visit_weathers(setup, rounds, labels, rate)
    if failed:
        fail(f"{failed} things do not hold; logs are in {setup.out}", FAILURE)


@app.command()
def faults(
    only: Annotated[
        str,
        typer.Option(
            help="Cases to run, by the names of --list, such as 'adapter*,patch-set*'.",
            show_default="all",
        ),
    ] = "",
    list_: Annotated[
        bool, typer.Option("--list", help="Print the names of the cases and end.")
    ] = False,
    bundle: Bundle = None,
    out: Out = None,
) -> None:
    """Kill the graph's processes, damage its messages and files; it must recover in 10 s.

    No wrong weights may ever be active, and no labelled frame that was acknowledged may be lost.
    """
    with _trial_errors():
        from patchline_ros.trials.faults import chosen_cases, list_cases, try_faults
        from patchline_ros.trials.trial_setup import make_setup

        cases = chosen_cases(comma_separated(only))
        if list_:
            list_cases(cases)
            return
        setup = make_setup("faults", bundle, out, shlex.join(["patchline", *sys.argv[1:]]))
        failed = try_faults(setup, cases)
    if failed:
        fail(f"{failed} of {len(cases)} cases failed; logs are in {setup.out}", FAILURE)


@contextmanager
def _trial_errors() -> Iterator[None]:
    """Errors and Ctrl-C end a trial with a sentence; SIGTERM ends it as Ctrl-C does."""
    from patchline_ros.graph.processes import ProcessDiedError

    treat_sigterm_as_ctrl_c()
    # A shell that starts a trial in the background has it ignored, and each process inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    with errors_in_a_sentence(failures=(TimeoutError, ProcessDiedError)):
        try:
            yield
        except KeyboardInterrupt:
            seconds = time.monotonic() - began
            fail(f"interrupted after {seconds:.0f} s; every process was stopped", INTERRUPTED)
