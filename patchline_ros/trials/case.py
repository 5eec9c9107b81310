"""What a case of `patchline trial faults` is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from patchline_ros.trials.trial_graph import TrialGraph

LIMIT_SECONDS: Final = 10.0

Fault = Callable[[TrialGraph], AbstractContextManager[None]]
"""Does the harm and waits until the graph has said what it should about it; while the `with` block
runs the recovery is measured, from `TrialGraph.over()`; at its end the harm is undone."""


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        name: unique, of small letters and hyphens.
        kind: process, message, file, disk or training.
        what: what is done, in a few words.
        fault: the function that does it.
        ends: processes that may end by it; no other may.
        limit_seconds: from the end of the fault until all works again.
    """

    name: str
    kind: str
    what: str
    fault: Fault
    ends: frozenset[str] = frozenset()
    limit_seconds: float = LIMIT_SECONDS
