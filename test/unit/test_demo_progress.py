"""When a running demo is over, when it has failed, and that nothing it started stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.demo.failure import DemoFailedError
from patchline_ros.demo.progress import GRACE_FRAMES, Plan, Progress
from patchline_ros.demo.records import CameraLine, Kind, Record, Split
from patchline_ros.demo.view import current_step, said, steps
from patchline_ros.graph import processes as graph_processes
from patchline_ros.graph.processes import ProcessDiedError, Processes, free_domain, release_domain
from patchline_ros.tasks import Task

PLAN = Plan(
    source_frames=2, drift_frames=3, test_shots=frozenset({4}), tasks=(Task.CLASSIFICATION,)
)
DRIFTING = {"mmd2": 0.5, "threshold": 0.1, "drifting": True}


class Drive:
    """Feeds a progress one frame after the other: shots 0 and 1 once, then 2, 3, 4 in a circle."""

    def __init__(self, plan: Plan = PLAN) -> None:
        self.progress = Progress(plan)
        self._now = 0
        self._published = 0

    def tell(self, kind: Kind, task: Task | None = None, **payload: object) -> None:
        self.progress.feed([], [self._record(kind, task, payload)])

    def frame(self, answered: bool = True) -> CameraLine:
        self._now += 10
        place = self._published
        index = place if place < 2 else 2 + (place - 2) % 3
        split = Split.SOURCE if index < 2 else Split.TEST if index == 4 else Split.ADAPT
        line = CameraLine(
            index=index,
            stamp_ns=self._now,
            names={},
            lap=max(0, (place - 2) // 3),
            condition="night",
            split=split,
            labelled=[],
        )
        self._published += 1
        answer = [self._record(Kind.RESULT, Task.CLASSIFICATION, {})] if answered else []
        self.progress.feed([line], answer)
        return line

    def _record(self, kind: Kind, task: Task | None, payload: dict[str, object]) -> Record:
        return Record(
            kind=kind, task=task, stamp_ns=self._now, received_ns=self._now, payload=payload
        )

    def until_noticed(self) -> None:
        for _ in range(4):
            self.frame()
        self.tell(Kind.DRIFT, **DRIFTING)

    def until_swap(self, accepted: bool = True) -> None:
        self.until_noticed()
        self.tell(Kind.ADAPTATION, state="training")
        self.tell(Kind.ADAPTATION, state="finished", episode_json=episode("labels", accepted))

    def swap(self, version: int) -> None:
        self.tell(Kind.PATCH, Task.CLASSIFICATION, state="active", version=version)


def episode(basis: Literal["labels", "prediction"], accepted: bool) -> str:
    report = EpisodeReport(
        basis=basis,
        since_ns=1,
        until_ns=40,
        accepted={Task.CLASSIFICATION: accepted},
        seconds={Task.CLASSIFICATION: 1.0},
    )
    return report.as_json()


def test_a_demo_ends_when_the_test_frames_were_answered_after_the_swap() -> None:
    drive = Drive()
    drive.until_swap()
    assert drive.progress.frames_to_detect == 2
    assert not drive.progress.settled
    drive.swap(1)
    assert drive.progress.settled and not drive.progress.finished()
    while drive.frame().index != 4:
        assert not drive.progress.finished()
    assert drive.progress.finished()


def test_an_answer_without_labels_comes_before_the_training() -> None:
    """Its own patch set is not mistaken for that of the training, which is awaited."""
    drive = Drive(replace(PLAN, answers=True))
    drive.until_noticed()
    assert current_step(drive.progress) == "answer"
    # The end of an answer may be overtaken by the status that follows.
    answer = episode("prediction", accepted=True)
    drive.tell(Kind.ADAPTATION, state="collecting", episode_json=answer)
    drive.swap(1)
    assert current_step(drive.progress) == "collect" and not drive.progress.settled
    assert said("answer", drive.progress) == "signs: 1.0 s"
    drive.tell(Kind.ADAPTATION, state="training", episode_json=answer)
    assert current_step(drive.progress) == "train"
    training = episode("labels", accepted=True)
    drive.tell(Kind.ADAPTATION, state="finished", episode_json=training)
    assert current_step(drive.progress) == "swap" and not drive.progress.settled
    drive.swap(2)
    assert drive.progress.settled


def test_without_labels_the_answer_ends_the_demo() -> None:
    plan = replace(PLAN, answers=True, trains=False)
    assert not {"collect", "train"} & steps(plan).keys()
    drive = Drive(plan)
    drive.until_noticed()
    answer = episode("prediction", accepted=True)
    drive.tell(Kind.ADAPTATION, state="finished", episode_json=answer)
    assert not drive.progress.settled
    drive.swap(1)
    assert drive.progress.settled and not drive.progress.finished()
    while drive.frame().index != 4:
        assert not drive.progress.finished()
    assert drive.progress.finished()


def test_an_answer_to_a_false_alarm_is_not_the_one_to_the_change() -> None:
    drive = Drive(replace(PLAN, answers=True, trains=False))
    answer = episode("prediction", accepted=False)
    drive.tell(Kind.ADAPTATION, state="finished", episode_json=answer)
    drive.until_noticed()
    assert current_step(drive.progress) == "answer"


def test_a_drift_that_is_never_answered_ends_the_demo() -> None:
    drive = Drive(replace(PLAN, answers=True, trains=False))
    drive.until_noticed()
    for _ in range(3 * PLAN.drift_frames):
        drive.progress.check()
        drive.frame()
    with pytest.raises(DemoFailedError, match="did not answer"):
        drive.progress.check()


def test_a_refused_episode_needs_no_swap() -> None:
    drive = Drive()
    drive.until_swap(accepted=False)
    assert drive.progress.settled


def test_a_lost_test_frame_does_not_hold_up_the_end() -> None:
    drive = Drive()
    drive.until_swap(accepted=False)
    for _ in range(PLAN.drift_frames + GRACE_FRAMES):
        assert not drive.progress.finished()
        drive.frame(answered=False)
    assert drive.progress.finished()


def test_false_alarms_are_not_detections() -> None:
    drive = Drive()
    drive.frame()
    drive.tell(Kind.DRIFT, **DRIFTING)
    assert (drive.progress.false_alarms, drive.progress.frames_to_detect) == (1, None)
    assert current_step(drive.progress) == "source"


def test_unnoticed_drift_and_a_failed_adaptation_end_the_demo() -> None:
    drive = Drive()
    for _ in range(2 + 2 * PLAN.drift_frames):
        drive.progress.check()
        drive.frame()
    with pytest.raises(DemoFailedError, match="No drift was detected in 6 frames"):
        drive.progress.check()
    drive.tell(Kind.ADAPTATION, state="failed", reason="the worker was killed")
    with pytest.raises(DemoFailedError, match="the worker was killed"):
        drive.progress.check()


def test_an_adapter_that_never_starts_ends_the_demo() -> None:
    drive = Drive()
    for _ in range(4):
        drive.frame()
    drive.tell(Kind.DRIFT, **DRIFTING)
    drive.tell(Kind.ADAPTATION, state="collecting", collected=7)
    for _ in range(3 * PLAN.drift_frames):
        drive.progress.check()
        drive.frame()
    with pytest.raises(DemoFailedError, match="it has 7 labels"):
        drive.progress.check()


def test_an_interrupt_as_a_process_starts_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt), Processes(tmp_path, os.environ) as processes:
        processes.start("one", ["sleep", "60"])
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


def test_a_process_that_ends_is_reported_and_the_others_are_stopped(tmp_path: Path) -> None:
    pids = []
    with (
        pytest.raises(
            ProcessDiedError, match=r"(?s)brief ended by itself \(exit code 3\).*good night"
        ),
        Processes(tmp_path, os.environ) as processes,
    ):
        patient = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
        processes.start("patient", [sys.executable, "-c", patient])
        processes.start("brief", [sys.executable, "-c", "print('good night'); raise SystemExit(3)"])
        while not (tmp_path / "patient.log").read_text():
            time.sleep(0.02)
        pids.append(int((tmp_path / "patient.log").read_text()))
        while True:
            processes.check()
            time.sleep(0.02)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_free_domain_is_one_that_ros_may_use_and_nobody_else_gets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert range(1, 102) == graph_processes.DOMAINS
    # Few, so that the tests beside this one find others.
    monkeypatch.setattr(graph_processes, "DOMAINS", range(90, 96))
    drawn = []
    with pytest.raises(RuntimeError, match="all ROS domains 1 to 101 are in use"):
        while True:
            drawn.append(free_domain())
    assert drawn and set(drawn) <= set(range(90, 96)) and len(set(drawn)) == len(drawn)
    other = (
        "from patchline_ros.graph import processes\n"
        f"processes.DOMAINS = {drawn}\n"
        "processes.free_domain()"
    )
    ended = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True)
    assert "are in use" in ended.stderr
    release_domain(drawn[0])
    assert free_domain() == drawn[0]
    for domain in drawn:
        release_domain(domain)
