"""Prints what methods cost, as tables of at most 100 columns."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table

from patchline_ros.cost.comparison import Comparison
from patchline_ros.cost.step_cost import MethodCost
from patchline_ros.patching.fine_tuned import FineTuneSettings
from patchline_ros.patching.ladder import LadderSettings
from patchline_ros.patching.methods import MethodSettings

PARTS = """\
Adapter: the patches or the ladder. The head's gradients are those of its inputs, which lead to what
is trained before it, and those of its own weights."""
PAPER = """\
F: forward pass of the source model. P_F, P_B: forward and backward pass of the adapter. B: backward
pass of fine-tuning. Left out beside an adapter: gradients of the head and of frozen groups."""
ACTUAL = """\
Everything that is computed, in all parts. Cached: an epoch that takes what depends on the picture
alone from a cache. Mean: such epochs after a first one, which fills it."""
TITLES = {
    "ft_full": "FT-full",
    "ft_norm": "FT-norm",
    "ft_affine": "norms alone",
    "ft_last": "FT-last",
}


def title(settings: MethodSettings) -> str:
    """A method's name in the tables."""
    if isinstance(settings, FineTuneSettings):
        return TITLES[settings.method]
    if isinstance(settings, LadderSettings):
        return f"LST, {settings.rungs}, r={settings.reduction}"
    return f"PatchLine, k={settings.k}, {settings.wiring}"


def _giga(flops: float) -> str:
    return f"{flops / 1e9:.3f}" if flops else "0"


def _mega(parameters: int) -> str:
    return f"{parameters / 1e6:.3f}"


def _mebi(size: int | None) -> str:
    return "does not fit" if size is None else f"{size / 2**20:.1f}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}"


def _table(name: str, columns: Iterable[str], rows: Iterable[list[str]]) -> Table:
    table = Table(title=name, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def _step_table(comparison: Comparison) -> Table:
    def row(cost: MethodCost) -> list[str]:
        return [
            title(cost.settings),
            _mega(cost.parameters),
            _mega(cost.trained_parameters),
            _mebi(cost.saved_bytes),
            _share(cost.saved_bytes, comparison.full.saved_bytes),
            _share(cost.saved_bytes, comparison.lst.saved_bytes),
        ]

    columns = ["parameters\nM", "trained\nM", "saved for backward\nMiB", "of\nFT-full", "of\nLST"]
    rows = [row(cost) for cost in comparison.costs]
    if comparison.peaks is not None:
        columns.append("peak on the GPU\nMiB")
        rows = [[*row, _mebi(peak)] for row, peak in zip(rows, comparison.peaks, strict=True)]
    return _table(f"Parameters, and memory of a batch of {comparison.options.batch}", columns, rows)


def _parts_table(comparison: Comparison) -> Table:
    def row(cost: MethodCost) -> list[str]:
        parts = cost.parts
        forward = [_giga(parts[part].forward) for part in ("backbone", "adapter", "head")]
        backward = [_giga(parts[part].backward) for part in ("backbone", "adapter")]
        head = [cost.head_input_gradient, parts["head"].backward - cost.head_input_gradient]
        return [title(cost.settings), *forward, *backward, *map(_giga, head)]

    columns = [
        "forward\nbackbone\n",
        "forward\nadapter\n",
        "forward\nhead\n",
        "backward\nbackbone\n",
        "backward\nadapter\n",
        "backward\nhead\ninputs",
        "backward\nhead\nweights",
    ]
    return _table("GFLOPs by part", columns, map(row, comparison.costs))


def _paper_table(comparison: Comparison) -> Table:
    def row(cost: MethodCost) -> list[str]:
        forward = cost.parts["adapter"].forward
        return [
            title(cost.settings),
            _giga(cost.source_forward),
            _giga(forward),
            _giga(cost.paper - cost.source_forward - forward),
            _giga(cost.paper),
            _share(cost.paper, comparison.full.paper),
            _share(cost.paper, comparison.lst.paper),
        ]

    columns = ["F", "P_F", "P_B or B", "sum", "of FT-full", "of LST"]
    return _table("GFLOPs, the paper's accounting", columns, map(row, comparison.costs))


def _actual_table(comparison: Comparison) -> Table:
    epochs = comparison.options.epochs
    full, lst = comparison.full, comparison.lst

    def row(cost: MethodCost) -> list[str]:
        mean = cost.mean_of(epochs)
        return [
            title(cost.settings),
            _giga(cost.uncached),
            _share(cost.uncached, full.uncached),
            _share(cost.uncached, lst.uncached),
            _giga(cost.cached),
            _giga(mean),
            _share(mean, full.mean_of(epochs)),
            _share(mean, lst.mean_of(epochs)),
        ]

    columns = [
        "not\ncached",
        "of\nFT-full",
        "of\nLST",
        "\ncached",
        f"mean of\n{epochs} epochs",
        "of\nFT-full",
        "of\nLST",
    ]
    return _table("GFLOPs, the actual accounting", columns, map(row, comparison.costs))


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Prints parameters, memory, FLOPs by part, and both accountings."""
    options = comparison.options
    height, width = comparison.spec.input_size
    console.print(
        f"{options.model}, {height} x {width}, {options.classes} classes; with patches or a ladder "
        f"the head is {options.head or 'trained'}."
    )
    console.print("GFLOPs are for one image in one training step, two FLOPs a multiply-add.")
    if comparison.affordable is not None:
        console.print(f"Algorithm 1 affords {comparison.affordable} patches on this model.")
    console.print()
    console.print(_step_table(comparison))
    console.print(_parts_table(comparison))
    console.print(PARTS, end="\n\n")
    console.print(_paper_table(comparison))
    console.print(PAPER, end="\n\n")
    console.print(_actual_table(comparison))
    console.print(ACTUAL)
