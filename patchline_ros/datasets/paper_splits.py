"""Which pictures of the PatchLine paper's data sets are the source, and which are left for drift.

The paper gives counts and names sets; which pictures it drew, and which of the classes, it does not
say. Here is what is drawn instead, for bundles and benchmarks alike. Copies with fewer pictures
than the paper used give fewer of everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, TypeVar

import numpy as np

from patchline_ros.datasets import core50
from patchline_ros.datasets.core50 import Core50, Shot
from patchline_ros.datasets.sbd import Sbd

SOURCE_SEED = 0
"""Draws the source pictures, whatever the seed of a drift."""

CORE50_CATEGORIES = core50.CATEGORIES[:6]
"""The paper has 6 of the 10 and does not say which; these are the first."""
CORE50_SOURCE = (1800, 120)
"""Pictures to train on and held out (the paper's Table 3)."""
CORE50_SOURCE_SHARE = 5 / 6
"""Share of each video to train on; the rest is held out."""

KNOWN_SESSIONS, NEW_SESSIONS = (1, 2, 4, 5, 6, 8, 9, 11), (3, 7, 10)
"""CORe50's own split into sessions to train on and to test on."""
KNOWN_THINGS, NEW_THINGS = (0, 1, 2), (3, 4)
"""Places of the things among the five of their category."""

SBD_COUNTS = (3644, 912, 5469, 1366)
"""Source to train on and held out, drift to adapt on and to test on: 11391 pictures."""

_Item = TypeVar("_Item")


class SbdSplit(NamedTuple):
    """Places of pictures in Sbd, ascending; no picture is in two parts."""

    train: list[int]
    held_out: list[int]
    adapt: list[int]
    test: list[int]


def draw_sample(pool: Sequence[_Item], count: int, rng: np.random.Generator) -> list[_Item]:
    """`count` of the pool, or all of it where there are no more, in the pool's order."""
    chosen = rng.permutation(len(pool))[:count]
    return [pool[i] for i in sorted(chosen.tolist())]


def core50_things(places: Sequence[int]) -> dict[str, list[int]]:
    """The things at these places of their category, by category."""
    firsts = {
        category: 1 + core50.THINGS_PER_CATEGORY * core50.CATEGORIES.index(category)
        for category in CORE50_CATEGORIES
    }
    return {category: [first + place for place in places] for category, first in firsts.items()}


def core50_split(
    pictures: Core50,
    sessions: Sequence[int],
    places: Sequence[int],
    share: float,
    counts: tuple[int, int],
    seed: int,
) -> tuple[list[Shot], list[Shot]]:
    """Shots of the first `share` of each video, and of the rest; equally many of each category."""
    rng = np.random.default_rng(seed)
    parts: tuple[list[Shot], list[Shot]] = [], []
    for things in core50_things(places).values():
        pools: tuple[list[Shot], list[Shot]] = [], []
        for session in sessions:
            for thing in things:
                video = pictures.video(session, thing)
                cut = round(share * len(video))
                pools[0].extend(video[:cut])
                pools[1].extend(video[cut:])
        for shots, pool, count in zip(parts, pools, counts, strict=True):
            shots.extend(draw_sample(pool, count // len(CORE50_CATEGORIES), rng))
    return sorted(parts[0]), sorted(parts[1])


def core50_source_split(pictures: Core50) -> tuple[list[Shot], list[Shot]]:
    """The source to train on and held out: known things in known places."""
    return core50_split(
        pictures, KNOWN_SESSIONS, KNOWN_THINGS, CORE50_SOURCE_SHARE, CORE50_SOURCE, SOURCE_SEED
    )


def sbd_split(pictures: Sbd) -> SbdSplit:
    """40% of the paper's 11391 pictures for the source, 60% for the drift, drawn from all."""
    total = sum(SBD_COUNTS)
    fewer = min(len(pictures), total) / total
    counts = [int(count * fewer) for count in SBD_COUNTS]
    order = np.random.default_rng(SOURCE_SEED).permutation(len(pictures)).tolist()
    return SbdSplit(
        *(
            sorted(order[end - count : end])
            for end, count in zip(accumulate(counts), counts, strict=True)
        )
    )
