"""Prints the known data sets, and what a check of one has found."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table

from patchline_ros.datasets.catalogue import CATALOGUE
from patchline_ros.datasets.checking import PartReport

_NAMED: Final = 10
"""Broken files of a part that are named; the others are counted."""


def print_sets(console: Console) -> None:
    """Prints a table of the data sets: tasks, licence, where to get them, layout."""
    table = Table("set", "tasks", show_lines=True)
    # An address that is cut off is of no use.
    table.add_column("what, from where, licence", overflow="fold")
    table.add_column("layout", overflow="fold")
    for entry in CATALOGUE.values():
        source = "\n".join(part for part in (entry.title, entry.where, entry.licence) if part)
        table.add_row(entry.name, "\n".join(map(str, entry.tasks)), source, entry.layout)
    console.print(table)


def print_part(part: PartReport, console: Console) -> None:
    """Prints what is there, missing and broken in one part of a data set."""
    lines = [f"{part.name}: {part.pictures} pictures"]
    for task in dict.fromkeys(task for task, _ in part.found):
        counts = {name: n for (of, name), n in sorted(part.found.items()) if of is task}
        lines.append(f"  {task}: " + ", ".join(f"{name} {n}" for name, n in counts.items()))
    lines += [f"  missing: {sentence}" for sentence in part.missing]
    if part.broken:
        lines.append(f"  broken: {len(part.broken)} of {part.pictures}")
        lines += [f"    {sentence}" for sentence in part.broken[:_NAMED]]
        if len(part.broken) > _NAMED:
            lines.append(f"    and {len(part.broken) - _NAMED} more")
    for line in lines:
        console.print(line, markup=False)
