"""How files are damaged."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

Spoil: TypeAlias = Callable[[bytes], bytes]
"""What makes a damaged file of a whole one."""

GARBAGE: Final = np.random.default_rng(1).integers(0, 256, 3000, dtype=np.uint8).tobytes()


def half(data: bytes) -> bytes:
    """The first half of a file."""
    return data[: len(data) // 2]


def garbage(_: bytes) -> bytes:
    """Bytes that were drawn by chance."""
    return GARBAGE


def nothing(_: bytes) -> bytes:
    """An empty file."""
    return b""


def pickled_objects(_: bytes) -> bytes:
    """A stored frame whose arrays would have to be unpickled."""
    buffer = io.BytesIO()
    np.savez(buffer, image=np.array([{}], dtype=object), sign=np.array(1))
    return buffer.getvalue()


@contextmanager
def spoiled(path: Path, spoil: Spoil | None) -> Iterator[None]:
    """Damages the file while the block runs, or takes it away where `spoil` is None.

    A file that is not there is made, of no bytes, and taken away afterwards.
    """
    whole = path.read_bytes() if path.is_file() else None
    try:
        if spoil is None:
            path.unlink()
        else:
            path.write_bytes(spoil(whole or b""))
        yield
    finally:
        if whole is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(whole)
