"""`patchline`: assembles the commands of the package."""

from __future__ import annotations

from typing import Annotated

import typer

from patchline_ros import __version__
from patchline_ros.cli.bench import app as bench
from patchline_ros.cli.bundle import app as bundle
from patchline_ros.cli.call import call
from patchline_ros.cli.cost import cost
from patchline_ros.cli.data import app as data
from patchline_ros.cli.demo import demo
from patchline_ros.cli.drive import drive
from patchline_ros.cli.export import export
from patchline_ros.cli.keys import keys
from patchline_ros.cli.offline import offline
from patchline_ros.cli.record import record
from patchline_ros.cli.replay import replay
from patchline_ros.cli.ros import require_ros
from patchline_ros.cli.trial import app as trial
from patchline_ros.cli.watch import watch

app = typer.Typer(
    name="patchline",
    help="Perception that notices when the world has changed, and adapts on the car.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (demo, offline, export, cost, drive, call, replay, record, watch, keys):
    app.command()(command)
app.add_typer(bench, name="bench")
app.add_typer(bundle, name="bundle")
app.add_typer(data, name="data")
app.add_typer(trial, name="trial", callback=lambda: require_ros())


@app.callback(invoke_without_command=True)
def patchline(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Perception that notices when the world has changed, and adapts on the car."""
    if version:
        typer.echo(f"patchline {__version__}")
        raise typer.Exit
