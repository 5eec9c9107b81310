"""What `patchline export` prints."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from patchline_ros.offline.export import Exported


def print_exports(exports: Iterable[Exported], console: Console) -> None:
    """Prints each graph as it is done, and the comparison at the end."""
    done = []
    for exported in exports:
        console.print(f"{exported.task}, {_patches(exported.patches)}: {exported.kib:.0f} KiB")
        done.append(exported)
    table = Table(title="Milliseconds for a picture, median")
    for name in ("model", "patches", "PyTorch", "ONNX Runtime", "times as fast", "difference"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for each in done:
        table.add_row(
            str(each.task),
            str(each.patches or "source"),
            f"{each.pytorch_ms:.1f}",
            f"{each.onnx_ms:.1f}",
            f"{each.faster:.1f}",
            f"{each.difference:.0e}",
        )
    console.print(table)


def _patches(count: int) -> str:
    if not count:
        return "source model"
    return f"{count} patch" if count == 1 else f"{count} patches"
