"""`patchline replay`: a process that plays a bag until its end or Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from patchline_ros.datasets.bag import reading
from patchline_ros.graph.description import is_output, parse_remap
from patchline_ros.nodes.bag_player import LISTENER_SECONDS, BagPlayer, ReplayOptions, to_play
from patchline_ros.nodes.command import running


def replay_bag(options: ReplayOptions, remap: Sequence[str], console: Console) -> None:
    """Plays it, and says at the end what was sent.

    Args:
        options: what is played.
        remap: `FROM:=TO` for topics.
        console: for the progress.

    Raises:
        ValueError: a remapping that is none, or what BagPlayer raises.
        KeyboardInterrupt: it was stopped.
    """
    try:
        parse_remap(remap)
    except ValueError as error:
        raise ValueError(f"--remap {error}") from error
    # Before there is a node: a refusal has no DDS to end.
    to_play(options)
    rules = [argument for rule in remap for argument in ("-r", rule)]
    with running("bag_player", arguments=rules) as (node, stop):
        _play(BagPlayer(options, node), options, stop, console)
    if stop.is_set():
        raise KeyboardInterrupt


def _play(
    player: BagPlayer, options: ReplayOptions, stop: threading.Event, console: Console
) -> None:
    with reading(options.bag) as reader:
        seconds = reader.duration / 1e9 - options.start
    console.print(f"{options.bag}: {', '.join(player.topics)}")
    own = [topic for topic in player.topics if is_output(topic)]
    if own:
        console.print(
            f"a running graph publishes these itself: {', '.join(own)}; --topics chooses others"
        )
    if not player.heard():
        console.print(f"waiting for somebody to listen, {LISTENER_SECONDS:.0f} s at most")
    columns = (BarColumn(), TextColumn("{task.completed:.1f} of {task.total:.1f} s"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("", total=seconds)
        player.play(stop, lambda played: progress.update(bar, completed=played))
    heard = "" if player.heard() else "; nobody listened at the end"
    console.print(f"{player.sent} messages sent{heard}")
