"""What every corruption promises, whichever it is."""

import numpy as np
import pytest

from patchline_ros.drift.corruptions import CORRUPTIONS, corrupt
from patchline_ros.tasks import Image


def scene(height: int, width: int) -> Image:
    """Coloured blocks with shading, away from black and white."""
    rng = np.random.default_rng(5)
    blocks = rng.integers(60, 200, (height // 5 + 1, width // 5 + 1, 3))
    picture = blocks.repeat(5, axis=0).repeat(5, axis=1)[:height, :width]
    return (picture + np.linspace(-20, 20, width)[None, :, None]).astype(np.uint8)


def distance(one: Image, other: Image) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("size", [(25, 27), (120, 160)])
def test_severity_orders_the_distance_from_the_clean_picture(
    name: str, size: tuple[int, int]
) -> None:
    clean = scene(*size)
    kept = clean.copy()
    steps = [corrupt(clean, name, s, np.random.default_rng(3)) for s in np.linspace(0, 1, 6)]
    assert all(step.shape == clean.shape and step.dtype == np.uint8 for step in steps)
    assert np.array_equal(steps[0], clean)
    distances = [distance(step, clean) for step in steps]
    assert distances == sorted(distances)
    assert len(set(distances)) == len(distances)
    assert distances[-1] > 8
    assert np.array_equal(clean, kept)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_slight_severity_is_near_the_clean_picture(name: str) -> None:
    clean = scene(60, 80)
    assert distance(corrupt(clean, name, 0.01, np.random.default_rng(0)), clean) < 3


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_generator_decides_the_result(name: str) -> None:
    clean = scene(40, 50)
    first = corrupt(clean, name, 0.7, np.random.default_rng(1))
    assert np.array_equal(first, corrupt(clean, name, 0.7, np.random.default_rng(1)))
    if name not in ("blur", "contrast"):
        assert not np.array_equal(first, corrupt(clean, name, 0.7, np.random.default_rng(2)))


@pytest.mark.parametrize("name", ["night", "dusk"])
def test_low_light_is_darker(name: str) -> None:
    clean = scene(40, 50)
    assert corrupt(clean, name, 1.0, np.random.default_rng(0)).mean() < 0.6 * clean.mean()


def test_the_smallest_picture_is_corrupted_too() -> None:
    for name in CORRUPTIONS:
        dot = np.full((1, 1, 3), 90, dtype=np.uint8)
        assert corrupt(dot, name, 1.0, np.random.default_rng(0)).shape == (1, 1, 3)


def test_bad_input_is_named() -> None:
    clean, rng = scene(10, 10), np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"'hail'.*night, dusk, fog"):
        corrupt(clean, "hail", 0.5, rng)
    for severity in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="from 0 to 1"):
            corrupt(clean, "fog", severity, rng)
    with pytest.raises(ValueError, match="float32"):
        corrupt(clean.astype(np.float32), "fog", 0.5, rng)
    with pytest.raises(ValueError, match=r"\(10, 10\)"):
        corrupt(clean[:, :, 0], "fog", 0.5, rng)
