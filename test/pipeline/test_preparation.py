"""Patches that are trained before the car leaves, and the points that their gate is fitted to."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
import torch

from patchline_ros.adaptation.label_free_candidates import CANDIDATES, label_free_candidates
from patchline_ros.adaptation.norm_statistics import moved_norm, norm_prior_of
from patchline_ros.adaptation.training_settings import TrainingRecord, TrainingSettings
from patchline_ros.adaptation.views import JoinedViews, Views
from patchline_ros.bundle import Bundle
from patchline_ros.drift.corruptions import CORRUPTIONS, FAMILIES, Family, corruptions_of
from patchline_ros.jobs.scheduler import Ended, Event, Executor, Job, ProcessPool
from patchline_ros.offline.bundle_preparation import Prepared, prepare_bundle, prepare_models
from patchline_ros.offline.bundle_view import check_bundle
from patchline_ros.offline.gate_points import gate_points
from patchline_ros.offline.preparation import (
    CLEAR,
    PreparationSettings,
    PreparedMethod,
    frames_of_drift,
    prepare,
)
from patchline_ros.offline.prepared_patches import gate_points_once, prepare_once
from patchline_ros.offline.sources import SourceData, TaskData
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.patching.ladder import LadderSettings
from patchline_ros.patching.methods import adapted
from patchline_ros.patching.patch_set import apply, read_metadata
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.evaluation import evaluate
from patchline_ros.vision.model import TaskModel, fingerprint

SETTINGS = PreparationSettings(
    epochs=3,
    frames=8,
    held_out_frames=4,
    drifts=(("fog", 0.5), ("night", 0.6), ("fog", 1.0)),
    gate_severities=(0.4,),
)


@pytest.fixture(scope="module")
def two() -> Iterator[ProcessPool]:
    """Two workers, which stay from test to test."""
    with closing(ProcessPool(2)) as processes:
        yield processes


@pytest.fixture(scope="module")
def source() -> TaskModel:
    torch.manual_seed(0)
    return TaskModel(tiny_bundle.spec_of(Task.SEGMENTATION)).eval()


def roads(count: int, seed: int) -> list[Sample]:
    """Sky above, road below, at a height of its own, in noise."""
    rng, made = np.random.default_rng(seed), []
    for _ in range(count):
        image = rng.integers(0, 40, (32, 32, 3), dtype=np.uint8)
        label = np.ones((32, 32), dtype=np.uint8)
        horizon = int(rng.integers(8, 24))
        image[:horizon] += 160
        label[:horizon] = 0
        made.append(Sample(image, label))
    return made


FEW = SETTINGS.model_copy(update={"epochs": 1, "drifts": (("fog", 0.5),)})
TRAIN, HELD_OUT = roads(24, seed=0), roads(12, seed=1)


def test_the_patches_are_better_on_drifts_that_they_were_not_trained_on(source: TaskModel) -> None:
    before = fingerprint(source)
    shares: list[float] = []
    # The source model is not trained, nor is its side head.
    settings = SETTINGS.model_copy(update={"epochs": 6})
    found = prepare(source, TRAIN, HELD_OUT, settings, seed=0, progress=shares.append)
    assert fingerprint(source) == before
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert len(found.record.metrics) == 1 + settings.epochs
    assert max(found.record.metrics) > found.record.metrics[0] + 0.2
    unseen = frames_of_drift(source, HELD_OUT, 12, ("rain", 0.5), "held_out", seed=3)
    images = [sample.image for sample in unseen]
    method = SETTINGS.method_of(source)
    norm, _, with_norm_of_rain = label_free_candidates(source, found.model, method, images)
    assert evaluate(with_norm_of_rain.model, unseen) > evaluate(source, unseen) + 0.2
    # Norm statistics alone are the source model's, whatever was prepared.
    moved = moved_norm(source, images, norm_prior_of(len(images)))
    assert evaluate(norm.model, unseen) == evaluate(moved, unseen)
    # It has the source's own norm statistics: those of a road are taken there.
    for name, value in found.model.backbone.state_dict().items():
        assert torch.equal(value, source.backbone.state_dict()[name]), name


def test_what_is_asked_for_is_prepared(source: TaskModel) -> None:
    def prepared(method: PreparedMethod) -> AdaptedModel:
        return prepare(source, TRAIN, HELD_OUT, FEW.model_copy(update={"method": method}), 0).model

    for method in (PatchSettings(k=1, head="side"), LadderSettings()):
        model = prepared(method)
        assert set(model.state_dict()) == set(adapted(source, method).state_dict())
    with pytest.raises(ValueError, match="99 patches asked for; the backbone mobilenet_v2 takes"):
        prepared(PatchSettings(k=99))


def test_each_drift_has_frames_and_a_draw_of_its_own(source: TaskModel) -> None:
    def frames(drift: tuple[str, float], seed: int = 0) -> np.ndarray:
        return np.stack([s.image for s in frames_of_drift(source, TRAIN, 8, drift, "train", seed)])

    assert np.array_equal(frames(("fog", 0.5)), frames(("fog", 0.5)))
    assert not np.array_equal(frames(("fog", 0.5)), frames(("fog", 0.5), seed=1))
    clear = {sample.image.tobytes() for sample in TRAIN}
    clear |= {np.ascontiguousarray(sample.image[:, ::-1]).tobytes() for sample in TRAIN}
    of_clear = frames(("contrast", 0.0))
    assert {image.tobytes() for image in of_clear} <= clear


def test_views_of_several_drifts_come_in_the_order_asked_for(source: TaskModel) -> None:
    model = PatchedModel(source, PatchSettings(k=2))
    settings, record = TrainingSettings(mirror=False), TrainingRecord()
    first = Views(model, TRAIN[:3], settings, record)
    model.backbone.apply(lambda m: setattr(m, "eps", 0.1) if hasattr(m, "eps") else None)
    second = Views(model, TRAIN[3:5], settings, record)
    both = JoinedViews([first, second])
    frozen, targets = both.batch([4, 0])
    for part, (a, b) in zip(
        frozen, zip(second.batch([1])[0], first.batch([0])[0], strict=True), strict=True
    ):
        assert torch.equal(part, torch.cat([a, b]))
    assert torch.equal(targets, torch.stack([second.targets[1], first.targets[0]]))


def test_what_was_killed_goes_on_and_gives_the_same_bits(source: TaskModel, tmp_path: Path) -> None:
    arguments = source, TRAIN, HELD_OUT, SETTINGS, 0
    whole = prepare_once(tmp_path / "whole", *arguments)

    def interrupt(share: float) -> None:
        """After the second of three epochs."""
        if share > 0.8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_once(tmp_path / "killed", *arguments, interrupt)
    assert (tmp_path / "killed.checkpoint").is_file()
    again = prepare_once(tmp_path / "killed", *arguments)
    assert again.data == whole.data
    assert again.record.metrics == whole.record.metrics
    assert {p.name for p in tmp_path.glob("killed*")} == {"killed.json", "killed.safetensors"}
    metadata = read_metadata(again.data)
    assert (metadata.norm, metadata.base_fingerprint) == ("source", fingerprint(source))
    # A third call trains nothing: the files say it all.
    assert prepare_once(tmp_path / "whole", source, [], [], SETTINGS, 0).data == whole.data


def data_of(train: list[Sample], names: list[str]) -> SourceData:
    classes = tiny_bundle.CLASSES[Task.SEGMENTATION]
    held_out = [f"road-{number}" for number in range(len(HELD_OUT))]
    return SourceData(
        "sim", {Task.SEGMENTATION: TaskData(classes, names, train, HELD_OUT, held_out)}
    )


def test_a_bundle_that_is_whole_gets_prepared_patches(two: ProcessPool, tmp_path: Path) -> None:
    made = tiny_bundle.make_bundle(tmp_path / "b", 0.5, tasks=(Task.SEGMENTATION,))
    before = {name: (made.path / name).read_bytes() for name in made.manifest.files}
    told: list[float] = []
    prepare_bundle(made, data_of(TRAIN, []), SETTINGS, two, lambda _, share: told.append(share))
    assert told[-1] == 1.0
    read = Bundle.load(made.path)
    assert {name: (made.path / name).read_bytes() for name in before} == before
    entry = read.manifest.prepared[Task.SEGMENTATION]
    assert entry.prepared_metric > entry.source_metric
    model = read.model(Task.SEGMENTATION)
    apply(model, read.fingerprint(Task.SEGMENTATION), read.prepared(Task.SEGMENTATION))
    assert "prepared patches for segmentation" in check_bundle(read)
    assert not (made.path / ".making").exists()
    assert "The label-free gate on corruptions left out" in (made.path / "card.html").read_text()


class Interrupted:
    """Does all jobs, and the call is interrupted before anybody reads what they made."""

    def __call__(self, jobs: Sequence[Job]) -> Iterator[Event]:
        for number, job in enumerate(jobs):
            job(lambda _: None)
            yield Ended(number)
        raise KeyboardInterrupt

    def close(self) -> None:
        """Nothing runs any more."""


def test_with_other_pictures_a_call_does_not_go_on_where_another_was_killed(
    two: ProcessPool, tmp_path: Path
) -> None:
    made = tiny_bundle.make_bundle(tmp_path / "b", 0.5, tasks=(Task.SEGMENTATION,))
    with pytest.raises(KeyboardInterrupt):
        prepare_bundle(made, data_of(TRAIN, []), FEW, Interrupted(), lambda *_: None)
    kept = [path.read_bytes() for path in made.path.glob(".making/*/segmentation.safetensors")]
    assert len(kept) == 1
    others = prepare_bundle(made, data_of(TRAIN[::-1], []), FEW, two, lambda *_: None)
    assert others.prepared(Task.SEGMENTATION) != kept[0]


BOTH = Task.CLASSIFICATION, Task.SEGMENTATION


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """With models of two tasks."""
    return tiny_bundle.make_bundle(tmp_path_factory.mktemp("two") / "b", 0.5, tasks=BOTH)


def signs(samples: list[Sample]) -> list[Sample]:
    return [Sample(sample.image, number % 3) for number, sample in enumerate(samples)]


def prepare_both(
    bundle: Bundle,
    folder: Path,
    executor: Executor,
    report: Callable[[Task, float], None] = lambda *_: None,
) -> dict[Task, Prepared]:
    data = {
        Task.CLASSIFICATION: TaskData(("a", "b", "c"), [], signs(TRAIN), signs(HELD_OUT)),
        Task.SEGMENTATION: TaskData(("sky", "road", "car"), [], TRAIN, HELD_OUT),
    }
    models = {task: bundle.model(task) for task in BOTH}
    entries, source = bundle.manifest.models, SourceData("sim", data)
    return prepare_models(models, entries, source, FEW, 0, folder, executor, report)


@pytest.fixture(scope="module")
def whole(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[Task, Prepared]:
    """Prepared by one worker without a pause."""
    with closing(ProcessPool(1)) as one:
        return prepare_both(bundle, tmp_path_factory.mktemp("whole"), one)


def test_two_workers_prepare_what_one_does(
    bundle: Bundle, whole: dict[Task, Prepared], two: ProcessPool, tmp_path: Path
) -> None:
    told: dict[Task, list[float]] = {task: [] for task in BOTH}
    found = prepare_both(bundle, tmp_path, two, lambda task, share: told[task].append(share))
    assert found == whole
    for shares in told.values():
        assert shares == sorted(shares) and shares[0] == 0.0 and shares[-1] == 1.0
        assert len(shares) > len(FEW.gate_drifts)
    # A second call reads what is there: it has no worker.
    assert prepare_both(bundle, tmp_path, ProcessPool(0)) == whole


def test_a_task_whose_process_is_killed_is_named_and_the_others_are_kept(
    bundle: Bundle, whole: dict[Task, Prepared], two: ProcessPool, tmp_path: Path
) -> None:
    def kill(task: Task, share: float) -> None:
        if task is Task.CLASSIFICATION and share > 0:
            for worker in multiprocessing.active_children():
                worker.kill()

    two.close()
    message = r"^classification can't be prepared: its process ended with SIGKILL, 3 times$"
    with closing(ProcessPool(1)) as one, pytest.raises(ValueError, match=message):
        prepare_both(bundle, tmp_path, one, kill)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("segmentation.*")}
    assert len(kept) == 4
    assert prepare_both(bundle, tmp_path, two) == whole
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_bundle_is_not_prepared_on_what_it_was_trained_on(
    two: ProcessPool, tmp_path: Path
) -> None:
    made = tiny_bundle.make_bundle(tmp_path / "b", 0.5, tasks=(Task.SEGMENTATION,))
    with pytest.raises(ValueError, match="the data have no segmentation"):
        prepare_bundle(made, SourceData("sim", {}), SETTINGS, two, lambda *_: None)
    seen = Bundle(made.path, made.manifest)
    seen.trained_on = {Task.SEGMENTATION: ["road-3", "road-20"]}
    with pytest.raises(
        ValueError, match="was trained on 1 of the held-out pictures, such as road-3"
    ):
        prepare_bundle(seen, data_of(TRAIN, []), SETTINGS, two, lambda *_: None)
    large = [Sample(np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8))] * 12
    with pytest.raises(ValueError, match=r"are \(40, 40\) pixels large"):
        prepare_bundle(made, data_of(large, []), SETTINGS, two, lambda *_: None)


def test_the_gate_gets_a_point_of_each_candidate_on_each_drift(
    source: TaskModel, tmp_path: Path
) -> None:
    patches = prepare_once(tmp_path / "p", source, TRAIN, HELD_OUT, SETTINGS, 0)
    prepared = apply(source, fingerprint(source), patches.data)
    assert isinstance(prepared, PatchedModel)
    points = gate_points(source, prepared, HELD_OUT, SETTINGS, source_entropy=0.5, seed=0)
    assert len(points) == 4 * (1 + len(CORRUPTIONS))
    clear = [point for point in points if point.severity == 0.0]
    assert {point.candidate for point in clear} == {
        *CANDIDATES,
        "prepared, norm of another drift",
    }
    assert all(point.before == clear[0].before for point in clear)
    plain = frames_of_drift(source, HELD_OUT, 4, ("contrast", 0.0), "held_out", seed=0)
    of_source_norm = next(p for p in clear if p.candidate == "prepared, source norm")
    assert of_source_norm.after == evaluate(prepared, plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_sees_a_family_that_is_left_out(family: Family) -> None:
    whole, part = PreparationSettings(), PreparationSettings(leave_out=(family,))
    for drifts in ("training_drifts", "stopping_drifts", "gate_drifts"):
        left = [
            drift
            for drift in getattr(whole, drifts)
            if drift == CLEAR or drift[0] not in corruptions_of(family)
        ]
        assert left != getattr(whole, drifts)
        assert getattr(part, drifts) == left


def test_patches_and_gate_are_made_without_a_family(source: TaskModel, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"leave_out": ("fog", "dark")})
    with pytest.raises(ValueError, match="leave_out has fog, dark, and no other drifts"):
        PreparationSettings.model_validate(settings.model_dump())
    settings = settings.model_copy(update={"leave_out": ("fog",)})
    whole = prepare_once(tmp_path / "whole", source, TRAIN, HELD_OUT, SETTINGS, 0)
    patches = prepare_once(tmp_path / "part", source, TRAIN, HELD_OUT, settings, 0)
    # The source's own frames and one drift are left of it and three.
    assert 2 * patches.record.samples == whole.record.samples
    points = gate_points_once(tmp_path / "part", source, HELD_OUT, settings, 0.5, 0)
    assert {point.corruption for point in points} == set(CORRUPTIONS) - set(corruptions_of("fog"))


def test_a_setting_that_leaves_nothing_out_changes_no_name_of_a_kept_file() -> None:
    assert "leave_out" not in PreparationSettings().model_dump(mode="json")
    assert "leave_out" not in PreparationSettings().model_dump_json()
    settings = PreparationSettings(leave_out=("fog",))
    assert PreparationSettings.model_validate_json(settings.model_dump_json()) == settings


def test_the_gate_is_not_fitted_to_drifts_that_the_patches_know() -> None:
    with pytest.raises(ValueError, match=r"gate_severities has 0\.5, and .* trained on fog 0\.5"):
        PreparationSettings(drifts=(("fog", 0.5),), gate_severities=(0.5,))
