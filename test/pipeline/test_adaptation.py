"""Selection, number of patches, order, and a whole episode in its worker process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
import torch

from patchline_ros.adaptation.episode import Accepted, Chosen, Failed, Finished, Progress, Rejected
from patchline_ros.adaptation.episode_runner import EpisodeRunner
from patchline_ros.adaptation.events import to_line
from patchline_ros.adaptation.selection import entropies, uncertain
from patchline_ros.adaptation.store import FrameStore
from patchline_ros.adaptation.trainer import TrainingError, train_adapted
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.bundle import Bundle
from patchline_ros.manifest import BundleError
from patchline_ros.patching.fine_tuned import FineTuneSettings
from patchline_ros.patching.methods import adapted
from patchline_ros.patching.patch_set import apply
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.tasks import Boxes, Sample, Task
from patchline_ros.vision.evaluation import evaluate
from patchline_ros.vision.inputs import image_tensor


def sample(task: Task, seed: int) -> Sample:
    """Pictures whose brightness tells the label, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    label = seed % 3
    image = rng.integers(0, 60, (48, 64, 3), dtype=np.uint8) + np.uint8(80 * label)
    if task is Task.CLASSIFICATION:
        return Sample(image, label)
    if task is Task.DETECTION:
        return Sample(image, Boxes.truth([[4, 4, 40, 40]], [label % 2]))
    return Sample(image, np.full((48, 64), label, np.uint8))


def fill(store: FrameStore, tasks: list[Task], frames: int) -> None:
    for task in tasks:
        for i in range(frames):
            store.add(f"frame{i}", task, 1000 + i, sample(task, i))


def test_selection_keeps_what_is_at_least_as_uncertain_as_the_source() -> None:
    assert uncertain([0.1, 0.5, 0.49, 0.9, 0.7], 0.5) == [1, 3, 4]
    # A model that is sure of itself everywhere still gets the half of which it is least sure.
    assert uncertain([0.1, 0.3, 0.2, 0.4], 0.5) == [1, 3]
    # The paper's rule alone keeps no least share.
    assert uncertain([0.1, 0.5, 0.3], 0.5, least=0) == [1]


