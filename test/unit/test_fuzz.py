"""Spoiled inputs for everything that reads bytes from outside; the long run is `tools/fuzz.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="the decoders of messages need ROS 2's Python packages")
pytest.importorskip("rosbags", reason="bags need the package rosbags")

from tools.fuzz import MOST_MIB, Part, finds, tried
from tools.fuzz_decoder import Decoder
from tools.fuzz_targets import TARGETS, Target

INPUTS = 150


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_spoiled_inputs_raise_documented_errors_alone(target: Target, tmp_path: Path) -> None:
    decoder = target.open(tmp_path)
    for whole in decoder.whole:
        # Else every spoiled one would be refused at its first byte.
        decoder.decode(whole)
    found = [f"{find.number}: {find.what}" for find in finds(Part(target, 0, range(INPUTS)))]
    assert found == []


def _bad(data: bytes) -> None:
    kind = data[0] % 5
    if kind == 0:
        raise KeyError("undocumented")
    if kind == 1:
        bytearray(2 * MOST_MIB << 20)
    if kind == 2:
        import ctypes

        ctypes.string_at(0)
    if kind == 3:
        while True:
            pass


def _opened(folder: Path) -> Decoder:
    return Decoder(_bad, (ValueError,), [bytes([kind]) for kind in range(5)])


def test_the_fuzzer_finds_what_may_not_be() -> None:
    """Another exception, too much memory, a dead process and one that does not come back."""
    target = Target("bad", _opened)
    found = " ".join(find.what for find in finds(Part(target, 1, range(24))))
    for what in ("KeyError", "MemoryError", "died of SIGSEGV", "more than 2 s"):
        assert what in found
    assert tried(Decoder(_bad, (KeyError,), []), b"\x00") == ""
