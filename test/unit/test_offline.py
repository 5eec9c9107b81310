"""From source data to a bundle, on data small enough for a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchline_ros.bundle import MANIFEST, Bundle
from patchline_ros.offline.make import Recipe, make_bundle
from patchline_ros.offline.run import OfflineError, OfflineOptions, choose_weights, run_offline
from patchline_ros.offline.sources import SourceData, TaskData
from patchline_ros.offline.stages import MAKING
from patchline_ros.sim import LANE_CLASSES, OBJECT_CLASSES, SIGN_CLASSES, RoadSimulator
from patchline_ros.tasks import Task
from patchline_ros.vision import training
from patchline_ros.vision.inputs import resized

RECIPE = Recipe(
    width=0.25, road_epochs=1, sign_epochs=1, batch_size=8, drift_window=4, threads=1, seed=3
)


@pytest.fixture(scope="module")
def source() -> SourceData:
    road = RoadSimulator(5, (96, 128))
    frames = [road.frame(i * 5) for i in range(24)]
    classes = {Task.SIGNS: SIGN_CLASSES, Task.OBJECTS: OBJECT_CLASSES, Task.LANES: LANE_CLASSES}
    return SourceData(
        "sim",
        {
            task: TaskData(
                classes=classes[task],
                names=[frame.name for frame in frames[:16]],
                train=[resized(frame.samples[task], (64, 64)) for frame in frames[:16]],
                held_out=[resized(frame.samples[task], (64, 64)) for frame in frames[16:]],
            )
            for task in Task
        },
    )


@pytest.fixture(scope="module")
def whole(source: SourceData, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Made without a pause."""
    out = tmp_path_factory.mktemp("offline") / "b"
    make_bundle(source, RECIPE, None, out, lambda *_: None)
    return Bundle.load(out)


def test_the_same_recipe_gives_the_same_bundle(
    source: SourceData, whole: Bundle, tmp_path: Path
) -> None:
    stages: list[str] = []
    first = make_bundle(source, RECIPE, None, tmp_path / "b", lambda s, _, __: stages.append(s))
    assert first.manifest == whole.manifest
    assert {"train lanes", "train objects", "train signs", "affinity"} <= set(stages)
    assert set(first.manifest.models) == set(Task)
    assert first.trained_on[Task.SIGNS] == source.tasks[Task.SIGNS].names
    counts = [step.patches for step in first.manifest.patch_table]
    assert counts == sorted(counts)


@pytest.mark.parametrize(
    ("stage", "share"), [("train lanes", 0.5), ("train signs", 1.0), ("patch table", 0.25)]
)
def test_what_was_interrupted_goes_on_with_the_same_result(
    stage: str,
    share: float,
    source: SourceData,
    whole: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    out = tmp_path / whole.path.name

    def stop(name: str, done: float, _: str) -> None:
        if (name, done) == (stage, share):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_bundle(source, RECIPE, None, out, stop)
    assert not (out / MANIFEST).exists()
    shares: list[float] = []
    make_bundle(
        source, RECIPE, None, out, lambda s, d, _: shares.append(d) if s == "train lanes" else None
    )
    # Of the stage that was under way only the rest is done, and of a finished one nothing.
    assert shares[0] == 1.0 if stage != "train lanes" else shares[:2] == [1.0, 1.0]
    assert Bundle.load(out).manifest == whole.manifest
    assert not (out / MAKING).exists()


def test_other_inputs_begin_anew(source: SourceData, whole: Bundle, tmp_path: Path) -> None:
    out = tmp_path / whole.path.name

    def stop(name: str, _: float, __: str) -> None:
        if name == "affinity":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_bundle(source, RECIPE.model_copy(update={"seed": 9}), None, out, stop)
    make_bundle(source, RECIPE, None, out, lambda *_: None)
    assert Bundle.load(out).manifest == whole.manifest


def test_wrong_options_are_named(tmp_path: Path) -> None:
    from rich.console import Console

    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(OfflineError, match="not empty and not a bundle"):
        run_offline(OfflineOptions(None, "none", tmp_path, RECIPE), Console(quiet=True))
    with pytest.raises(ValueError, match="does not exist"):
        choose_weights(str(tmp_path / "none.npz"), None)
    assert choose_weights("auto", None)[0] is None
