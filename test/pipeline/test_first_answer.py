"""A drift is answered without labels: by the worker, and by the loop around it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
from test_adaptation import events_of, runner_for
from test_adaptation_loop import CALM, DRIFT_BEGAN, SECOND, Adapter, drift

from patchline_ros.adaptation.bank import KnownDrift
from patchline_ros.adaptation.episode import Accepted, EpisodeJob, Finished, LeftOut, Rejected
from patchline_ros.adaptation.gain_predictor import GainPredictor
from patchline_ros.adaptation.gate import MARGIN
from patchline_ros.adaptation.label_free_answer import LabelFreeAnswer, label_free_answer
from patchline_ros.adaptation.label_free_candidates import (
    CANDIDATES,
    EARLIER,
    Candidate,
    label_free_candidates,
)
from patchline_ros.adaptation.label_policy import LabelPolicy
from patchline_ros.adaptation.source_model import SourceModel
from patchline_ros.adaptation.task_adaptation import Adaptation, AdaptationSettings
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.adaptation.unlabelled_frames import (
    CAPACITY,
    LEAST_UNLABELLED,
    UnlabelledFrames,
    read_unlabelled,
)
from patchline_ros.bundle import Bundle
from patchline_ros.messages.loop_state import LoopState
from patchline_ros.patching.ladder import LadderSettings
from patchline_ros.patching.patch_set import apply, read_metadata, tensors_sha256
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.evidence import Look, evidence

PROMISED = 0.5
SURE = (Task.CLASSIFICATION, Task.SEGMENTATION)
"""An untrained detector is sure of no box, so nothing changes its answers."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("prepared") / "b"
    return tiny_bundle.make_bundle(folder, source_entropy=0.5, promised_gain=PROMISED)


def pictures(task: Task, count: int) -> UnlabelledFrames:
    frames = UnlabelledFrames([task])
    for number in range(count):
        frames.add(task, 1000 + number, tiny_bundle.picture(number))
    return frames


def test_pictures_between_two_stamps_are_written_and_the_oldest_go(tmp_path: Path) -> None:
    frames = pictures(Task.SEGMENTATION, CAPACITY + 5)
    assert len(frames.stamps(0)[Task.SEGMENTATION]) == CAPACITY
    files = frames.write(tmp_path, since_ns=1010, until_ns=1013)
    read = read_unlabelled(files[Task.SEGMENTATION])
    assert np.array_equal(read, [tiny_bundle.picture(10 + i) for i in range(4)])
    assert frames.write(tmp_path, since_ns=1, until_ns=2) == {}
    files[Task.SEGMENTATION].write_bytes(b"no pictures")
    with pytest.raises(ValueError, match="pictures without labels"):
        read_unlabelled(files[Task.SEGMENTATION])


@pytest.mark.parametrize("task", SURE)
def test_what_is_surely_better_becomes_a_version_that_says_what_to_expect(
    tmp_path: Path, bundle: Bundle, task: Task
) -> None:
    runner = runner_for(tmp_path, bundle, epochs=1)
    frames = pictures(task, 16)
    runner.start(since_ns=1000, mmd2=0.5, active={}, until_ns=1011, unlabelled=frames)
    accepted, finished = events_of(runner)
    assert isinstance(accepted, Accepted) and isinstance(finished, Finished)
    report = finished.episode
    assert report.basis == "prediction" and report.accepted == {task: True}
    assert report.collected == {task: 12}
    data = accepted.path.read_bytes()
    metadata = read_metadata(data)
    assert (metadata.version, metadata.method) == (1, read_metadata(bundle.prepared(task)).method)
    assert metadata.expected is not None and metadata.expected.ran == ""
    predicted = report.predicted[task]
    assert predicted.gain == pytest.approx(PROMISED * (1 - metadata.expected.agreement), rel=0.3)
    apply(bundle.model(task), bundle.fingerprint(task), data)
    # Of the candidates the one that is predicted to gain most.
    source = SourceModel.of_bundle(bundle, task)
    assert source.prepared is not None
    images = [tiny_bundle.picture(number) for number in range(12)]
    before, gains = Look.at(source.model, images), {}
    prepared = source.prepared
    for candidate in label_free_candidates(source.model, prepared.model, prepared.method, images):
        seen = evidence(before, Look.at(candidate.model, images), source.entropy)
        gains[candidate.name] = source.prepared.gate.predict(seen), candidate.norm
    best, norm = max(gains.values(), key=lambda each: each[0].gain)
    assert (predicted.gain, metadata.norm) == (best.gain, norm)
    # A dozen pictures are no sure sample where each has one label.
    assert (predicted.error > best.error) == task.traits.one_label
    assert set(gains) == set(CANDIDATES) and len({gain.gain for gain, _ in gains.values()}) > 1


