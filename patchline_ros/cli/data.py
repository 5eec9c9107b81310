"""`patchline data ...`. Only what is called is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchline_ros.word_lists import comma_separated

if TYPE_CHECKING:
    from rich.console import Console

    from patchline_ros.datasets.checking import PartReport

USER_ERROR = 2
NAMED = 10
"""Broken files of a part that are named; the others are counted."""

app = typer.Typer(
    help="Data sets: which there are, and whether a copy is whole.", no_args_is_help=True
)


@app.command("list")
def list_sets() -> None:
    """Print the data sets that there are readers for: tasks, licence, where to get them, layout."""
    from rich.console import Console
    from rich.table import Table

    from patchline_ros.datasets.catalogue import CATALOGUE

    table = Table("set", "tasks", show_lines=True)
    # An address that is cut off is of no use.
    table.add_column("what, from where, licence", overflow="fold")
    table.add_column("layout", overflow="fold")
    for entry in CATALOGUE.values():
        source = "\n".join(part for part in (entry.title, entry.where, entry.licence) if part)
        table.add_row(entry.name, "\n".join(map(str, entry.tasks)), source, entry.layout)
    Console(highlight=False).print(table)


@app.command()
def check(
    name: Annotated[str, typer.Argument(metavar="SET", help="As `patchline data list` names it.")],
    folder: Annotated[Path, typer.Argument(help="That holds it, as its layout says; or a bag.")],
    classes: Annotated[
        str,
        typer.Option(
            help="Such as car,bus: what the ids of your own labels mean, in their order.",
            show_default="none",
        ),
    ] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at names only, and open no picture.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Files at a time.", show_default="all cores")
    ] = None,
) -> None:
    """Open all of a data set and say what is there, what is missing and what is broken.

    Ends with 2 where something is. A broken file need not stop you: what is made from the set
    leaves it out, and says so.
    """
    from rich.console import Console

    from patchline_ros.datasets.catalogue import entry_of
    from patchline_ros.datasets.checking import check_set

    console = Console(highlight=False, soft_wrap=True)
    try:
        entry = entry_of(name)
        whole = True
        threads = workers or os.cpu_count() or 1
        for part in check_set(entry, folder, comma_separated(classes) or None, quick, threads):
            _print_part(part, console)
            whole = whole and not part.missing and not part.broken
    except (OSError, ValueError, ModuleNotFoundError) as error:
        print(f"patchline: {error}", file=sys.stderr)
        raise typer.Exit(USER_ERROR) from error
    if not whole:
        console.print(f"{name} is not whole: get {entry.to_get}", markup=False)
        raise typer.Exit(USER_ERROR)


def _print_part(part: PartReport, console: Console) -> None:
    lines = [f"{part.name}: {part.pictures} pictures"]
    for task in dict.fromkeys(task for task, _ in part.found):
        counts = {name: n for (of, name), n in sorted(part.found.items()) if of is task}
        lines.append(f"  {task}: " + ", ".join(f"{name} {n}" for name, n in counts.items()))
    lines += [f"  missing: {sentence}" for sentence in part.missing]
    if part.broken:
        lines.append(f"  broken: {len(part.broken)} of {part.pictures}")
        lines += [f"    {sentence}" for sentence in part.broken[:NAMED]]
        if len(part.broken) > NAMED:
            lines.append(f"    and {len(part.broken) - NAMED} more")
    for line in lines:
        console.print(line, markup=False)
