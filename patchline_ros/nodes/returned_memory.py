"""Has DDS give back what a message has taken of memory, once it was read.

By default ROS 2 keeps the place of each message for the next one, as large as the largest that was
ever there: who sends a few enormous messages fills a node's memory for good.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from patchline_ros.graph.description import PROFILE_VARIABLES

_ASKS_PROFILES: Final = "RMW_FASTRTPS_USE_QOS_FROM_XML"
"""At 1 ROS 2 leaves to Fast DDS's profiles what it does not say itself, this policy too."""
_ENDPOINTS: Final = ("data_writer", "data_reader")


@contextmanager
def memory_given_back() -> Iterator[None]:
    """What is made of DDS within it gives memory back.

    That needs a profile in the environment whose default writer and reader say so, as
    `config/fastdds.xml` does. Elsewhere, and where somebody has chosen, nothing is changed.
    """
    variable = next((name for name in PROFILE_VARIABLES if os.environ.get(name)), None)
    chosen = os.environ.get(_ASKS_PROFILES) is not None
    if variable is None or chosen or not _gives_back(Path(os.environ[variable])):
        yield
        return
    os.environ[_ASKS_PROFILES] = "1"
    try:
        yield
    finally:
        del os.environ[_ASKS_PROFILES]


def _gives_back(profile: Path) -> bool:
    try:
        root = ElementTree.parse(profile).getroot()
    except (ElementTree.ParseError, OSError):
        return False
    return all(
        root.findtext(f".//{{*}}{kind}[@is_default_profile='true']/{{*}}historyMemoryPolicy")
        == "DYNAMIC"
        for kind in _ENDPOINTS
    )
