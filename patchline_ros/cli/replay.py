"""`patchline replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchline_ros.cli.errors import errors_in_a_sentence
from patchline_ros.cli.ros import require_ros_domain
from patchline_ros.word_lists import comma_separated


def replay(
    bag: Annotated[Path, typer.Argument(help="Folder or file of a ROS 2 bag, sqlite3 or mcap.")],
    topics: Annotated[
        str,
        typer.Option(
            help="Topics to play, with commas between them, such as /image_raw,/labelled_frames.",
            show_default="all",
        ),
    ] = "",
    rate: Annotated[
        float, typer.Option(min=0.01, max=100, help="Seconds of the recording played a second.")
    ] = 1.0,
    start: Annotated[
        float, typer.Option(min=0, help="Seconds of the recording to skip at its start.")
    ] = 0.0,
    loop: Annotated[
        bool, typer.Option("--loop", help="Play from the start again at the end, until Ctrl-C.")
    ] = False,
    clock: Annotated[
        bool, typer.Option(help="Publish the time of the recording on /clock.")
    ] = True,
    remap: Annotated[
        list[str] | None,
        typer.Option(
            help="Another name for a topic, FROM:=TO, such as /cam:=/camera/color/image_raw; may "
            "be given several times."
        ),
    ] = None,
) -> None:
    """Play a bag into the graph: raw messages with their stamps, and /clock.

    Start the nodes with use_sim_time, so that they take the time of the recording.
    """
    require_ros_domain()
    from patchline_ros.nodes.bag_player import ReplayOptions
    from patchline_ros.nodes.replay import replay_bag
    from patchline_ros.terminal import terminal

    options = ReplayOptions(bag, comma_separated(topics), rate, start, loop, clock)
    with errors_in_a_sentence():
        replay_bag(options, remap or [], terminal())
