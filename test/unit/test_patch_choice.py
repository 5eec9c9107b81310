"""How many patches a drift gets, as the predictor that a bundle carries says."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
from typer.testing import CliRunner

from patchline_ros.adaptation.episode import EpisodeJob, Event, Finished, run_episode
from patchline_ros.adaptation.patch_choice import MOST_FRAMES, PatchChoice, choose_patches
from patchline_ros.adaptation.predictor_file import PredictorError, to_bytes
from patchline_ros.adaptation.store import FrameStore
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.bundle import MANIFEST, PREDICTOR, Bundle
from patchline_ros.cli.app import app
from patchline_ros.files import sha256
from patchline_ros.manifest import BundleError, LearntKind
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.model import TaskModel

KINDS: list[LearntKind] = ["light", "vgg16"]
PICTURES = [tiny_bundle.picture(seed) for seed in range(12)]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[LearntKind | None, Bundle]:
    """One of each kind."""
    folder = tmp_path_factory.mktemp("bundles")
    return {
        kind: tiny_bundle.make_bundle(folder / (kind or "table"), learnt=kind)
        for kind in (*KINDS, None)
    }


def job_on(bundle: Bundle, folder: Path, frames: int) -> EpisodeJob:
    """An episode on so many labelled pictures of the watched task."""
    store = FrameStore(folder / "store", frames, 64)
    for i in range(frames):
        label = np.full((32, 32), i % 3, np.uint8)
        store.add(f"frame{i}", Task.SEGMENTATION, 1000 + i, Sample(PICTURES[i], label))
    job = EpisodeJob(
        bundle=bundle.path,
        store=folder / "store",
        output=folder / "work",
        since_ns=1000,
        mmd2=0.5,
        next_version=dict.fromkeys(Task, 1),
        training=TrainingSettings(epochs=1),
    )
    job.output.mkdir(parents=True)
    return job


@pytest.mark.parametrize("kind", KINDS)
def test_an_episode_asks_the_learnt_predictor_and_reports_its_cost(
    kind: LearntKind, bundles: dict[LearntKind | None, Bundle], tmp_path: Path
) -> None:
    events: list[Event] = []
    run_episode(job_on(Bundle.load(bundles[kind].path), tmp_path, 12), events.append)
    assert isinstance(events[-1], Finished)
    report = events[-1].episode
    assert report.patches == tiny_bundle.LEARNT_PATCHES
    choice = report.patch_choice
    assert choice is not None
    assert (choice.patches, choice.by) == (tiny_bundle.LEARNT_PATCHES, kind)
    assert choice.gflops > 0 and choice.seconds > 0
    assert json.loads((tmp_path / "work" / "episode.json").read_text())["patch_choice"] == asdict(
        choice
    )


def test_without_one_the_table_says_it_at_no_cost(
    bundles: dict[LearntKind | None, Bundle], tmp_path: Path
) -> None:
    events: list[Event] = []
    run_episode(job_on(bundles[None], tmp_path, 12), events.append)
    assert isinstance(events[-1], Finished)
    assert events[-1].episode.patches == 1
    assert events[-1].episode.patch_choice == PatchChoice(1, "table")
    # Nor is there anything to read on fewer frames than an MMD^2 takes.
    assert choose_patches(bundles["light"], PICTURES[:1], 0.5) == PatchChoice(1, "table")
    assert choose_patches(bundles["vgg16"], [], 0.5) == PatchChoice(1, "table")


def test_what_is_read_of_a_drift_is_bounded(bundles: dict[LearntKind | None, Bundle]) -> None:
    costs = [
        choose_patches(bundles["light"], [PICTURES[0], *PICTURES] * n, 0.5).gflops
        for n in (1, 3, 9)
    ]
    assert costs[0] < costs[1] == pytest.approx(costs[2])
    assert costs[1] / costs[0] == pytest.approx(MOST_FRAMES / 13, rel=0.05)


def replaced(bundle: Bundle, folder: Path, data: bytes) -> Bundle:
    """A copy whose predictor's file is another one, with the sha256 that goes with it."""
    shutil.copytree(bundle.path, folder)
    (folder / PREDICTOR).write_bytes(data)
    plain = json.loads((folder / MANIFEST).read_text())
    plain["files"][PREDICTOR] = sha256(data)
    (folder / MANIFEST).write_text(json.dumps(plain))
    return Bundle.load(folder)


