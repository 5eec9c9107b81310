"""Jobs in worker processes: all are done, what fails is named, and nothing outlives the parent."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console
from touching_jobs import Touch, ends

from patchline_ros.jobs.scheduler import (
    Advanced,
    Ended,
    ProcessPool,
    run_jobs,
)


@pytest.fixture
def two() -> Iterator[ProcessPool]:
    with closing(ProcessPool(2)) as processes:
        yield processes


def test_jobs_that_fail_stop_no_other(tmp_path: Path, two: ProcessPool) -> None:
    jobs = [
        Touch(tmp_path / f"{i}", then) for i, then in enumerate(["", "fail", "", "die", "", ""])
    ]
    output = io.StringIO()
    failures = run_jobs("jobs", jobs, two, Console(file=output, width=200))
    assert sorted(failures) == [
        "1: these frames can't be used",
        "3: its process ended with exit code 3",
    ]
    written = [(tmp_path / f"{i}").read_text() for i in range(6)]
    assert "6 of 6" in output.getvalue()
    assert "failed: 1: these frames" in output.getvalue()
    # Workers stay from job to job, and from call to call; one was replaced.
    assert 2 <= len(set(written)) <= 3
    assert run_jobs("more", [Touch(tmp_path / "7")], two, Console(file=output)) == []
    assert (tmp_path / "7").read_text() in written
    assert run_jobs("none", [], two, Console(file=output)) == []


def test_what_is_running_ends_with_the_parent(tmp_path: Path, two: ProcessPool) -> None:
    events = two([Touch(tmp_path / "long", "sleep"), Touch(tmp_path / "short")])
    seen = [next(events) for _ in range(3)]
    assert sorted(event.job for event in seen) == [0, 1, 1]
    assert Ended(1) in seen and Advanced(0, 0.5) in seen
    while not (tmp_path / "long").exists() or not (tmp_path / "long").read_text():
        time.sleep(0.01)
    two.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "long").read_text()), 0)


def test_a_worker_that_dies_beside_another_event_ends_its_job(
    tmp_path: Path, two: ProcessPool
) -> None:
    events = two([Touch(tmp_path / "well"), Touch(tmp_path / "ill", "killed")])
    seen = [next(events)]
    # Whoever takes the events is slow: the process is gone when the pool goes on.
    with pytest.raises(ProcessLookupError):
        while True:
            if (tmp_path / "ill").exists() and (number := (tmp_path / "ill").read_text()):
                os.kill(int(number), 0)
            time.sleep(0.01)
    ended = {event.job: event.lost for event in [*seen, *events] if isinstance(event, Ended)}
    assert ended == {0: False, 1: True}


def test_a_job_that_lost_its_process_has_more_chances(tmp_path: Path) -> None:
    assert ends(ProcessPool(2), tmp_path) == {
        0: "its process ended with SIGKILL, 3 times",
        1: "",
        2: "these frames can't be used",
    }
