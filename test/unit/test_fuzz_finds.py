"""What `tools/fuzz.py` has found, each with what is right now."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from tiny_bundle import make_bundle, picture

from patchline_ros.adaptation.bank import PatchBank
from patchline_ros.adaptation.events import from_line
from patchline_ros.adaptation.store import StoredFrame, StoredFrames, StoreError
from patchline_ros.bundle import EXAMPLES, HELD_OUT, REFERENCE, SOURCE_FRAMES, Bundle
from patchline_ros.datasets.bag import BagFrames
from patchline_ros.datasets.coco import CocoFolder
from patchline_ros.drift.monitor import DriftMonitor, DriftReference
from patchline_ros.drift.window import FrameWindow
from patchline_ros.manifest import BundleError
from patchline_ros.tasks import Task

DEEP = "[" * 100_000


@pytest.fixture(scope="module")
def reference() -> DriftReference:
    features = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    return DriftReference.from_source(features, 16, false_alarm=1000)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("finds") / "bundle")


def test_features_that_overflow_when_they_are_squared_are_left_out(
    reference: DriftReference,
) -> None:
    huge = np.full(6, 3e38, np.float32)
    with pytest.raises(ValueError, match=r"not finite or beyond 1e\+12"):
        DriftMonitor(reference).update(huge, 1)
    window = FrameWindow(6, 1)
    window.add(1, huge)
    assert window.since(0) is None


@pytest.mark.parametrize("turn", [b"9" * 5000, "²".encode(), b"-1", b"1.5"])
def test_a_turn_of_the_bank_that_is_no_number_counts_as_none(
    tmp_path: Path, reference: DriftReference, turn: bytes
) -> None:
    bank = PatchBank(tmp_path, reference)
    now = np.random.default_rng(1).normal(3, 1, (16, 6)).astype(np.float32)
    name = bank.add(now, {Task.DETECTION: b"patches"})
    (tmp_path / name / "turn").write_bytes(turn)
    (tmp_path / ("9" * 60)).mkdir()
    bank.used(name)
    assert bank.entries() == [name]
    assert (tmp_path / name / "turn").read_bytes() == b"1"


def _squeezed(method: int) -> bytes:
    """A stored frame whose parts say that they are compressed in another way."""
    buffer = io.BytesIO()
    np.savez(buffer, image=picture(1), sign=np.array(1))
    data = bytearray(buffer.getvalue())
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data[at + place] = method
    return bytes(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, 99, 1])
def test_a_stored_frame_in_another_compression_is_named(tmp_path: Path, method: int) -> None:
    path = tmp_path / "frame.npz"
    path.write_bytes(_squeezed(method))
    with pytest.raises(StoreError, match=r"stored frame frame\.npz can't be read"):
        StoredFrames(tmp_path).read([StoredFrame(1, "f", path)])


@pytest.mark.parametrize("text", [b"\x80", b"[1]", b'{"trees": []}', b'{"detection": [1]}', b"{"])
def test_names_in_a_bundle_that_are_none(bundle: Bundle, tmp_path: Path, text: bytes) -> None:
    (tmp_path / HELD_OUT).write_bytes(text)
    with pytest.raises(BundleError, match=r"held_out\.json holds no lists of names by task"):
        _ = Bundle(tmp_path, bundle.manifest).held_out


@pytest.mark.parametrize(
    "data",
    [
        b"no tensors",
        save({"features": np.ones((4, 3), np.float32)}),
        save({name: np.ones(3, np.float32) for name in ("features", "mean", "scale", "null")}),
        save({"features": np.full((4, 3), np.nan, np.float32)}),
    ],
)
def test_a_reference_that_is_none(bundle: Bundle, tmp_path: Path, data: bytes) -> None:
    (tmp_path / REFERENCE).write_bytes(data)
    with pytest.raises(BundleError, match=r"reference\.safetensors"):
        _ = Bundle(tmp_path, bundle.manifest).drift_reference


@pytest.mark.parametrize("name", ["trees", "detection"])
def test_examples_that_are_no_pictures(bundle: Bundle, tmp_path: Path, name: str) -> None:
    (tmp_path / EXAMPLES).write_bytes(save({name: np.ones((2, 3), np.float32)}))
    with pytest.raises(BundleError, match="are no pictures of a task"):
        _ = Bundle(tmp_path, bundle.manifest).examples


@pytest.mark.parametrize(
    "spoiled",
    [
        {"images": np.zeros((2, 8, 8, 3), np.uint8)},
        {"images": np.zeros((2, 32, 32, 3), np.float32)},
        {"labels": np.array([0, 99])},
        {"labels": np.zeros(2, np.float32)},
        {"labels": np.zeros(3, np.int64)},
        {"counts": np.array([1, -1]), "boxes": np.zeros((2, 4), np.float32)},
    ],
)
def test_source_frames_that_are_none(
    bundle: Bundle, tmp_path: Path, spoiled: dict[str, np.ndarray]
) -> None:
    whole = {"images": np.zeros((2, 32, 32, 3), np.uint8), "labels": np.array([0, 1])}
    manifest = bundle.manifest.model_copy(update={"files": {SOURCE_FRAMES: ""}})
    for tensors, fails in ((whole, False), ({**whole, **spoiled}, True)):
        named = {f"classification.{name}": value for name, value in tensors.items()}
        (tmp_path / SOURCE_FRAMES).write_bytes(save(named))
        if not fails:
            read = Bundle(tmp_path, manifest).source_frames
            assert [sample.label for sample in read[Task.CLASSIFICATION]] == [0, 1]
            continue
        with pytest.raises(BundleError, match="holds no labelled pictures"):
            _ = Bundle(tmp_path, manifest).source_frames


def test_an_event_that_is_nested_too_deeply_is_none() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        from_line(DEEP)


def test_annotations_that_are_nested_too_deeply_are_named(tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_text(DEEP)
    with pytest.raises(ValueError, match=r"coco\.json is no JSON"):
        CocoFolder(tmp_path, tmp_path / "coco.json")


@pytest.mark.parametrize("count", ["three", "3.0", "-1", "1000000000000"])
def test_counts_of_a_bag_that_are_none(tmp_path: Path, count: str) -> None:
    pytest.importorskip("rosbags", reason="bags need the package rosbags")
    from miniatures import make_bag

    make_bag(tmp_path, [("f", "detection")])
    path = tmp_path / "drive" / "metadata.yaml"
    path.write_text(path.read_text().replace("message_count: 1", f"message_count: {count}"))
    with pytest.raises(ValueError, match="cannot read the bag"):
        BagFrames(tmp_path / "drive")


def test_metadata_of_a_bag_that_is_nested_too_deeply(tmp_path: Path) -> None:
    pytest.importorskip("rosbags", reason="bags need the package rosbags")
    from miniatures import make_bag

    make_bag(tmp_path, [("f", "detection")])
    (tmp_path / "drive" / "metadata.yaml").write_text(f"a: {DEEP}")
    with pytest.raises(ValueError, match=r"metadata\.yaml is nested too deeply; name its file"):
        BagFrames(tmp_path / "drive")
