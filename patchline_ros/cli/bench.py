"""`patchline bench ...`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from patchline_ros.cli.errors import FAILURE, errors_in_a_sentence, fail
from patchline_ros.foreign_text import visible

if TYPE_CHECKING:
    from patchline_ros.bench.benchmark import BenchOptions

_INTERRUPTED: Final = "interrupted; finished results stay, the same command goes on"

app = typer.Typer(
    help="Compare methods in experiments, with one result file a run.",
    no_args_is_help=True,
)

Name = Annotated[
    str, typer.Argument(help="The experiment: a name of `patchline bench list`, or a .yaml file.")
]
Data = Annotated[
    Path | None,
    typer.Option(help="Folder that holds the data sets.", show_default="none: simulated scenes"),
]
Bundle = Annotated[
    Path | None,
    typer.Option(
        help="Folder of a bundle whose source models are used.", show_default="they are trained"
    ),
]
Weights = Annotated[
    str,
    typer.Option(
        help="ImageNet weights that source models start from: a .npz or .pth file of torchvision's "
        "weights; imagenet, which torchvision fetches; or auto, which takes a file in "
        "DATA/weights, else imagenet."
    ),
]
Out = Annotated[Path, typer.Option(help="Folder for source models and results.")]
Seeds = Annotated[
    str | None,
    typer.Option(
        help="Seeds to run, with commas between them, such as 0,1,2.",
        show_default="those of the experiment",
    ),
]
Rows = Annotated[
    str | None,
    typer.Option(
        help="Rows to run, with commas between them, such as ft_full,ours.",
        show_default="all of the experiment",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="Number of runs at a time, on one core each.", show_default="all cores"
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        help="Address of a Ray cluster to run on; auto is the one of this machine. All its "
        "machines must see DATA and OUT under the same paths.",
        show_default="on this machine, without Ray",
    ),
]
Redo = Annotated[
    bool,
    typer.Option("--redo", help="Replace results that another configuration of their row made."),
]
Device = Annotated[str, typer.Option(help="Device to compute on: cpu or cuda.")]


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
    _run(run_experiment, options)


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
    _run(tune_experiment, options)


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(help="Folder of the results: the --out of the runs.")
    ] = Path("runs") / "bench",
    page: Annotated[
        Path | None,
        typer.Option(
            help="File of the short page, in Markdown.", show_default="results.md in the folder"
        ),
    ] = None,
) -> None:
    """Write a short page on all results, and one on each experiment, from result files alone."""
    from patchline_ros.bench.report.pages import write_report

    with errors_in_a_sentence(interrupted=_INTERRUPTED):
        typer.echo(f"written to {write_report(folder, page)}")


@app.command()
def smoke(out: Out = Path("runs") / "smoke", workers: Workers = None) -> None:
    """Run the smallest experiment and its report: that everything works, in a minute or two."""
    run("smoke", out=out, workers=workers)
    report(out)


@app.command(name="list")
def list_() -> None:
    """List the experiments that come with the package."""
    from patchline_ros.bench.experiment_files import find_experiment, known_experiments

    with errors_in_a_sentence(interrupted=_INTERRUPTED):
        for name in known_experiments():
            typer.echo(f"{name:24} {find_experiment(name).about}")


def _run(command: Callable[[BenchOptions], list[str]], options: BenchOptions) -> None:
    """Ends with exit code 1 and a line for each job that failed."""
    with errors_in_a_sentence(interrupted=_INTERRUPTED):
        failures = command(options)
    if failures:
        for line in failures:
            print(f"patchline: failed: {visible(line)}", file=sys.stderr)
        fail(f"{len(failures)} failed; the same command does what is left", FAILURE)
