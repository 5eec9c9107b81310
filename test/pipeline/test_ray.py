"""Jobs on a Ray cluster of two nodes give what they give without Ray."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import touching_jobs
from rich.console import Console
from tiny_watched import data

from patchline_ros.bench.experiment import Experiment
from patchline_ros.bench.inputs import Inputs
from patchline_ros.bench.jobs import due_runs, source_waves
from patchline_ros.bench.result import RunResult, read_results
from patchline_ros.jobs.executors import executor_at
from patchline_ros.jobs.scheduler import Executor, ProcessPool, run_jobs
from patchline_ros.offline.predictor_data import PredictorSettings


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """A Ray cluster of two nodes with one core each, on this machine."""
    reason = "Ray is not installed: pip install 'patchline_ros[bench]'"
    ray = pytest.importorskip("ray", reason=reason)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


EXPERIMENT = Experiment.model_validate(
    {
        "name": "small",
        "scene": "smoke",
        "width": 0.25,
        "tasks": ["classification"],
        "source": {"start": "random", "epochs": {"classification": 1}, "batch_size": 4},
        "training": {"epochs": 1, "batch_size": 4},
        "seeds": [0, 1],
        "rows": {
            "ours": {"method": {"method": "patchline", "k": 7}},
            "bad": {"method": {"method": "patchline", "k": 9}},
        },
    }
)


def run_all(executor: Executor, out: Path) -> tuple[list[RunResult], list[str]]:
    inputs = Inputs(data=None, out=out)
    console = Console(file=io.StringIO())
    with closing(executor):
        for wave in source_waves(EXPERIMENT, inputs, list(EXPERIMENT.rows), EXPERIMENT.seeds):
            assert run_jobs("sources", wave, executor, console) == []
        jobs = due_runs(EXPERIMENT, inputs, list(EXPERIMENT.rows), EXPERIMENT.seeds, {}, False)
        failures = run_jobs("runs", jobs, executor, console)
    return read_results(out / "small"), sorted(failures)


def comparable(results: list[RunResult]) -> list[dict[str, object]]:
    plain = [result.model_dump() for result in results]
    for result in plain:
        for task in result["tasks"].values():
            del task["seconds"]
    return plain


def test_a_cluster_gives_the_same_results_of_runs(tmp_path: Path, ray_address: str) -> None:
    from patchline_ros.jobs.ray_cluster import RayCluster

    here, failed_here = run_all(ProcessPool(1), tmp_path / "here")
    there, failed_there = run_all(RayCluster(ray_address), tmp_path / "there")
    assert len(here) == 2
    assert comparable(there) == comparable(here)
    assert failed_there == failed_here
    assert failed_here[0].startswith("bad, seed 0: 9 patches asked for")


def test_a_cluster_gives_the_same_predictor_data(tmp_path: Path, ray_address: str) -> None:
    from patchline_ros.jobs.ray_cluster import RayCluster

    settings = PredictorSettings(drifts=(("fog", 0.5), ("noise", 0.9)), counts=(0, 2))
    with closing(ProcessPool(1)) as one:
        here = data(settings, tmp_path / "here", one)
    with closing(RayCluster(ray_address)) as cluster:
        assert data(settings, tmp_path / "there", cluster) == here


def test_a_job_that_lost_its_process_has_more_chances(tmp_path: Path, ray_address: str) -> None:
    from ray import cloudpickle

    from patchline_ros.jobs.ray_cluster import RayCluster

    # Its workers do not know this file.
    cloudpickle.register_pickle_by_value(touching_jobs)
    ended = touching_jobs.ends(RayCluster(ray_address), tmp_path)
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
