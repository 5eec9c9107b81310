"""`patchline export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchline_ros.cli.errors import USER_ERROR, errors_in_a_sentence, fail


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

    Perception nodes with the parameter `backend: onnx` run these graphs by ONNX Runtime. A graph
    has no weights in it: it serves every patch set with so many patches.
    """
    from patchline_ros.bundle import Bundle
    from patchline_ros.offline.export import export_bundle
    from patchline_ros.offline.export_table import print_exports
    from patchline_ros.terminal import terminal

    with errors_in_a_sentence(
        interrupted="interrupted; the graphs that are done stay",
        os_error="can't write the graphs",
    ):
        try:
            exports = export_bundle(Bundle.load(bundle), threads)
        except ModuleNotFoundError as error:
            fail(f"{error}; it comes with pip install 'patchline_ros[onnx]'", USER_ERROR)
        print_exports(exports, terminal())
