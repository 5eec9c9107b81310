"""`patchline demo`."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from patchline_ros.cli.errors import errors_in_a_sentence, treat_sigterm_as_ctrl_c
from patchline_ros.cli.ros import require_ros

Frames = Annotated[
    Path | None,
    typer.Option(
        help="A recorded drive in place of the simulated road: a folder (CamVid's layout or plain "
        "pictures), a video, or a ROS bag. Frames that the bundle was trained on are left out."
    ),
]
Then = Annotated[
    Path | None,
    typer.Option(
        help="The recording after the change. Without it, the second half of --frames is played "
        "as if in --condition."
    ),
]
NO_LABELS = Path("none")
"""In place of a folder; one of this name is given by its absolute path."""
Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="none|FOLDER",
        help="The word none: the car gets no labels, and only the patches that its bundle brings "
        "answer the change; the report still measures with the labels. A folder: class maps for "
        "the recording after the change, where it has none of its own.",
    ),
]
Signs = Annotated[
    Path | None,
    typer.Option(
        help="Folder of sign pictures in GTSRB's layout, to go with --frames.",
        show_default="the folder gtsrb beside that of --frames",
    ),
]
Topic = Annotated[
    str | None,
    typer.Option(
        help="Topic of the pictures, where --frames and --then are bags.",
        show_default="the first that has pictures of colour",
    ),
]
Bundle = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the bundle whose models start the drive.",
        show_default="the shipped one for the simulated road, bundles/camvid for --frames",
    ),
]
Condition = Annotated[
    str, typer.Option(help="The condition after the change: fog, night, rain or snow.")
]
Rate = Annotated[float, typer.Option(help="Frames a second that the camera publishes.")]
Seed = Annotated[int, typer.Option(help="Seed of everything that is drawn at random.")]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder for the report; it must be new or empty.",
        show_default="runs/demo-DATE-TIME",
    ),
]


def demo(
    frames: Frames = None,
    then: Then = None,
    labels: Labels = None,
    signs: Signs = None,
    topic: Topic = None,
    bundle: Bundle = None,
    condition: Condition = "fog",
    rate: Rate = 6.0,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Drive through a change of conditions, adapt, and write a report.

    Starts the whole ROS graph as separate processes and stops it again.
    """
    require_ros()
    from patchline_ros.demo.failure import DemoFailedError
    from patchline_ros.demo.options import DemoOptions, check_options
    from patchline_ros.graph.processes import ProcessDiedError
    from patchline_ros.package_share import share_folder
    from patchline_ros.terminal import terminal

    treat_sigterm_as_ctrl_c()
    with errors_in_a_sentence(
        interrupted="interrupted; every process was stopped",
        failures=(DemoFailedError, ProcessDiedError),
    ):
        options = DemoOptions(
            out=out or Path("runs") / time.strftime("demo-%Y%m%d-%H%M%S"),
            bundle=bundle,
            frames=frames,
            then=then,
            labels=None if labels == NO_LABELS else labels,
            no_labels=labels == NO_LABELS,
            signs=signs,
            topic=topic,
            condition=condition,
            rate_hz=rate,
            seed=seed,
        )
        check_options(options)
        # Wrong options are told before what takes seconds to import.
        from patchline_ros.demo.demo_run import run_demo

        command = shlex.join(["patchline", *sys.argv[1:]])
        run_demo(options, share_folder(), command, terminal())
