"""The scenes of the benchmark by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from patchline_ros.bench import paper_scenes, sim_scenes
from patchline_ros.bench.camvid_scene import (
    camvid_dusk,
    camvid_dusk_future,
    camvid_dusk_to_tune,
)
from patchline_ros.bench.dawn_scene import dawn_fog
from patchline_ros.bench.made_scenes import MADE, made_drift
from patchline_ros.bench.scene import Scene, TaskScene
from patchline_ros.sim.defaults import SEVERITIES

__all__ = ["SCENES", "Scene", "TaskScene", "load_scene", "load_tuning_scene"]

SCENES: dict[str, Callable[[Path | None, int], Scene]] = {
    "camvid-dusk": camvid_dusk,
    "camvid-dusk-future": camvid_dusk_future,
    **{f"camvid-made-{family}": partial(made_drift, family) for family in MADE},
    "dawn-fog": dawn_fog,
    **{f"sim-{name}": partial(sim_scenes.sim_weather, name) for name in SEVERITIES},
    "core50-nc": paper_scenes.core50_nc,
    "core50-ni": paper_scenes.core50_ni,
    "core50-nic": paper_scenes.core50_nic,
    "sbd-plus": paper_scenes.sbd_plus,
    **{f"acdc-{name}": partial(paper_scenes.acdc, name) for name in paper_scenes.ACDC_DRIFTS},
    "smoke": sim_scenes.smoke,
}
"""Loaders by the scene's name; nothing is read before one is called."""

_TO_TUNE: dict[str, Callable[[Path | None, int], Scene]] = {"camvid-dusk": camvid_dusk_to_tune}
"""What is tuned on in scenes that test one seed on what another one adapts on."""


def load_scene(name: str, data: Path | None, seed: int = 0) -> Scene:
    """Loads a scene.

    Args:
        name: one of SCENES.
        data: the folder that holds the data sets; None for scenes of the simulated road.
        seed: draws what is drawn of the drift; the source is the same for every seed.

    Raises:
        ValueError: there is no such scene, or its data are missing or broken; says what to do.
    """
    if name not in SCENES:
        raise ValueError(f"there is no scene {name!r}; there are {', '.join(SCENES)}")
    return SCENES[name](data, seed)


def load_tuning_scene(name: str, data: Path | None, seed: int) -> Scene:
    """Loads a scene to tune on: none of its frames to adapt on is tested on with any seed.

    Args and errors are those of `load_scene`; its frames to test on are of no use.
    """
    return _TO_TUNE[name](data, seed) if name in _TO_TUNE else load_scene(name, data, seed)
