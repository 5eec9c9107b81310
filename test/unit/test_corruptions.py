"""What every corruption promises, whichever it is."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from patchline_ros.drift.corruptions import (
    CORRUPTIONS,
    FAMILIES,
    GRADED_SETS,
    corrupt,
    corruptions_of,
)
from patchline_ros.drift.kernels import median_bandwidth
from patchline_ros.drift.mmd import mmd2
from patchline_ros.tasks import Image


def scene(height: int, width: int, seed: int = 5) -> Image:
    """Coloured blocks with shading, away from black and white."""
    rng = np.random.default_rng(seed)
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


def test_without_severity_the_picture_comes_back_as_a_copy() -> None:
    clean = np.full((4, 5, 3), 7, np.uint8)
    same = corrupt(clean, "fog", 0.0, np.random.default_rng(0))
    assert np.array_equal(same, clean)
    assert not np.shares_memory(same, clean)


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


def distances_of_graded_sets(
    clean: list[Image], features: Callable[[Image], np.ndarray]
) -> list[float]:
    """MMD^2 of each graded set, made of every second picture, from the other pictures."""
    raw = np.stack([features(picture) for picture in clean[::2]])
    mean, scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-3)
    reference = (raw - mean) / scale
    bandwidth = median_bandwidth(reference)
    values = []
    for name, severity in GRADED_SETS:
        rng = np.random.default_rng(0)
        drifted = np.stack([features(corrupt(p, name, severity, rng)) for p in clean[1::2]])
        values.append(mmd2((drifted - mean) / scale, reference, bandwidth))
    return values


def test_each_corruption_belongs_to_one_family() -> None:
    names = [name for family in FAMILIES for name in corruptions_of(family)]
    assert sorted(names) == sorted(CORRUPTIONS)


def test_the_graded_sets_are_18_and_stronger_with_severity_within_each_kind() -> None:
    assert len(set(GRADED_SETS)) == len(GRADED_SETS) == 18
    kinds = dict.fromkeys(name for name, _ in GRADED_SETS)
    # They were found after the sets were graded, and patches are prepared on them, too.
    assert set(CORRUPTIONS) - set(kinds) == {"twilight", "haze"}

    def light(picture: Image) -> np.ndarray:
        """Means and deviations of the channels, and of their changes from pixel to pixel."""
        pixels = picture.astype(np.float32)
        layers = [pixels, np.diff(pixels, axis=0), np.diff(pixels, axis=1)]
        return np.concatenate([f(layer, (0, 1)) for layer in layers for f in (np.mean, np.std)])

    values = distances_of_graded_sets([scene(48, 64, seed) for seed in range(60)], light)
    for kind in kinds:
        of_kind = [
            (severity, value)
            for (name, severity), value in zip(GRADED_SETS, values, strict=True)
            if name == kind
        ]
        assert len(of_kind) >= 2
        assert of_kind == sorted(of_kind)
        assert [value for _, value in of_kind] == sorted(value for _, value in of_kind)


Features = Callable[[Image], np.ndarray]


@pytest.fixture(scope="module")
def imagenet_features(data_root: Path) -> Features:
    """Pooled features of a picture, as a drift monitor with ImageNet weights sees it."""
    from patchline_ros.vision.backbone import pooled
    from patchline_ros.vision.torchvision_backbones import cut_backbone, read_weights

    weights = data_root / "weights" / "mobilenet_v2_imagenet.npz"
    if not weights.is_file():
        pytest.skip(f"{data_root} has no MobileNetV2 weights")
    backbone = cut_backbone("mobilenet_v2", weights=read_weights(weights)).backbone.eval()

    def features(picture: Image) -> np.ndarray:
        normal = (picture / 255.0 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
        image = torch.from_numpy(normal.astype(np.float32).transpose(2, 0, 1))
        with torch.inference_mode():
            return pooled(backbone.tap(image[None], 3))[0].numpy()

    return features


def drive(data_root: Path, part: str, count: int) -> list[Image]:
    """Small pictures of CamVid, evenly over a drive."""
    return pictures_in(data_root / "camvid" / part / "images", count)


def pictures_in(folder: Path, count: int) -> list[Image]:
    pictures = sorted(folder.glob("*.jpg"))
    if not pictures:
        pytest.skip(f"there are no pictures in {folder}")
    chosen = [pictures[i] for i in np.linspace(0, len(pictures) - 1, count).astype(int)]
    return [
        cv2.resize(cv2.imread(str(p))[:, :, ::-1], (160, 120), interpolation=cv2.INTER_AREA)
        for p in chosen
    ]


def test_the_graded_sets_span_the_papers_range_on_real_pictures(
    data_root: Path, imagenet_features: Features
) -> None:
    values = distances_of_graded_sets(drive(data_root, "day", 24), imagenet_features)
    assert values[0] < 0.15
    assert values[-1] > 1.25
    assert spearmanr(values, range(18)).statistic > 0.95


def distances_to(
    real: list[Image], clear: list[Image], features: Features
) -> Callable[[str, float], float]:
    """MMD^2 of a corruption of the clear pictures from the real drift, as a monitor measures it."""
    raw = np.stack([features(picture) for picture in clear])
    mean, scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-3)
    bandwidth = median_bandwidth((raw - mean) / scale)
    drift = (np.stack([features(picture) for picture in real]) - mean) / scale

    def of(name: str, severity: float) -> float:
        rng = np.random.default_rng(0)
        made = np.stack([features(corrupt(p, name, severity, rng)) for p in clear])
        return mmd2((made - mean) / scale, drift, bandwidth)

    return of


def test_twilight_is_nearer_to_a_real_dusk_than_the_day_and_a_dark_sensor_are(
    data_root: Path, imagenet_features: Features
) -> None:
    day, dusk = drive(data_root, "day", 24), drive(data_root, "dusk", 24)
    to_dusk = distances_to(dusk, day, imagenet_features)
    of_day, of_twilight = to_dusk("twilight", 0.0), to_dusk("twilight", 0.7)
    assert of_twilight < 0.75 * of_day
    for dark in (("dusk", 0.5), ("dusk", 1.0), ("night", 0.6)):
        assert of_twilight < to_dusk(*dark), dark


def test_haze_is_nearer_to_real_fog_than_fog_and_low_contrast_are(
    data_root: Path, imagenet_features: Features
) -> None:
    day, fog = drive(data_root, "day", 24), pictures_in(data_root / "dawn_fog" / "images", 24)
    to_fog = distances_to(fog, day, imagenet_features)
    of_haze = to_fog("haze", 0.7)
    for other in (("haze", 0.0), ("fog", 0.5), ("fog", 1.0), ("contrast", 0.75), ("contrast", 1.0)):
        assert of_haze < 0.8 * to_fog(*other), other


def test_in_haze_the_near_road_stays_and_what_is_far_goes() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    found = corrupt(picture, "haze", 0.5, np.random.default_rng(0))
    left = found.std(axis=(1, 2)) / picture.std(axis=(1, 2))
    assert left[:18].max() < 0.25
    assert left[-3:].min() > 0.5


def test_in_twilight_a_bright_sky_stays_and_the_ground_sinks() -> None:
    picture = np.full((40, 40, 3), 240, dtype=np.uint8)
    picture[20:] = 70
    found = corrupt(picture, "twilight", 1.0, np.random.default_rng(0))
    assert found[:15].mean() > 180
    assert found[25:].mean() < 30
