"""`patchline record`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchline_ros.cli.errors import FAILURE, errors_in_a_sentence, fail
from patchline_ros.cli.ros import require_ros_domain
from patchline_ros.word_lists import comma_separated


def record(
    bag: Annotated[Path, typer.Argument(help="Folder of the bag (mcap); it must be new.")],
    topics: Annotated[
        str,
        typer.Option(
            help="Topics to record, with commas between them, such as /image_raw,/labelled_frames.",
            show_default="all",
        ),
    ] = "",
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, help="Seconds to record for.", show_default="until Ctrl-C"),
    ] = None,
) -> None:
    """Record topics of the graph into a bag that `replay`, `demo --frames` and rosbag2 read."""
    require_ros_domain()
    from patchline_ros.nodes.bag_recorder import RecordOptions
    from patchline_ros.nodes.record import record_bag
    from patchline_ros.terminal import terminal

    options = RecordOptions(bag, comma_separated(topics))
    with errors_in_a_sentence():
        try:
            record_bag(options, seconds, terminal())
        except OSError as error:
            fail(f"the disk refuses the bag: {error.strerror}; it ends before that", FAILURE)
