"""What the camera plays: the same frames every time, and no test frame ever labelled."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_bundle
from rich.console import Console

from patchline_ros.bundle import Bundle
from patchline_ros.datasets.camvid import LANE_CLASSES, OBJECT_CLASSES
from patchline_ros.datasets.gtsrb import SIGN_CLASSES
from patchline_ros.demo.demo_run import run_demo
from patchline_ros.demo.drive import (
    Drive,
    DriveError,
    FilmedRoad,
    Shot,
    SimRoad,
    open_drive,
    split_at,
)
from patchline_ros.demo.options import DemoOptions, OptionError, check_options, prepare_out
from patchline_ros.demo.planning import plan_drive
from patchline_ros.demo.records import Split
from patchline_ros.manifest import DriftEntry, Manifest, ModelEntry
from patchline_ros.sim import Condition
from patchline_ros.tasks import Task
from patchline_ros.vision.model import ModelSpec

FRAMES = 24
TRAINED_ON = "day_000000"


def sim_drive(seed: int = 0) -> Drive:
    road = SimRoad(
        seed=seed,
        size=(48, 64),
        condition=Condition.NIGHT,
        severity=0.8,
        source_frames=3,
        drift_frames=16,
    )
    return Drive(seed=seed, road=road)


def same(first: Shot, second: Shot) -> bool:
    return (first.index, first.names, first.split, first.labelled) == (
        second.index,
        second.names,
        second.split,
        second.labelled,
    ) and np.array_equal(first.frame.image, second.frame.image)


def test_sim_drive_is_the_same_when_opened_again(tmp_path: Path) -> None:
    sim_drive().save(tmp_path / "drive.json")
    first = list(open_drive(tmp_path / "drive.json").play(0))
    again = open_drive(tmp_path / "drive.json")
    assert all(same(a, b) for a, b in zip(first, again.play(0), strict=True))
    assert all(same(a, b) for a, b in zip(first[3:], again.play(1), strict=True))
    measured = [shot.index for shot in again.measured()]
    assert measured == [shot.index for shot in first if shot.split is not Split.ADAPT]


def test_sim_drive_labels_adapt_frames_alone(tmp_path: Path) -> None:
    sim_drive().save(tmp_path / "drive.json")
    shots = open_drive(tmp_path / "drive.json")
    played = list(shots.play(0))
    assert [shot.split for shot in played[:3]] == [Split.SOURCE] * 3
    assert [shot.split for shot in played[3:]] == [Split.ADAPT] * 8 + [Split.TEST] * 4 + [
        Split.ADAPT
    ] * 4
    assert all(bool(shot.labelled) is (shot.split is Split.ADAPT) for shot in played)
    assert shots.test_indices() == {shot.index for shot in played if shot.split is Split.TEST}
    assert len({shot.frame.name for shot in played}) == len(played)
    assert shots.labelled_frames() == sum(Task.SEGMENTATION in shot.labelled for shot in played)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """`data/camvid/day`, `data/camvid/dusk` in CamVid's layout and `data/gtsrb`, all tiny."""
    rng = np.random.default_rng(0)
    for part in ("day", "dusk"):
        folder = tmp_path / "data" / "camvid" / part
        (folder / "images").mkdir(parents=True)
        (folder / "labels").mkdir()
        for number in range(FRAMES):
            picture = rng.integers(0, 256, (36, 48, 3), dtype=np.uint8)
            label = rng.integers(0, 12, (36, 48), dtype=np.uint8)
            cv2.imwrite(str(folder / "images" / f"{part}_{number:06d}.png"), picture)
            cv2.imwrite(str(folder / "labels" / f"{part}_{number:06d}.png"), label)
    for label in (0, 7):
        folder = tmp_path / "data" / "gtsrb" / f"{label:02d}"
        folder.mkdir(parents=True)
        for track in range(3):
            for view in range(2):
                picture = rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)
                cv2.imwrite(str(folder / f"{track:05d}_{view:05d}.png"), picture)
    return tmp_path / "data"


class KnownBundle(Bundle):
    """A bundle of which only the classes and the training frames are looked at."""

    def __init__(self, trained_on: dict[Task, list[str]]) -> None:
        classes = {
            Task.CLASSIFICATION: SIGN_CLASSES,
            Task.DETECTION: OBJECT_CLASSES,
            Task.SEGMENTATION: LANE_CLASSES,
        }
        models = {
            task: ModelEntry(
                spec=ModelSpec(task=task, classes=names, input_size=(32, 32)),
                fingerprint="",
                source_metric=1.0,
                source_entropy=0.1,
            )
            for task, names in classes.items()
        }
        manifest = Manifest(
            name="known",
            source="camvid",
            seed=0,
            models=models,
            drift=DriftEntry(task=Task.SEGMENTATION, tap=1, window=8, bandwidth=1.0, threshold=0.1),
            affinity={"perceptual_hash": {}},
            affinity_measure="perceptual_hash",
            patch_table=[],
            drift_labels=[],
            label_margin=0.01,
            versions={},
            config={},
            files={},
        )
        super().__init__(Path("known"), manifest)
        self.__dict__["trained_on"] = trained_on


def options(data: Path, **changes: object) -> DemoOptions:
    values: dict[str, object] = {
        "out": data / "out",
        "condition": "night",
        "rate_hz": 6.0,
        "seed": 0,
        "frames": data / "camvid" / "day",
        "then": data / "camvid" / "dusk",
    }
    return DemoOptions(**{**values, **changes})  # type: ignore[arg-type]


