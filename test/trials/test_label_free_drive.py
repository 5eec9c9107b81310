"""A whole drive of a car that gets no label."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_bundle
from demo_drives import short_drive

from patchline_ros.bundle import Bundle


def test_without_labels_prepared_patches_answer(shipped_bundle: Path, tmp_path: Path) -> None:
    """What they are said to gain is what the graph has gained, though another program asks them."""
    bundle = tiny_bundle.with_prepared(Bundle.load(shipped_bundle), tmp_path / "b", 5.0)
    out = tmp_path / "out"
    report = short_drive(24, out, "--labels", "none", "--bundle", str(bundle.path))
    assert report["adaptation"] is None
    assert not list((out / "store").rglob("*.npz"))
    lines = [json.loads(line) for line in (out / "camera.jsonl").read_text().splitlines()]
    assert not any(line["labelled"] for line in lines)
    assert report["answer"]["seconds_to_swap"] < 30
    # Other norm statistics change the class of few signs, and on so short a road of none.
    for task in ("detection", "segmentation"):
        row, answer = report["tasks"][task], report["answer"]["tasks"][task]
        assert answer["accepted"] and answer["predicted"] > answer["error"]
        assert row["answered"] == pytest.approx(row["after"], abs=0.01)
        assert answer["gain"] == pytest.approx(row["answered"] - row["before"])