def test_what_is_not_surely_better_is_not_taken_and_why_is_said(tmp_path: Path) -> None:
    task = Task.SEGMENTATION
    worse = tiny_bundle.make_bundle(tmp_path / "b", source_entropy=0.5, promised_gain=-0.5)
    runner = runner_for(tmp_path, worse, epochs=1)
    runner.start(since_ns=1000, mmd2=0.5, active={}, unlabelled=pictures(task, 12))
    rejected, finished = events_of(runner)
    assert isinstance(rejected, Rejected) and isinstance(finished, Finished)
    assert re.match(
        r"without labels the best candidate \(.+\) is predicted to gain -0\.", rejected.reason
    )
    assert finished.episode.accepted == {task: False}
    assert runner.latest() == {}


def test_what_answered_an_earlier_drift_answers_again_whatever_the_pictures(
    tmp_path: Path, bundle: Bundle
) -> None:
    task = Task.SEGMENTATION
    runner = runner_for(tmp_path, bundle, epochs=1)
    runner.start(since_ns=1000, mmd2=0.5, active={}, unlabelled=pictures(task, 12))
    first, _ = events_of(runner)
    assert isinstance(first, Accepted)
    kept = tmp_path / "kept.safetensors"
    kept.write_bytes(first.path.read_bytes())
    known = KnownDrift("000001", 0.0, 0.5, {task: kept}, "prediction")
    others = UnlabelledFrames([task])
    for number in range(12):
        others.add(task, 2000 + number, tiny_bundle.picture(100 + number))
    runner.start(since_ns=2000, mmd2=0.5, active={}, known=known, unlabelled=others)
    again, finished = events_of(runner)
    assert isinstance(again, Accepted) and again.version == 2
    assert isinstance(finished, Finished)
    assert finished.episode.candidates == {task: EARLIER}
    assert finished.episode.bank_entry == "000001"
    assert tensors_sha256(again.path.read_bytes()) == tensors_sha256(kept.read_bytes())
    assert read_metadata(again.path.read_bytes()).norm == read_metadata(kept.read_bytes()).norm
    # One that is damaged is left out, and the others answer.
    kept.write_bytes(b"no patch set")
    runner.start(since_ns=2000, mmd2=0.5, active={}, known=known, unlabelled=others)
    left_out, answer, finished = events_of(runner)
    assert isinstance(left_out, LeftOut) and "earlier drift for segmentation" in left_out.reason
    assert isinstance(answer, Accepted) and isinstance(finished, Finished)
    assert finished.episode.candidates[task] in CANDIDATES


def test_what_was_surely_better_once_only_has_to_be_better_when_its_drift_returns(
    bundle: Bundle,
) -> None:
    task = Task.SEGMENTATION
    images = [tiny_bundle.picture(number) for number in range(12)]
    source = SourceModel.of_bundle(bundle, task)
    prepared = source.prepared
    assert prepared is not None

    def unsure(gain: float) -> GainPredictor:
        """Of two corruptions one gives twice this share of what is changed, the other nothing."""
        points = []
        for point in bundle.manifest.prepared[task].gate:
            given = 2 * gain * (1 - point.evidence.agreement) * (point.corruption == "fog")
            points.append(point.model_copy(update={"after": point.before + given}))
        return GainPredictor(points)

    def answer(gate: GainPredictor, earlier: Candidate | None) -> LabelFreeAnswer:
        judged_so = replace(source, prepared=replace(prepared, gate=gate))
        return label_free_answer(source.model, judged_so, images, MARGIN, earlier)

    best = answer(unsure(PROMISED), None)
    assert not best.accepted and best.gain.gain > MARGIN, "it is within the error"
    earlier = replace(best.candidate, name=EARLIER)
    for part, again in ((1.1, True), (0.9, False)):
        gate = unsure(PROMISED * part * MARGIN / best.gain.gain)
        found = answer(gate, earlier)
        assert found.accepted == again and (found.candidate.name == EARLIER) == again


def test_only_what_was_prepared_is_trained_on(bundle: Bundle) -> None:
    task = Task.SEGMENTATION
    road = np.ones((32, 32), np.uint8)
    samples = [Sample(tiny_bundle.picture(number), road) for number in range(10)]
    settings = AdaptationSettings(
        LadderSettings(), TrainingSettings(), {task: 1.0}, seed=0, start="prepared"
    )
    source = SourceModel.of_bundle(bundle, task)
    adaptation = Adaptation({task: source}, {task: samples}, {}, settings)
    with pytest.raises(ValueError, match="lst is to be trained for segmentation, and patchline"):
        adaptation.adapt(task)