def test_filmed_drive_keeps_test_and_training_apart(recordings: Path, tmp_path: Path) -> None:
    bundle = KnownBundle(
        {Task.SEGMENTATION: [TRAINED_ON], Task.DETECTION: [TRAINED_ON], Task.CLASSIFICATION: []}
    )
    drive = plan_drive(options(recordings), bundle)
    drive.save(tmp_path / "drive.json")
    shots = open_drive(tmp_path / "drive.json")
    played = list(shots.play(0))

    assert isinstance(drive.road, FilmedRoad) and drive.road.repeats > 1
    source = [shot for shot in played if shot.split is Split.SOURCE]
    assert [shot.names[Task.SEGMENTATION] for shot in source] == [
        f"day_{number:06d}" for number in range(1, FRAMES)
    ]
    for task in Task:
        test = {shot.names[task] for shot in played if shot.split is Split.TEST}
        labelled = [shot.names[task] for shot in played if task in shot.labelled]
        assert test and labelled and not test & set(labelled)
        if task is not Task.CLASSIFICATION:
            assert len(set(labelled)) == len(labelled)
    assert len({shot.index for shot in played}) == len(played) == max(s.index for s in played) + 1
    assert shots.test_indices() == {shot.index for shot in played if shot.split is Split.TEST}
    assert shots.labelled_frames() == sum(Task.SEGMENTATION in shot.labelled for shot in played)
    assert all(same(a, b) for a, b in zip(played, shots.play(0), strict=True))


def test_test_signs_come_from_tracks_of_their_own(recordings: Path, tmp_path: Path) -> None:
    plan_drive(options(recordings), KnownBundle({})).save(tmp_path / "drive.json")
    tracks: dict[Split, set[str]] = {split: set() for split in Split}
    for shot in open_drive(tmp_path / "drive.json").play(0):
        tracks[shot.split].add(shot.names[Task.CLASSIFICATION].rpartition("_")[0])
    assert not tracks[Split.TEST] & tracks[Split.ADAPT]
    assert tracks[Split.SOURCE] == tracks[Split.TEST]


def test_one_recording_is_corrupted_in_its_second_half(recordings: Path, tmp_path: Path) -> None:
    drive = plan_drive(options(recordings, then=None, signs=None), KnownBundle({}))
    drive.save(tmp_path / "drive.json")
    played = list(open_drive(tmp_path / "drive.json").play(0))
    clear = {shot.names[Task.SEGMENTATION]: shot for shot in played if shot.split is Split.SOURCE}
    changed = {
        shot.names[Task.SEGMENTATION]: shot for shot in played if shot.split is not Split.SOURCE
    }
    assert len(clear) == len(changed) == FRAMES // 2
    assert not clear.keys() & changed.keys()
    brightness = [
        np.mean([s.frame.image.mean() for s in part.values()]) for part in (clear, changed)
    ]
    assert brightness[1] < 0.7 * brightness[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"condition": "hail"}, "use one of fog, rain, snow, night"),
        ({"rate_hz": -1.0}, "--rate is -1.0"),
        ({"seed": -1}, "--seed is -1"),
        ({"frames": None}, "--then goes with --frames"),
        ({"frames": Path("nowhere")}, "--frames nowhere does not exist"),
        ({"labels": Path("nowhere")}, "--labels nowhere does not exist"),
    ],
)
def test_wrong_options_are_named(
    recordings: Path, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(OptionError, match=sentence):
        check_options(options(recordings, **changes))


def test_bundle_of_other_classes_is_refused(recordings: Path) -> None:
    with pytest.raises(
        OptionError, match="its classification model knows other classes, yield is not"
    ):
        plan_drive(options(recordings, frames=None, then=None), KnownBundle({}))


def test_recording_without_labels_is_refused(recordings: Path) -> None:
    plain = recordings / "camvid" / "dusk" / "images"
    with pytest.raises(DriveError, match="0 labelled frames"):
        plan_drive(options(recordings, then=plain), KnownBundle({}))


def test_out_must_be_new_or_empty(tmp_path: Path) -> None:
    prepare_out(tmp_path / "new" / "folder")
    (tmp_path / "new" / "file").write_text("")
    with pytest.raises(OptionError, match="is not empty"):
        prepare_out(tmp_path / "new")
    with pytest.raises(OptionError, match="is a file"):
        prepare_out(tmp_path / "new" / "file")


def test_a_drive_that_is_not_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(DriveError, match="there is no drive"):
        open_drive(tmp_path / "drive.json")
    (tmp_path / "drive.json").write_text('{"seed": 0, "road": {"kind": "sim"}}')
    with pytest.raises(DriveError, match="is not a drive"):
        open_drive(tmp_path / "drive.json")


def test_split_takes_turns() -> None:
    assert [split_at(position) for position in (0, 7, 8, 11, 12)] == [
        Split.ADAPT,
        Split.ADAPT,
        Split.TEST,
        Split.TEST,
        Split.ADAPT,
    ]


def test_a_demo_without_labels_needs_prepared_patches(tmp_path: Path) -> None:
    bundle = tiny_bundle.make_bundle(tmp_path / "b").path
    options = DemoOptions(
        out=tmp_path / "out", condition="fog", rate_hz=6.0, seed=0, bundle=bundle, no_labels=True
    )
    with pytest.raises(OptionError, match="has none; name another with --bundle"):
        run_demo(options, tmp_path, "", Console())
    assert not options.out.exists()
