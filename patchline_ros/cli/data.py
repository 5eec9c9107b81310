"""`patchline data ...`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from patchline_ros.cli.errors import USER_ERROR, errors_in_a_sentence
from patchline_ros.word_lists import comma_separated

app = typer.Typer(
    help="List the known data sets, and check whether a copy of one is whole.", no_args_is_help=True
)


@app.command("list")
def list_sets() -> None:
    """Print the data sets that there are readers for: tasks, licence, where to get them, layout."""
    from patchline_ros.datasets.set_report import print_sets
    from patchline_ros.terminal import terminal

    print_sets(terminal())


@app.command()
def check(
    name: Annotated[
        str, typer.Argument(metavar="SET", help="Name of the set in `patchline data list`.")
    ],
    folder: Annotated[
        Path, typer.Argument(help="Folder that holds the set, as its layout says, or a bag.")
    ],
    classes: Annotated[
        str,
        typer.Option(
            help="Class names of your own labels in the order of their ids, such as car,bus.",
            show_default="none",
        ),
    ] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at file names only, and open no picture.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of files that are read at a time.", show_default="all cores"
        ),
    ] = None,
) -> None:
    """Open all of a data set and say what is there, what is missing and what is broken.

    Ends with 2 where something is missing or broken. A broken file need not stop you: what is made
    from the set leaves it out, and says so.
    """
    from patchline_ros.datasets.catalogue import entry_of
    from patchline_ros.datasets.checking import check_set
    from patchline_ros.datasets.set_report import print_part
    from patchline_ros.terminal import terminal

    console = terminal(soft_wrap=True)
    with errors_in_a_sentence(os_error="can't read the data set"):
        entry = entry_of(name)
        whole = True
        threads = workers or os.cpu_count() or 1
        for part in check_set(entry, folder, comma_separated(classes) or None, quick, threads):
            print_part(part, console)
            whole = whole and not part.missing and not part.broken
    if not whole:
        console.print(f"{name} is not whole: get {entry.to_get}", markup=False)
        raise typer.Exit(USER_ERROR)
