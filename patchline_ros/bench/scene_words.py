"""Scenes in words, for readers of results who know none of the data."""

from __future__ import annotations

from typing import Final, NamedTuple

_SIMULATED: Final = (
    "A simulated road, painted by this project: the networks know it in clear weather and must "
    "work in fog, rain and snow or at night."
)

MEANINGS: Final[dict[str, str]] = {
    "camvid-dusk": (
        "A real car in a town (the data set CamVid): the networks know its drives by day and must "
        "work on one at dusk, for roads and objects. Traffic signs are photographs of the data set "
        "GTSRB, made dark as at night."
    ),
    "dawn-fog": (
        "Photographs: the network knows vehicles in clear weather (Open Images) and must find them "
        "on roads in real fog (the data set DAWN)."
    ),
    **dict.fromkeys(("sim-fog", "sim-night", "sim-rain", "sim-snow"), _SIMULATED),
}
"""By scene; of others an experiment's own words must do."""


class DriveSplit(NamedTuple):
    """How a scene splits one drive into frames to adapt on and frames to test on."""

    drive: str
    name: str
    meaning: str


SPLITS: Final[dict[str, DriveSplit]] = {
    "camvid-dusk": DriveSplit(
        "camvid-dusk",
        "interleaved",
        "blocks of the drive alternate, so that adapting and testing see the same streets",
    ),
    "camvid-dusk-future": DriveSplit(
        "camvid-dusk",
        "future",
        "the first half of the drive is to adapt on and the second to test on, as on a road that "
        "was never driven before",
    ),
}
"""By scene, where the same drive is split in more than one way."""


def in_words(scene: str, about: str) -> str:
    """What happens in a scene.

    Args:
        scene: its name.
        about: what is said of a scene that is not known here.
    """
    split = SPLITS.get(scene)
    return MEANINGS.get(split.drive if split else scene, about)


def split_in_words(scene: str) -> str:
    """How a scene splits its drive; empty where there is no other way."""
    split = SPLITS.get(scene)
    return f"*{split.name.capitalize()}*: {split.meaning}." if split else ""
