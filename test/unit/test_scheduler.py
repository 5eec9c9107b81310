"""Jobs in worker processes: all are done, what fails is named, and nothing outlives the parent."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from patchline_ros.jobs.executors import executor_at
from patchline_ros.jobs.scheduler import (
    Advanced,
    Ended,
    Executor,
    ProcessPool,
    run_jobs,
    run_with_retries,
)


@dataclass(frozen=True)
class Touch:
    """Writes its process's number into a file, then does as it is told."""

    path: Path
    then: str = ""

    @property
    def name(self) -> str:
        return self.path.name

    def _again(self) -> bool:
        """Whether it has been called before."""
        mark = self.path.with_suffix(".once")
        known = mark.exists()
        mark.touch()
        return known

    def __call__(self, report: Callable[[float], None]) -> None:
        report(0.5)
        self.path.write_text(str(os.getpid()))
        if self.then == "fail":
            raise ValueError("these frames can't be used")
        if self.then == "die":
            os._exit(3)
        if self.then == "killed" or (self.then == "killed once" and not self._again()):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.then == "sleep":
            time.sleep(60)


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


def ends(executor: Executor, folder: Path) -> dict[int, str]:
    """What three jobs end in, one of which loses its process once and one each time."""
    jobs = [
        Touch(folder / f"{i}", then) for i, then in enumerate(["killed", "killed once", "fail"])
    ]
    with closing(executor):
        events = [event for event in run_with_retries(jobs, executor) if isinstance(event, Ended)]
    assert len(events) == 3
    return {event.job: event.error for event in events}


def test_a_job_that_lost_its_process_has_more_chances(tmp_path: Path) -> None:
    assert ends(ProcessPool(2), tmp_path) == {
        0: "its process ended with SIGKILL, 3 times",
        1: "",
        2: "these frames can't be used",
    }


def test_a_job_that_lost_its_process_on_a_cluster_too(tmp_path: Path, ray_address: str) -> None:
    from ray import cloudpickle

    from patchline_ros.jobs.ray_cluster import RayCluster

    # Its workers do not know this file.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ended = ends(RayCluster(ray_address), tmp_path)
    assert ended.pop(0).endswith(", 3 times")
    assert ended == {1: "", 2: "these frames can't be used"}


def test_a_cluster_of_another_version_is_named(
    ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    # Connect anew.
    ray.shutdown()
    monkeypatch.setattr(ray, "__version__", "1.0.0")
    with pytest.raises(
        ValueError, match=rf"^the Ray cluster at {ray_address} .*Ray: 1\.0\.0"
    ) as at:
        executor_at(ray_address, 1)
    assert "\n" not in str(at.value)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no.such.machine.invalid:6379", "nonsense"])
def test_an_address_without_a_cluster_is_named_at_once(address: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'patchline_ros[bench]'")
    start = time.monotonic()
    with pytest.raises(ValueError, match=rf"^there is no Ray cluster at {address}: "):
        executor_at(address, 1)
    # Ray itself would try for a quarter of an hour.
    assert time.monotonic() - start < 30
