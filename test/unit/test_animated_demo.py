"""The moving picture of a demo, from logs that are written by hand."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from patchline_ros.demo.drive import Drive, SimRoad, open_drive
from patchline_ros.demo.graph_session import DRIVE_FILE
from patchline_ros.demo.records import (
    CAMERA_LOG,
    MASKS,
    RECORDS_LOG,
    CameraLine,
    Kind,
    LineWriter,
    Record,
)
from patchline_ros.demo.report import REPORT_JSON
from patchline_ros.sim import Condition
from patchline_ros.tasks import Task
from tools import animate_demo

STEP = 1_000_000_000 // 6
CLEAR, DRIFT, SWAP = 16, 36, 50
"""Frames before the change, in a lap after it, and before the swap."""


def answer_of(line: CameraLine, folder: Path) -> list[Record]:
    """What the lane segmenter and the drift monitor say of a frame."""
    name = f"{MASKS}/{line.stamp_ns}.png"
    ids = np.full((48, 64), line.index % 8, np.uint8)
    assert cv2.imwrite(str(folder / name), ids)
    drifting = line.stamp_ns > (CLEAR + 5) * STEP
    said = {
        Kind.FEATURES: {"patch_version": int(line.stamp_ns > SWAP * STEP)},
        Kind.RESULT: {"mask": name},
        Kind.DRIFT: {"mmd2": 1.0 if drifting else 0.1, "threshold": 0.5, "drifting": drifting},
    }
    return [
        Record(
            kind=kind,
            task=None if kind is Kind.DRIFT else Task.SEGMENTATION,
            stamp_ns=line.stamp_ns,
            received_ns=line.stamp_ns + 1,
            payload=payload,
        )
        for kind, payload in said.items()
    ]


def write_demo(folder: Path, swapped: bool) -> None:
    """A demo as it is on disk when it has ended."""
    road = SimRoad(
        seed=3,
        size=(48, 64),
        condition=Condition.FOG,
        severity=0.5,
        source_frames=CLEAR,
        drift_frames=DRIFT,
    )
    (folder / MASKS).mkdir()
    Drive(seed=0, road=road).save(folder / DRIVE_FILE)
    camera, records = LineWriter(folder / CAMERA_LOG), LineWriter(folder / RECORDS_LOG)
    shots = open_drive(folder / DRIVE_FILE)
    for place, shot in enumerate([*shots.play(0), *shots.play(1)], start=1):
        line = CameraLine(
            index=shot.index,
            stamp_ns=place * STEP,
            names=shot.names,
            lap=int(place > CLEAR + DRIFT),
            condition=shot.condition,
            split=shot.split,
            labelled=[],
        )
        camera.write(line)
        for record in answer_of(line, folder):
            records.write(record)
    if swapped:
        now = SWAP * STEP + 1
        payload = {"state": "active", "version": 1}
        records.write(
            Record(
                kind=Kind.PATCH,
                task=Task.SEGMENTATION,
                stamp_ns=now,
                received_ns=now,
                payload=payload,
            )
        )
    camera.close()
    records.close()
    scores = {"segmentation": {"before": 44.3, "after": 55.1}}
    (folder / REPORT_JSON).write_text(json.dumps({"tasks": scores}))


def test_the_picture_tells_before_drift_and_after(tmp_path: Path) -> None:
    write_demo(tmp_path, swapped=True)
    logs = animate_demo.read_logs(tmp_path)
    story = animate_demo.story_of(logs)
    chosen = animate_demo.shown(logs.answers[Task.SEGMENTATION], story)
    said = [
        animate_demo.words_at(answer.line.stamp_ns, bool(answer.version), story)[0]
        for answer in chosen
    ]
    told = list(dict.fromkeys(said))
    assert told == [
        "clear road: the source model runs",
        "the weather changes",
        "drift noticed: the source model still runs",
        "patches were swapped in: mean IoU from 44.3% to 55.1%",
    ]
    frames = list(animate_demo.frames(tmp_path))
    assert len(frames) == len(chosen)
    shape = (animate_demo.HEIGHT + animate_demo.STRIP, 2 * animate_demo.WIDTH, 3)
    assert {frame.shape for frame in frames} == {shape}
    assert any((one != other).any() for one, other in pairwise(frames))


def test_a_folder_without_a_swap_or_a_demo_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no demo"):
        animate_demo.read_logs(tmp_path)
    write_demo(tmp_path, swapped=False)
    with pytest.raises(ValueError, match="no patch set for lanes was swapped in"):
        animate_demo.story_of(animate_demo.read_logs(tmp_path))
