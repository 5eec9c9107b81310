"""Predictors of the number of patches: what they read, how they are trained, kept and compared."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from vgg16_reader import image_reader

from patchline_ros.adaptation.patch_count import patches_for
from patchline_ros.adaptation.predictor import DriftedSet, NetworkPredictor
from patchline_ros.adaptation.predictor_file import MOST_BYTES, PredictorError, from_bytes, to_bytes
from patchline_ros.adaptation.readers import ImageReader, TapReader
from patchline_ros.cost.flops import FlopCounter
from patchline_ros.drift.mmd import mmd2
from patchline_ros.offline.classifier_training import train_classifier
from patchline_ros.offline.patch_table import learn_patch_table, smallest_sufficient
from tools.predictor_study import (
    OneLabelError,
    TablePredictor,
    compare_predictors,
)

CHANNELS = (3, 4, 5)
"""Of the taps of an imagined backbone with two groups."""
WIDTH = 2 * sum(CHANNELS)
FRAMES = 12


def source(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(2, 3, (40, WIDTH)).astype(np.float32)


def tap_reader() -> TapReader:
    return TapReader.from_source(CHANNELS, source())


def drifted_set(shallow: float, deep: float, seed: int) -> DriftedSet:
    """Frames whose stem tap and deepest tap have moved by so many source deviations.

    The pictures get brighter with the first and bluer with the second.
    """
    rng = np.random.default_rng(seed)
    features = rng.normal(2, 3, (FRAMES, WIDTH)).astype(np.float32)
    features[:, :6] += 3 * shallow
    features[:, -10:] += 3 * deep
    images = rng.integers(0, 40, (FRAMES, 32, 40, 3)) + 60 * shallow
    images[..., 2] += 60 * deep
    # The monitor watches one tap, on which both show alike.
    total = (shallow + deep) / 4 + 0.01 * rng.normal()
    return DriftedSet(list(images.clip(0, 255).astype(np.uint8)), features, float(total))


GRID = [(s, d) for s in (0.0, 0.7, 1.4) for d in (0.0, 0.7, 1.4)]
DRIFTS = [(s, d, seed) for seed in (0, 1) for s, d in GRID]
"""18 sets, as in the paper."""


def needed(shallow: float, deep: float) -> int:
    """What only the deep tap shows needs more patches than what the shallow one shows too."""
    return 0 if shallow == deep == 0 else 2 if deep > shallow else 1


def test_the_patch_table_is_monotone_and_follows_its_data() -> None:
    table = learn_patch_table([0.1, 0.2, 0.5, 0.9, 1.2], [1, 1, 4, 3, 7])
    counts = [patches_for(table, value) for value in np.linspace(0, 2, 50)]
    assert counts == sorted(counts)
    assert [patches_for(table, value) for value in (0.0, 0.3, 0.6, 5.0)] == [1, 1, 4, 7]
    assert smallest_sufficient({1: 0.50, 3: 0.695, 5: 0.70, 7: 0.69}, margin=0.01) == 3
    # A number that is just good enough is enough.
    assert smallest_sufficient({1: 0.25, 3: 0.5, 7: 0.75}, margin=0.25) == 3
    assert TablePredictor(table).predict(replace(drifted_set(0, 0, 0), mmd2=0.05)) == 0
    with pytest.raises(ValueError, match="pairs"):
        learn_patch_table([], [])
    with pytest.raises(ValueError, match="not finite"):
        learn_patch_table([0.1, float("nan")], [1, 2])
    with pytest.raises(ValueError, match="not a number"):
        patches_for(table, float("nan"))
    with pytest.raises(ValueError, match="with 3 patches is not finite"):
        smallest_sufficient({1: 0.5, 3: float("nan")}, 0.01)


def test_the_tap_reader_reads_each_taps_drift() -> None:
    reader = tap_reader()
    drifted = drifted_set(0.0, 1.4, 5)
    numbers = reader.read(drifted, range(FRAMES)).numpy()
    assert numbers.shape == (FRAMES, reader.width)
    raw = source()
    mean, scale = raw.mean(axis=0), raw.std(axis=0)
    own, theirs = (raw - mean) / scale, (drifted.features - mean) / scale
    deepest = slice(WIDTH - 10, WIDTH)
    width = float(reader.bandwidths[2])
    assert numbers[:, 2] == pytest.approx(
        mmd2(theirs[:, deepest], own[:, deepest], width), abs=1e-5
    )
    assert numbers[0, 2] > 5 * abs(numbers[0, 0])
    distance = np.sqrt((theirs[:, WIDTH - 5 :] ** 2).mean(axis=1))
    assert numbers[:, -1] == pytest.approx(np.log1p(distance), rel=1e-4)
    # Fewer frames are read as they would be among all; the MMD^2 stays that of the whole set.
    assert np.array_equal(reader.read(drifted, [7, 3]), numbers[[7, 3]])


def test_the_light_predictor_beats_the_table_on_sets_that_were_held_out() -> None:
    sets = [drifted_set(*drift) for drift in DRIFTS]
    labels = [needed(s, d) for s, d, _ in DRIFTS]
    readers = {"light": tap_reader()}
    study = compare_predictors(sets, labels, readers, groups=2, seed=0)
    assert list(study.scores) == list(study.predictors) == ["table", "light"]
    table, light = study.scores["table"], study.scores["light"]
    assert light.accuracy >= 0.85
    assert light.accuracy > table.accuracy + 0.2
    assert light.mean_absolute_error < table.mean_absolute_error
    hits = np.equal(light.predicted, labels)
    assert light.accuracy == pytest.approx(hits.mean())
    # A set that was held out is told from the others only, so that it does not matter how often
    # the comparison is made, nor what the global random state is.
    torch.manual_seed(99)
    again = compare_predictors(sets, labels, readers, groups=2, seed=0)
    assert again.scores == study.scores
    assert study.gflops("table") == 0
    assert 0 < study.gflops("light") < 1e-4


def test_every_set_is_predicted_without_having_been_seen() -> None:
    # Two sets with the labels 0 and 2: each alone teaches only its own label, which is wrong for
    # the other.
    sets = [drifted_set(0.0, 0.0, 1), drifted_set(0.0, 1.4, 2)]
    readers = {"light": tap_reader(), "paper": image_reader()}
    study = compare_predictors(sets, [0, 2], readers, groups=2, seed=0)
    assert {name: score.predicted for name, score in study.scores.items()} == {
        "light": [2, 0],
        "paper": [2, 0],
        # Below the least drift that it knows, the table says 0.
        "table": [0, 0],
    }
    assert study.scores["paper"].mean_absolute_error == 2.0
    assert study.gflops("paper") > 1e-3
    learnt = [study.predictors[name] for name in ("light", "paper")]
    assert [predictor.predict(s) for predictor in learnt for s in sets] == [0, 2] * 2


def test_vgg16_costs_what_the_whole_of_it_costs_less_its_own_dense_layers() -> None:
    with torch.device("meta"):
        reader = ImageReader(None)
        with FlopCounter() as flops:
            reader.backbone(torch.empty(1, 3, 350, 350))
    assert flops.total / 1e9 == pytest.approx(73.6 - 0.24, abs=0.05)


def test_the_papers_predictor_reads_a_tenth_of_the_frames() -> None:
    reader = image_reader()
    predictor = NetworkPredictor(
        reader, train_classifier([torch.zeros(2, reader.width)], [1], 3, reader.hidden, 0)
    )
    assert [type(layer).__name__ for layer in predictor.classifier.layers].count("Linear") == 3
    drifted = drifted_set(0.7, 0.0, 3)
    seen: list[int] = []
    reader.backbone.register_forward_hook(lambda _, images, __: seen.append(len(images[0])))
    predictor.predict(drifted)
    assert seen == [2]
    assert reader.read(drifted, [4]).shape == (1, 32)


def with_header(text: str) -> bytes:
    """A file that is nothing but a header."""
    return len(text).to_bytes(8, "little") + text.encode()


def claiming(**facts: object) -> bytes:
    """A file without tensors whose header says the most of itself."""
    light = {"outputs": 3, "hidden": [], "reads": "taps", "widths": [4], "source_frames": 2}
    predictor = json.dumps({"predictor": {**light, **facts}})
    return with_header(json.dumps({"__metadata__": {"patchline_predictor": predictor}}))


@pytest.mark.parametrize("kind", ["light", "paper"])
def test_a_predictor_comes_back_from_its_file(kind: str) -> None:
    reader = tap_reader() if kind == "light" else image_reader()
    sets = [drifted_set(*drift) for drift in DRIFTS[:9]]
    inputs = [reader.read(s, range(FRAMES)) for s in sets]
    labels = [needed(s, d) for s, d, _ in DRIFTS[:9]]
    predictor = NetworkPredictor(reader, train_classifier(inputs, labels, 3, reader.hidden, 0))
    data = to_bytes(predictor)
    state = torch.random.get_rng_state()
    again = from_bytes(data)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert to_bytes(again) == data
    assert [again.predict(s) for s in sets] == [predictor.predict(s) for s in sets]
    # What a car needs is in it.
    assert (b"backbone" in data) is (kind == "paper")
    for broken, message in [
        (b"", "not a safetensors file"),
        (data[:-9], "can't be read"),
        (data.replace(b"patchline_predictor", b"patchline_something"), "holds no patch predictor"),
        (data.replace(b'\\"format\\":1', b'\\"format\\":2'), "format"),
        (data.replace(b'"classifier.mean"', b'"classifier.maen"'), "2 tensors are missing or unk"),
        (data.replace(b'\\"outputs\\":3', b'\\"outputs\\":4'), "the predictor needs"),
        (data + b" " * MOST_BYTES, "bytes; a patch predictor has"),
        ((2**40).to_bytes(8, "little") + data[8:], "its header does not fit"),
        (with_header("[" * 50_000), "holds no patch predictor"),
        (with_header('{"__metadata__": {"patchline_predictor": []}}'), "the whole file"),
        (claiming(source_frames=2**20, widths=[2**20] * 100), "tensors are missing"),
        (claiming(source_frames=2**62), "source_frames: .*less than or equal"),
        (claiming(widths=[2] * 1000), "widths: .*should have at most 100 items"),
        (claiming(hidden=[1] * 1000), "hidden: .*should have at most 8 items"),
    ]:
        assert broken != data
        with pytest.raises(PredictorError, match=message):
            from_bytes(broken)
    with torch.no_grad():
        predictor.classifier.scale[0] = 0
    with pytest.raises(PredictorError, match=r"classifier\.scale has values that are not above 0"):
        from_bytes(to_bytes(predictor))
    with torch.no_grad():
        predictor.classifier.mean[0] = float("nan")
    # Both are wrong now: it is the first by name that is told, whichever was read first.
    with pytest.raises(PredictorError, match=r"classifier\.mean has values that are not finite"):
        from_bytes(to_bytes(predictor))


def test_one_label_gives_that_label_and_can_not_be_compared() -> None:
    sets = [drifted_set(*drift) for drift in DRIFTS[:4]]
    reader = tap_reader()
    inputs = [reader.read(s, range(FRAMES)) for s in sets]
    constant = NetworkPredictor(reader, train_classifier(inputs, [1] * 4, 3, reader.hidden, 0))
    assert constant.predict(drifted_set(3.0, 9.0, 7)) == 1
    with pytest.raises(OneLabelError, match="all 4 sets need 1 patches"):
        compare_predictors(sets, [1] * 4, {"light": reader}, groups=2, seed=0)


def test_what_can_not_be_read_or_learnt_is_named() -> None:
    good = drifted_set(0, 0, 0)
    broken = good.features.copy()
    broken[4, 2] = np.nan
    with pytest.raises(ValueError, match="1 of 12 frames are not finite, first of frame 4"):
        replace(good, features=broken)
    with pytest.raises(ValueError, match="at least 2 frames; 0 came"):
        DriftedSet([], np.zeros((0, WIDTH), np.float32), 0.1)
    with pytest.raises(ValueError, match="one row for each of 12 frames"):
        replace(good, features=good.features[:5])
    with pytest.raises(ValueError, match=r"MMD\^2 of the set is nan"):
        replace(good, mmd2=float("nan"))
    with pytest.raises(ValueError, match="taps of the watched model give 24"):
        tap_reader().read(replace(good, features=good.features[:, :7]), [0])
    with pytest.raises(ValueError, match="too small"):
        ImageReader(None, (16, 64), vgg16_width=1 / 16)
    rows = torch.zeros(2, 5)
    for inputs, labels, message in [
        ([], [], "0 and 0 came"),
        ([rows], [1, 2], "1 and 2 came"),
        ([rows, rows[:0]], [1, 2], "set 1 has no frames"),
        ([rows, rows / 0], [1, 2], "set 1 has features that are not finite"),
        ([rows], [3], "set 0 needs 3 patches; .* knows 0 to 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            train_classifier(inputs, labels, 3, (), 0)