@pytest.mark.parametrize(
    ("values", "source", "message"),
    [
        ([], 0.5, "no samples to choose from"),
        ([0.1, 0.2], 0.5, "leaves none of 2 samples: the highest entropy is 0.2"),
        ([0.1, float("nan"), 0.7], 0.5, "1 of 3 samples .* the first sample 1"),
        ([0.1, 0.2], float("nan"), "source entropy is nan"),
    ],
)
def test_selection_names_what_it_can_not_choose_from(
    values: list[float], source: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        uncertain(values, source, least=0)


def test_entropy_needs_samples(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no segmentation sample"):
        entropies(tiny_bundle.make_bundle(tmp_path / "b").model(Task.SEGMENTATION), [])


def test_training_lowers_the_loss_and_counts_its_cost(tmp_path: Path) -> None:
    bundle = tiny_bundle.make_bundle(tmp_path / "b")
    torch.manual_seed(0)
    model = PatchedModel(bundle.model(Task.SEGMENTATION), PatchSettings(k=7))
    shares: list[float] = []
    samples = [sample(Task.SEGMENTATION, i) for i in range(12)]
    scene = [s.image for s in samples]
    held_out = [sample(Task.SEGMENTATION, 20 + i) for i in range(6)]
    record = train_adapted(
        model, samples, held_out, scene, TrainingSettings(epochs=4), 0, progress=shares.append
    )
    assert len(record.metrics) == 5
    assert record.metrics[record.best_epoch] == max(record.metrics)
    assert evaluate(model, held_out) == pytest.approx(max(record.metrics), abs=0.02)
    assert record.losses[-1] < record.losses[0]
    assert shares == [0.25, 0.5, 0.75, 1.0]
    # Twice the epochs cost twice the steps and the same cache.
    again = PatchedModel(bundle.model(Task.SEGMENTATION), PatchSettings(k=7))
    longer = train_adapted(again, samples, held_out, scene, TrainingSettings(epochs=8), 0)
    assert record.gflops < longer.gflops < 2 * record.gflops
    with pytest.raises(TrainingError, match="no labelled frames"):
        train_adapted(model, [], [], [], TrainingSettings(), 0)


@pytest.mark.parametrize("batch_size", [4, 10])
def test_the_loss_of_an_epoch_is_the_mean_over_its_frames(tmp_path: Path, batch_size: int) -> None:
    """With a rate that changes nothing: whatever the batches, the last of which may be smaller."""
    model = adapted(
        tiny_bundle.make_bundle(tmp_path / "b").model(Task.CLASSIFICATION),
        FineTuneSettings(method="ft_last"),
    )
    samples = [sample(Task.CLASSIFICATION, i) for i in range(10)]
    settings = TrainingSettings(epochs=1, rate=1e-9, batch_size=batch_size)
    record = train_adapted(model, samples, [], [s.image for s in samples], settings, 0)
    images = torch.stack([image_tensor(s.image) for s in samples])
    labels = torch.tensor([s.label for s in samples])
    with torch.no_grad():
        expected = model.head.loss(model.eval()(images), labels).item()
    # Dropout is on in a training.
    assert record.losses == [pytest.approx(expected, rel=0.2)]


def test_signs_of_one_class_are_refused(tmp_path: Path) -> None:
    model = PatchedModel(
        tiny_bundle.make_bundle(tmp_path / "b").model(Task.CLASSIFICATION), PatchSettings(k=1)
    )
    signs = [Sample(sample(Task.CLASSIFICATION, i).image, 1) for i in range(4)]
    with pytest.raises(TrainingError, match="all 4 pictures are of"):
        train_adapted(model, signs, [], [], TrainingSettings(), 0)


def test_a_training_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    source = tiny_bundle.make_bundle(tmp_path / "b").model(Task.CLASSIFICATION)
    samples = [sample(Task.CLASSIFICATION, i) for i in range(9)]
    scene = [s.image for s in samples]
    file = tmp_path / "training.safetensors"

    def train(checkpoint: Path | None, progress, seed: int = 0) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = PatchedModel(source, PatchSettings(k=2))
        train_adapted(
            model,
            samples,
            samples[:4],
            scene,
            TrainingSettings(epochs=6),
            seed,
            checkpoint=checkpoint,
            progress=progress,
        )
        return model.adapted_state("reestimated")

    def stop(share: float) -> None:
        if share == 0.5:
            raise KeyboardInterrupt

    whole = train(None, lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        train(file, stop)
    shares: list[float] = []
    resumed = train(file, shares.append)
    assert shares == [4 / 6, 5 / 6, 1.0]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    with pytest.raises(ValueError, match="other frames, settings or weights"):
        train(file, shares.append, seed=1)
    file.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="can't be read"):
        train(file, shares.append)


def test_what_is_kept_changes_nothing_but_the_cost(tmp_path: Path) -> None:
    source = tiny_bundle.make_bundle(tmp_path / "b").model(Task.SEGMENTATION)
    samples = [sample(Task.SEGMENTATION, i) for i in range(8)]
    scene = [s.image for s in samples]
    states, costs = {}, {}
    for cache in ("float32", "none", "float16", "int8"):
        torch.manual_seed(0)
        model = PatchedModel(source, PatchSettings(k=3))
        settings = TrainingSettings(epochs=3, mirror=False, cache=cache)
        record = train_adapted(model, samples, [], scene, settings, 0)
        states[cache] = model.adapted_state("reestimated")
        costs[cache] = record.stage_gflops
    assert all(torch.equal(states["none"][k], value) for k, value in states["float32"].items())
    assert not all(torch.equal(states["none"][k], value) for k, value in states["float16"].items())
    for rounded in ("float16", "int8"):
        for name, value in states[rounded].items():
            assert torch.allclose(value, states["float32"][name], atol=2e-2)
    assert costs["none"]["frozen"] == pytest.approx(3 * costs["float32"]["frozen"])
    assert costs["none"]["training"] == costs["float32"]["training"]


def test_a_checkpoint_knows_the_labels(tmp_path: Path) -> None:
    source = tiny_bundle.make_bundle(tmp_path / "b").model(Task.SEGMENTATION)
    samples = [sample(Task.SEGMENTATION, i) for i in range(4)]
    scene = [s.image for s in samples]
    file = tmp_path / "training.safetensors"

    def train(labelled: list[Sample]) -> None:
        torch.manual_seed(0)
        model = PatchedModel(source, PatchSettings(k=1))
        settings = TrainingSettings(epochs=1, mirror=False)
        train_adapted(model, labelled, [], scene, settings, 0, checkpoint=file)

    train(samples)
    other = samples[0].label.copy()
    other[len(other) // 2, other.shape[1] // 2] ^= 1
    with pytest.raises(ValueError, match="other frames, settings or weights"):
        train([Sample(samples[0].image, other), *samples[1:]])


def test_training_stops_when_nothing_gets_better(tmp_path: Path) -> None:
    source = tiny_bundle.make_bundle(tmp_path / "b").model(Task.SEGMENTATION)
    samples = [sample(Task.SEGMENTATION, i) for i in range(4)]
    nothing_labelled = [Sample(s.image, np.full_like(s.label, 255)) for s in samples]
    model = PatchedModel(source, PatchSettings(k=1))
    settings = TrainingSettings(epochs=20, patience=3)
    scene = [s.image for s in samples]
    record = train_adapted(model, samples, nothing_labelled, scene, settings, 0)
    assert record.best_epoch == 0
    assert len(record.losses) == 3


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: (p / "manifest.json").unlink(), "no manifest.json"),
        (lambda p: (p / "manifest.json").write_text("{"), "manifest"),
        (lambda p: (p / "manifest.json").write_bytes(b"\xff\xfe\x00"), "manifest"),
        (lambda p: (p / "segmentation.safetensors").unlink(), "lacks the file segmentation"),
        (
            lambda p: (p / "classification.safetensors").write_bytes(b"x"),
            "classification.safetensors does not have",
        ),
        (lambda p: os.rename(p, p.with_name("gone")), "does not exist"),
    ],
)
def test_a_damaged_bundle_is_named(tmp_path: Path, damage, message: str) -> None:
    path = tmp_path / "b"
    tiny_bundle.make_bundle(path)
    assert Bundle.load(path).spec(Task.SEGMENTATION).task is Task.SEGMENTATION
    damage(path)
    with pytest.raises(BundleError, match=message):
        Bundle.load(path)


