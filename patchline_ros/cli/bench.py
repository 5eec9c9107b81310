"""`patchline bench ...`. Only what is called is imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from patchline_ros.bench.benchmark import BenchOptions

FAILURE = 1
USER_ERROR = 2
INTERRUPTED = 130

app = typer.Typer(
    help="Compare methods on declared experiments, with one result file a run.",
    no_args_is_help=True,
)

Name = Annotated[
    str, typer.Argument(help="An experiment that `patchline bench list` names, or a .yaml file.")
]
Data = Annotated[
    Path | None,
    typer.Option(help="Folder that holds the data sets.", show_default="none: simulated scenes"),
]
Bundle = Annotated[
    Path | None,
    typer.Option(help="Take the source models of this bundle.", show_default="train them"),
]
Weights = Annotated[
    str,
    typer.Option(
        help="ImageNet weights that source models start from: a .npz or .pth file of torchvision's "
        "names, imagenet (torchvision fetches them), or auto: a file in DATA/weights, else "
        "imagenet."
    ),
]
Out = Annotated[Path, typer.Option(help="Folder for source models and results.")]
Seeds = Annotated[
    str | None,
    typer.Option(help="Such as 0,1,2.", show_default="those that the experiment declares"),
]
Rows = Annotated[
    str | None, typer.Option(help="Such as ft_full,ours.", show_default="all of the experiment")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Runs at a time, on one core each.", show_default="all cores"),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        help="Run on this Ray cluster (auto: the one of this machine); all its machines must see "
        "DATA and OUT under the same paths.",
        show_default="on this machine, without Ray",
    ),
]
Redo = Annotated[
    bool, typer.Option("--redo", help="Make results again whose row was declared otherwise.")
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


@app.command()
def run(
    name: Name,
    data: Data = None,
    bundle: Bundle = None,
    weights: Weights = "auto",
    out: Out = Path("runs") / "bench",
    seeds: Seeds = None,
    rows: Rows = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    device: Device = "cpu",
    redo: Redo = False,
) -> None:
    """Run an experiment; what is finished is not done again."""
    from patchline_ros.bench.benchmark import BenchOptions, run_experiment

    options = BenchOptions(
        name, data, bundle, weights, out, seeds, rows, workers, ray_address, device, redo
    )
    _carry_out(run_experiment, options)


@app.command()
def tune(
    name: Name,
    data: Data = None,
    bundle: Bundle = None,
    weights: Weights = "auto",
    out: Out = Path("runs") / "bench",
    rows: Rows = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    device: Device = "cpu",
    redo: Redo = False,
) -> None:
    """Search for each row's learning rates, which its runs then use; call it before `run`."""
    from patchline_ros.bench.benchmark import BenchOptions, tune_experiment

    options = BenchOptions(
        name, data, bundle, weights, out, None, rows, workers, ray_address, device, redo
    )
    _carry_out(tune_experiment, options)


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(help="Where results lie: the --out of the runs.")
    ] = Path("runs") / "bench",
    page: Annotated[
        Path | None,
        typer.Option(help="Markdown file to write.", show_default="results.md in the folder"),
    ] = None,
) -> None:
    """Write the page of tables and figures, from result files alone."""
    from patchline_ros.bench.report import write_report

    with _sentences():
        typer.echo(f"written to {write_report(folder, page)}")


@app.command()
def smoke(out: Out = Path("runs") / "smoke", workers: Workers = None) -> None:
    """Run the smallest experiment and its report: that everything works, in a minute or two."""
    run("smoke", out=out, workers=workers)
    report(out)


@app.command(name="list")
def list_() -> None:
    """List the experiments that come with the package."""
    from patchline_ros.bench.experiment import find_experiment, known_experiments

    with _sentences():
        for name in known_experiments():
            typer.echo(f"{name:24} {find_experiment(name).about}")


def _carry_out(command: Callable[[BenchOptions], list[str]], options: BenchOptions) -> None:
    """Ends with exit code 1 and a line for each job that failed."""
    with _sentences():
        failures = command(options)
    if failures:
        for line in failures:
            print(f"patchline: failed: {line}", file=sys.stderr)
        _fail(f"{len(failures)} failed; the same command does what is left", FAILURE)


@contextmanager
def _sentences() -> Iterator[None]:
    """What the user can mend is said in one sentence."""
    try:
        yield
    except (ValueError, ModuleNotFoundError) as error:
        _fail(str(error), USER_ERROR)
    except KeyboardInterrupt:
        _fail("interrupted; finished results stay, the same command goes on", INTERRUPTED)


def _fail(sentence: str, code: int) -> NoReturn:
    print(f"patchline: {sentence}", file=sys.stderr)
    raise typer.Exit(code)
