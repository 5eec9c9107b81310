"""What Fast DDS keeps of a port in shared memory, written for processes that have ended.

A port is a file `fastdds_portN`, in Fast DDS 2 `fastrtps_portN`. It begins with a record that says
whether the port is well, and how each listener is (`PortNode` in its SharedMemGlobal.hpp, the same
in the versions 2.6 to 3.6). Who sends keeps the file open for good, also when it was removed, and
opens another one only where the record says that this one is not well.
"""

from __future__ import annotations

import fcntl
import mmap
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"(fastdds|fastrtps)_port(\d+)")
_COUNTS: Final = struct.Struct("<6I")
"""Port, listeners, limit of its health check and of a wait (ms), places, who waits."""
_WAITS_A_CHECK: Final = 3
_HEALTHY: Final = 0b1
_LISTENERS: Final = 1024
_LISTENER_BYTES: Final = 20
_IN_USE: Final = 0b1


@dataclass(frozen=True)
class _Places:
    """Offsets in the file: the count of who waits, the port's flags, the first listener's flags."""

    waiting: int
    health: int
    listener: int


def is_listened_on(port: Path) -> bool:
    """Whether a process listens there: it locks a file beside the port as long as it lives."""
    try:
        with port.with_name(f"{port.name}_el").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def say_not_well(port: Path) -> bool:
    """Has everyone who sends there open the port anew; nobody may listen there any more.

    Returns:
        False where the file can't be read, or is laid out in another way: nothing was changed.
    """
    with _opened(port) as (memory, places):
        if memory is None or places is None:
            return False
        memory[places.health] &= ~_HEALTHY & 0xFF
    return True


def leave_between_messages(port: Path) -> bool:
    """The state in which a process is killed that neither waits for a message nor reads one.

    No health check of Fast DDS finds such a listener dead (its pull requests 4728 and 4737).

    Returns:
        False where the file can't be read, is laid out in another way, or has no listener.
    """
    with _opened(port) as (memory, places):
        if memory is None or places is None or not memory[places.listener] & _IN_USE:
            return False
        memory[places.listener] = _IN_USE
        memory[places.waiting : places.waiting + 4] = bytes(4)
    return True


@contextmanager
def _opened(port: Path) -> Iterator[tuple[mmap.mmap | None, _Places | None]]:
    try:
        file = port.open("r+b")
    except OSError:
        yield None, None
        return
    with file:
        try:
            memory = mmap.mmap(file.fileno(), 0)
        except (OSError, ValueError):  # a file that is still empty
            yield None, None
            return
        with memory:
            yield memory, _places(memory, port.name)


def _places(memory: mmap.mmap, name: str) -> _Places | None:
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    number = struct.pack("<I", int(match[2]))
    # The record ends with the first half of the file's name, right behind its listeners.
    listener = memory.find(match[1].encode() + b"\0") - _LISTENERS * _LISTENER_BYTES
    start = memory.find(number)
    while 0 <= start < listener - _COUNTS.size:
        _, _, check_ms, wait_ms, places, _ = _COUNTS.unpack_from(memory, start)
        if check_ms and places and wait_ms == check_ms // _WAITS_A_CHECK:
            health = start + _COUNTS.size
            return _Places(health - 4, health, listener)
        start = memory.find(number, start + 1)
    return None
