"""The car's graph in the foreground of a shell, where there is no `ros2 launch`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from patchline_ros.graph.description import GraphSettings, command, describe, environment
from patchline_ros.graph.processes import Processes, installed_prefix

_LOOK_SECONDS: Final = 0.2


def run_car(settings: GraphSettings, profile: Path) -> None:
    """Starts the processes of the car, which write where this one does, until Ctrl-C ends them.

    Args:
        settings: of the graph.
        profile: of Fast DDS, for large pictures.

    Raises:
        ProcessDiedError: one ended by itself; the others are ended, too.
        OSError: one can't be started.
    """
    prefix = installed_prefix()
    with Processes(None, environment(profile)) as processes:
        try:
            for node in describe(settings):
                processes.start(node.name, command(node, settings, prefix))
            while True:
                processes.check()
                time.sleep(_LOOK_SECONDS)
        except KeyboardInterrupt:
            return