def test_the_first_answer_does_not_wait_for_a_compiler(tmp_path: Path, bundle: Bundle) -> None:
    """PyTorch's takes seconds to import, and some of its tools import it where nobody sees it."""
    job = EpisodeJob(
        bundle=bundle.path,
        store=tmp_path,
        output=tmp_path,
        since_ns=1000,
        mmd2=0.5,
        unlabelled=pictures(Task.CLASSIFICATION, 12).write(tmp_path, 0, 2000),
        next_version=dict.fromkeys(Task, 1),
        seed=0,
        threads=1,
    )
    code = (
        "import sys\n"
        "from patchline_ros.adaptation.episode import Accepted, EpisodeJob\n"
        "from patchline_ros.adaptation.first_answer import first_answer\n"
        "events = []\n"
        "first_answer(EpisodeJob.model_validate_json(sys.argv[1]), events.append)\n"
        "assert isinstance(events[0], Accepted)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    command = [sys.executable, "-c", code, job.model_dump_json()]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


NOTICED = 3
"""Seconds after its beginning at which the drift is noticed."""


def show(adapter: Adapter, count: int) -> None:
    """Pictures of the drift, the last of them when it is noticed, and so many after that."""
    for number in range(-2, count):
        stamp_ns = DRIFT_BEGAN + NOTICED * SECOND + number * SECOND // 5
        adapter.loop.saw_picture(Task.SEGMENTATION, stamp_ns, tiny_bundle.picture(2 + number))


@pytest.mark.parametrize("labels", LabelPolicy)
def test_a_car_without_labels_answers_once_and_says_what_it_waits_for(
    bundle: Bundle, tmp_path: Path, labels: LabelPolicy
) -> None:
    adapter = Adapter(bundle, tmp_path / "store", labels=labels)
    try:
        adapter.loop.heard_drift(drift(seconds=NOTICED))
        spare = adapter.storage.runner._spare
        assert (spare is not None) == (labels is not LabelPolicy.REQUIRED)
        show(adapter, LEAST_UNLABELLED)
        adapter.loop.heard_drift(drift(seconds=NOTICED + 10))
        if labels is LabelPolicy.REQUIRED:
            assert adapter.state is LoopState.COLLECTING
            assert "no labelled frame has come" in adapter.statuses[-1].reason
            return
        assert adapter.state is LoopState.ANSWERING
        assert adapter.storage.runner._worker is spare, "the process that was made ready"
        adapter.until_finished()
        assert [patch_set.task for patch_set in adapter.sent] == [Task.SEGMENTATION]
        told = json.loads(adapter.statuses[-1].episode_json)
        assert told["basis"] == "prediction" and told["since_ns"] == DRIFT_BEGAN
        # Those of before the notice may show the road of before the drift.
        assert told["collected"] == {"segmentation": LEAST_UNLABELLED}
        adapter.loop.heard_version(Task.SEGMENTATION, "segmentation", 1, 0, False)
        adapter.loop.tick()
        if labels is LabelPolicy.NONE:
            assert adapter.state is LoopState.FINISHED, "nothing is waited for"
            return
        assert adapter.state is LoopState.COLLECTING
        assert "patches run for segmentation" in adapter.statuses[-1].reason
        adapter.label(range(24))
        adapter.loop.heard_drift(drift())
        adapter.until(lambda: adapter.state is LoopState.TRAINING)
    finally:
        adapter.loop.stop()


def test_a_worker_waits_on_calm_roads_and_ends_with_the_adapter(
    bundle: Bundle, tmp_path: Path
) -> None:
    adapter = Adapter(bundle, tmp_path / "store", labels=LabelPolicy.NONE)
    try:
        adapter.loop.heard_drift(CALM)
        spare = adapter.storage.runner._spare
        assert spare is not None and spare.poll() is None
        adapter.loop.heard_drift(drift(seconds=NOTICED))
        adapter.loop.heard_drift(CALM)
        assert spare.poll() is None and adapter.storage.runner._spare is spare
    finally:
        adapter.loop.stop()
    assert spare.poll() is not None and adapter.storage.runner._spare is None


def test_pictures_that_are_none_of_the_models_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    adapter = Adapter(bundle, tmp_path / "store")
    large = tiny_bundle.picture(0, height=40, width=40)
    adapter.loop.saw_picture(Task.SEGMENTATION, DRIFT_BEGAN, large)
    assert adapter.loop.ignored == 1
    assert adapter.log.has("picture of segmentation refused: it is (40, 40) pixels large")
