"""What a target of `tools/fuzz.py` is, and all of them."""

from __future__ import annotations

from typing import Final

from tools import fuzz_files, fuzz_messages, fuzz_sets
from tools.fuzz_decoder import Decoder, Target

__all__ = ["TARGETS", "Decoder", "Target"]

TARGETS: Final = (*fuzz_messages.TARGETS, *fuzz_files.TARGETS, *fuzz_sets.TARGETS)