def runner_for(tmp_path: Path, bundle: Bundle, epochs: int) -> EpisodeRunner:
    return EpisodeRunner(
        bundle=bundle.path,
        store=tmp_path / "store",
        work=tmp_path / "work",
        training=TrainingSettings(epochs=epochs),
        seed=0,
        threads=1,
    )


def events_of(runner: EpisodeRunner) -> list:
    events = []
    deadline = time.monotonic() + 120
    while runner.running:
        assert time.monotonic() < deadline
        events.extend(runner.poll())
        time.sleep(0.02)
    return events + runner.poll()


def test_an_episode_runs_in_its_own_process(tmp_path: Path) -> None:
    bundle = tiny_bundle.make_bundle(tmp_path / "b")
    fill(FrameStore(tmp_path / "store", 100, 100), [Task.CLASSIFICATION, Task.SEGMENTATION], 20)
    runner = runner_for(tmp_path, bundle, epochs=6)
    runner.start(since_ns=1000, mmd2=0.5, active={})
    events = events_of(runner)
    runner.stop()
    chosen = next(event for event in events if isinstance(event, Chosen))
    assert chosen.collected == {Task.CLASSIFICATION: 16, Task.SEGMENTATION: 16}
    verdicts = [event for event in events if isinstance(event, Accepted | Rejected)]
    assert {verdict.task for verdict in verdicts} == {Task.CLASSIFICATION, Task.SEGMENTATION}
    assert isinstance(events[-1], Finished)
    report = events[-1].episode
    second = report.order[1]
    assert report.warm_start == {second: report.order[0]}
    for event in verdicts:
        if isinstance(event, Accepted):
            assert runner.latest()[event.task] == (1, event.path)
            apply(bundle.model(event.task), bundle.fingerprint(event.task), event.path.read_bytes())
    assert any(isinstance(event, Accepted) for event in verdicts)


def test_a_killed_worker_is_reported_and_the_frames_stay(tmp_path: Path) -> None:
    bundle = tiny_bundle.make_bundle(tmp_path / "b")
    store = FrameStore(tmp_path / "store", 100, 100)
    fill(store, [Task.CLASSIFICATION], 20)
    runner = runner_for(tmp_path, bundle, epochs=100_000)
    runner.start(since_ns=0, mmd2=0.5, active={})
    while not any(isinstance(event, Chosen) for event in runner.poll()):
        time.sleep(0.05)
    runner._worker.kill()
    events = events_of(runner)
    assert isinstance(events[-1], Failed)
    assert "SIGKILL" in events[-1].reason
    assert store.count(Task.CLASSIFICATION, 0) == 20
    assert runner.latest() == {}


@pytest.mark.parametrize(
    "printed", [b"a library says hello", b'{"kind": "Prog', b"[1]", b'{"kind": []}', b"\xff\xfe"]
)
def test_a_line_that_is_no_event_fails_the_training(tmp_path: Path, printed: bytes) -> None:
    runner = EpisodeRunner(tmp_path, tmp_path, tmp_path / "w", TrainingSettings(), 0, threads=1)
    lines = to_line(Progress(Task.CLASSIFICATION, 0.5)).encode() + b"\n" + printed
    says = f"import os, time; os.write(1, {lines!r}); os.close(1); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", says], stdout=subprocess.PIPE, encoding="utf-8", errors="replace"
    ) as worker:
        runner._read(worker)
    progress, failed = runner.poll()
    assert isinstance(progress, Progress) and isinstance(failed, Failed)
    assert "which is no event" in failed.reason and "worker.log" in failed.reason


def test_a_worker_whose_adapter_has_ended_gives_no_version(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "patchline_ros.adaptation.worker", str(tmp_path / "job.json")]
    nobody = str(os.getpid() + 1)
    ended = subprocess.run([*command, nobody], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "the adapter that started this training has ended" in ended.stderr


def test_stopping_ends_the_training(tmp_path: Path) -> None:
    bundle = tiny_bundle.make_bundle(tmp_path / "b")
    fill(FrameStore(tmp_path / "store", 100, 100), [Task.CLASSIFICATION], 20)
    runner = runner_for(tmp_path, bundle, epochs=100_000)
    runner.start(since_ns=0, mmd2=0.5, active={})
    with pytest.raises(RuntimeError, match="under way"):
        runner.start(since_ns=0, mmd2=0.5, active={})
    worker = runner._worker
    runner.stop()
    assert worker.poll() is not None
