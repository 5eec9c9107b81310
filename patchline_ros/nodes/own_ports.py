"""Gives each start of a node ports in shared memory on which nobody can be deaf.

A process that is killed while Fast DDS takes a message from a port in shared memory can leave the
port looking healthy to those who send to it: the next process that listens there is deaf for good
(Fast DDS pull requests 4728 and 4737). A participant's number decides its ports, and Fast DDS takes
the lowest that is free, which is the number of the process that was killed. The ports of discovery
have other numbers, which nobody can choose; discovery also comes by UDP.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from patchline_ros.graph.description import PROFILE_VARIABLES
from patchline_ros.nodes.port_memory import is_listened_on, say_not_well

_SHARED_MEMORY: Final = Path("/dev/shm")
_KINDS: Final = ("fastdds", "fastrtps")
_PORT: Final = re.compile(rf"(?:{'|'.join(_KINDS)})_port(\d+)(?:_el)?")
_FIRST_PORT: Final = 7400
_PORTS_OF_DOMAIN: Final = 250
_UNICAST: Final = 10
"""A participant has the ports 10 + 2 n and 11 + 2 n of its domain (RTPS 2.5, section 9.6.2.3)."""
_PARTICIPANTS: Final = 32
"""Of a domain: where discovery stays on this machine, or peers are named, ROS 2 asks so many."""


def unused_participant(domain: int, names: Iterable[str], first: int) -> int | None:
    """The first number whose ports nobody has listened on, counted from `first` and round.

    Args:
        domain: ROS_DOMAIN_ID.
        names: of the files in shared memory.
        first: where to begin, so that processes that start at once find different ones.

    Returns:
        0 to 31; None: all were listened on.
    """
    base = _FIRST_PORT + _PORTS_OF_DOMAIN * domain + _UNICAST
    ports = [int(match[1]) for name in names if (match := _PORT.fullmatch(name))]
    used = {(port - base) // 2 for port in ports}
    return next((number for number in _numbers(first) if number not in used), None)


def given_up_participant(domain: int, folder: Path, first: int) -> int | None:
    """The first number on whose ports nobody listens any more, counted from `first` and round.

    The ports that its process left are said to be not well: whoever sends there opens them anew.

    Args:
        domain: ROS_DOMAIN_ID.
        folder: of the files in shared memory.
        first: as in `unused_participant`.

    Returns:
        0 to 31; None: all are in use, or their files can't be read.
    """
    base = _FIRST_PORT + _PORTS_OF_DOMAIN * domain + _UNICAST
    for number in _numbers(first):
        names = {f"{kind}_port{base + 2 * number + place}" for kind in _KINDS for place in (0, 1)}
        ports = [folder / name for name in names if (folder / name).exists()]
        if any(map(is_listened_on, ports)):
            continue
        if all(map(say_not_well, ports)):
            return number
    return None


def _numbers(first: int) -> Iterator[int]:
    return ((first + step) % _PARTICIPANTS for step in range(_PARTICIPANTS))


def numbered_profile(profile: bytes, number: int) -> bytes | None:
    """The same Fast DDS profiles, where the default participant has this number.

    Returns:
        None where there is no default participant, its number is said, or this is no XML.
    """
    try:
        root = ElementTree.fromstring(profile)
    except ElementTree.ParseError:
        return None
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    rtps = root.find(f".//{space}participant[@is_default_profile='true']/{space}rtps")
    name = f"{space}participantID"
    if rtps is None or rtps.find(name) is not None:
        return None
    ElementTree.SubElement(rtps, name).text = str(number)
    if space:
        ElementTree.register_namespace("", space.strip("{}"))
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


@contextmanager
def own_ports() -> Iterator[None]:
    """What is made of DDS within it first has ports that nobody has listened on before.

    Where there are no more such ports, it has those of a process that has ended, after everyone who
    sends there was told to open them anew.

    That needs a profile in the environment, as the launch files set it; without one, or where it
    can't be read, Fast DDS chooses as it does.
    """
    variable = next((name for name in PROFILE_VARIABLES if os.environ.get(name)), None)
    profile = _own_profile(Path(os.environ[variable])) if variable else None
    if variable is None or profile is None:
        yield
        return
    before = os.environ[variable]
    with tempfile.NamedTemporaryFile(prefix="patchline-", suffix=".xml") as file:
        file.write(profile)
        file.flush()
        os.environ[variable] = file.name
        try:
            yield
        finally:
            os.environ[variable] = before


def _own_profile(path: Path) -> bytes | None:
    domain = os.environ.get("ROS_DOMAIN_ID") or "0"
    if not domain.isdecimal() or not _SHARED_MEMORY.is_dir():
        return None
    number = unused_participant(int(domain), os.listdir(_SHARED_MEMORY), os.getpid())
    if number is None:
        number = given_up_participant(int(domain), _SHARED_MEMORY, os.getpid())
    try:
        return None if number is None else numbered_profile(path.read_bytes(), number)
    except OSError:
        return None
