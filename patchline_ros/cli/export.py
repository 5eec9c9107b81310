"""`patchline export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchline_ros.cli.errors import USER_ERROR, errors_in_a_sentence, fail

if TYPE_CHECKING:
    from rich.console import Console


def export(
    bundle: Annotated[
        Path,
        typer.Argument(help="Folder of the bundle; the graphs are written into it."),
    ],
    threads: Annotated[
        int, typer.Option(min=1, help="Number of threads of both runtimes in the comparison.")
    ] = 1,
) -> None:
    """Export a bundle's models to ONNX, for each number of patches, and compare the speed.

    Perception nodes run these graphs by ONNX Runtime on a CPU. A graph has no weights in it: it
    serves every patch set with so many patches.
    """
    from patchline_ros.terminal import terminal

    export_graphs(bundle, threads, terminal())


def export_graphs(path: Path, threads: int, console: Console) -> None:
    """Exports the bundle in that folder, and ends with a sentence where that fails."""
    from patchline_ros.bundle import Bundle
    from patchline_ros.offline.export import export_bundle
    from patchline_ros.offline.export_table import print_exports

    with errors_in_a_sentence(
        interrupted=f"interrupted; `patchline export {path}` makes the graphs",
        os_error="can't write the graphs",
    ):
        try:
            print_exports(export_bundle(Bundle.load(path), threads), console)
        except ModuleNotFoundError as error:
            fail(f"{error}; it comes with pip install 'patchline_ros[onnx]'", USER_ERROR)
