"""The size of an encoded picture, read from its header: it is known before anything is decoded."""

from __future__ import annotations

import re
from typing import Final

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG that begin a frame header; the three are tables in the same range."""
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a length behind them."""
_LAST: Final = frozenset({0xD9, 0xDA})
"""Markers behind which no frame header can come: the end, and the first scan."""

_MARKER: Final = re.compile(rb"\xff([^\xff])", re.DOTALL)
"""Fill bytes before it are of no matter; a pattern that takes them in would be slow on many."""
_MOST_MARKERS: Final = 1000
"""Before the frame header, so that no data keep us busy; a picture has a dozen."""


def encoded_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels; None for what is neither PNG nor JPEG, or lacks its header."""
    if data.startswith(_PNG) and data[12:16] == b"IHDR" and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return _jpeg_size(data) if data.startswith(_JPEG) else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Goes from marker to marker as decoders do: bytes between two segments are passed over."""
    place = 2
    for _ in range(_MOST_MARKERS):
        found = _MARKER.search(data, place)
        if found is None or (marker := found[1][0]) in _LAST:
            return None
        place = found.end()
        if marker in _FRAMES:
            height, width = data[place + 3 : place + 5], data[place + 5 : place + 7]
            return (int.from_bytes(width, "big"), int.from_bytes(height, "big")) if width else None
        if marker and marker not in _ALONE:
            place += max(2, int.from_bytes(data[place : place + 2], "big"))
    return None