def of_width(width: float) -> bytes:
    """The light predictor of another model."""
    spec = tiny_bundle.spec_of(Task.SEGMENTATION).model_copy(update={"width": width})
    return to_bytes(tiny_bundle.predictor(TaskModel(spec).eval(), "light"))


def test_a_predictor_that_can_not_be_used_is_one_sentence(
    bundles: dict[LearntKind | None, Bundle], tmp_path: Path
) -> None:
    whole = (bundles["light"].path / PREDICTOR).read_bytes()
    for name, data, message in [
        ("torn", whole[:-4], "tensors can't be read"),
        ("other", of_width(0.5), "it reads other taps than those of the segmentation model"),
        ("kind", (bundles["vgg16"].path / PREDICTOR).read_bytes(), "reads as vgg16, not as light"),
    ]:
        bundle = replaced(bundles["light"], tmp_path / name, data)
        with pytest.raises(PredictorError, match=message) as raised:
            choose_patches(bundle, PICTURES, 0.5)
        assert "\n" not in str(raised.value)
        checked = CliRunner().invoke(app, ["bundle", "check", str(bundle.path)])
        assert checked.exit_code == 2 and "predictor.safetensors can't be used" in checked.output
    shutil.copytree(bundles["light"].path, tmp_path / "damaged")
    (tmp_path / "damaged" / PREDICTOR).write_bytes(whole[:-4])
    with pytest.raises(BundleError, match=r"predictor\.safetensors does not have the sha256"):
        Bundle.load(tmp_path / "damaged")
    plain = json.loads((tmp_path / "damaged" / MANIFEST).read_text())
    del plain["files"][PREDICTOR]
    (tmp_path / "damaged" / MANIFEST).write_text(json.dumps(plain))
    with pytest.raises(BundleError, match=r"does not list predictor\.safetensors"):
        Bundle.load(tmp_path / "damaged")


def test_a_bundle_without_one_takes_the_place_of_one_that_has_it_whole(tmp_path: Path) -> None:
    tiny_bundle.make_bundle(tmp_path / "b", learnt="light")
    tiny_bundle.make_bundle(tmp_path / "b")
    assert Bundle.load(tmp_path / "b").manifest.patch_predictor is None
    assert not (tmp_path / "b" / PREDICTOR).exists()


def test_people_see_how_good_it_is(
    bundles: dict[LearntKind | None, Bundle], tmp_path: Path
) -> None:
    run = CliRunner()
    for kind in KINDS:
        path = str(bundles[kind].path)
        shown = run.invoke(app, ["bundle", "show", path], env={"COLUMNS": "400"}).output
        assert f"on the car the {kind} predictor counts the patches" in shown
        assert "it was right on 0 of them (0%) and 0.67 patches off on average" in shown
        assert ("random weights" in shown) == (kind == "vgg16")
        checked = run.invoke(app, ["bundle", "check", path]).output
        assert f"the {kind} patch predictor" in checked
        page = tmp_path / f"{kind}.html"
        assert run.invoke(app, ["bundle", "card", path, "--out", str(page)]).exit_code == 0
        assert f"{kind} says" in page.read_text()
        assert f"the {kind} predictor counts the patches" in page.read_text()
    # The table's own bundle says nothing of it.
    shown = run.invoke(app, ["bundle", "show", str(bundles[None].path)]).output
    assert "predictor" not in shown
