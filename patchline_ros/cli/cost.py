"""`patchline cost`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from patchline_ros.cli.errors import USER_ERROR, errors_in_a_sentence, fail

Patches = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of groups with a patch, counted from the input.",
        show_default="as many as the paper's Algorithm 1 affords",
    ),
]
Head = Annotated[
    str | None,
    typer.Option(
        help="Whether the head is trained beside patches or a ladder: trained or frozen.",
        show_default="trained",
    ),
]
Wiring = Annotated[
    str | None,
    typer.Option(help="How patches are wired: inline, detached or side.", show_default="side"),
]


def cost(
    model: Annotated[
        str, typer.Option(help="The model, as the paper's tables name it, such as unet_resnet50.")
    ],
    method: Annotated[
        str,
        typer.Option(help="The method: patchline, ft_full, ft_norm, ft_affine, ft_last or lst."),
    ] = "patchline",
    patches: Patches = None,
    wiring: Wiring = None,
    head: Head = None,
    size: Annotated[
        str,
        typer.Option(help="Side of the input in pixels, or its height and width as 240x320."),
    ] = "350",
    classes: Annotated[
        int, typer.Option(min=1, help="Number of classes that the model tells apart.")
    ] = 6,
    batch: Annotated[
        int, typer.Option(min=2, help="Pictures in a training step, for the memory.")
    ] = 8,
    epochs: Annotated[
        int,
        typer.Option(min=1, help="Epochs over which the cached frozen part is averaged."),
    ] = 20,
    json: Annotated[
        Path | None, typer.Option(help="File to write all figures to.", show_default="none")
    ] = None,
) -> None:
    """Count what a training step costs, beside fine-tuning and a ladder: FLOPs and memory."""
    from patchline_ros.cost.comparison import CostOptions, compare, write_json
    from patchline_ros.cost.table import print_comparison
    from patchline_ros.terminal import terminal

    # In a narrow terminal a long line is better than a figure without its last digits.
    console = terminal(width=max(100, shutil.get_terminal_size().columns))
    options = CostOptions(
        model, method, patches, wiring, head, size, classes=classes, batch=batch, epochs=epochs
    )
    with errors_in_a_sentence():
        with console.status("counting"):
            comparison = compare(options)
        # First the file: the table may go to a reader that stops reading.
        if json is not None:
            try:
                write_json(comparison, json)
            except OSError as error:
                fail(f"can't write {json}: {error.strerror}", USER_ERROR)
    print_comparison(comparison, console)
