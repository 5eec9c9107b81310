"""How a whole input becomes a spoiled one: changes of bytes, of numbers and of words in text."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, TypeAlias

_Change: TypeAlias = Callable[[Random, bytearray, Sequence[bytes]], None]
"""Changes data in place; the whole inputs are there to take pieces from."""

MOST_CHANGES: Final = 6
"""To one input."""
_LONGEST_PIECE: Final = 64
_LARGEST: Final = 4 << 20
"""Bytes of an input: what grows beyond is cut."""

_NUMBER: Final = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_NUMBERS: Final = (
    *(b"0", b"-1", b"1", b"2", b"255", b"256", b"2147483648", b"9223372036854775807"),
    *(b"9223372036854775808", b"18446744073709551615", b"18446744073709551616"),
    *(b"0.0", b"-0.0", b"1e308", b"1e309", b"-1e309", b"1e-320", b"NaN", b"Infinity", b".inf"),
    *(b"9" * 60, b"9" * 5000, b"10000000", b"300000000", b"0x10", b"1_0", b"1e5", b'"3"'),
)
_WORDS: Final = (
    *(b"null", b"true", b"[]", b"{}", b'""', b"[" * 3000, b"{" * 200, b'{"a":' * 2000, b"\x00"),
    *(b"../../x", b"/dev/stdin", b"\x1b[31m", b"[bold]", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800"),
    *(b"!!python/object:os.system", b"&a [*a]", b"*a", b"? ", b"---\n", b"'", b'"', b"\xc2\xb2"),
)
_WORD: Final = re.compile(rb'"[^"]{0,80}"|\b[A-Za-z_]{2,40}\b')
_WHOLE_NUMBERS: Final = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)


def mutated(rng: Random, whole: Sequence[bytes]) -> bytes:
    """One of the whole inputs with some changes."""
    data = bytearray(rng.choice(whole))
    for _ in range(rng.randint(1, MOST_CHANGES)):
        rng.choice(_CHANGES)(rng, data, whole)
        del data[_LARGEST:]
    return bytes(data)


def _place(rng: Random, data: bytearray) -> tuple[int, int]:
    """Where a piece begins and ends; most sizes stand at the begin of a file."""
    start = rng.randrange(len(data) + 1)
    if rng.random() < 0.4:
        start = min(start, rng.randrange(256))
    return start, min(len(data), start + rng.randint(1, _LONGEST_PIECE))


def _bit(rng: Random, data: bytearray, whole: Sequence[bytes]) -> None:
    start, end = _place(rng, data)
    if start < end:
        data[start] ^= 1 << rng.randrange(8)


def _bytes(rng: Random, data: bytearray, whole: Sequence[bytes]) -> None:
    start, end = _place(rng, data)
    data[start:end] = rng.randbytes(rng.randint(0, _LONGEST_PIECE))


def _gone(rng: Random, data: bytearray, whole: Sequence[bytes]) -> None:
    start, end = _place(rng, data)
    del data[start:end]


def _twice(rng: Random, data: bytearray, whole: Sequence[bytes]) -> None:
    start, end = _place(rng, data)
    data[start:start] = data[start:end] * rng.choice((1, 1, 2, 50))


def _cut(rng: Random, data: bytearray, whole: Sequence[bytes]) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _spliced(rng: Random, data: bytearray, whole: Sequence[bytes]) -> None:
    other = rng.choice(whole)
    start, end = _place(rng, data)
    first = rng.randrange(len(other) + 1)
    data[start:end] = other[first : first + rng.randint(1, 4 * _LONGEST_PIECE)]


def _size(rng: Random, data: bytearray, whole: Sequence[bytes]) -> None:
    start, _ = _place(rng, data)
    kind = rng.choice(("<B", "<H", ">H", "<I", ">I", "<Q", "<d"))
    number = rng.choice(_WHOLE_NUMBERS)
    if kind == "<d":
        packed = struct.pack(kind, rng.choice((float("nan"), float("inf"), -1e308, 1e-320)))
    else:
        packed = struct.pack(kind, number % 2 ** (8 * struct.calcsize(kind)))
    data[start : start + len(packed)] = packed


def _replaced(pattern: re.Pattern[bytes], others: Sequence[bytes]) -> _Change:
    def change(rng: Random, data: bytearray, whole: Sequence[bytes]) -> None:
        start = rng.randrange(len(data) + 1)
        found = pattern.search(data, start) or pattern.search(data)
        if found:
            data[found.start() : found.end()] = rng.choice(others)

    return change


_CHANGES: Final[tuple[_Change, ...]] = (
    _bit,
    _bytes,
    _gone,
    _twice,
    _cut,
    _spliced,
    _size,
    _replaced(_NUMBER, _NUMBERS),
    _replaced(_NUMBER, _NUMBERS),
    _replaced(_WORD, _WORDS),
)
