"""Runs on a Ray cluster of two nodes give what they give without Ray."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

from rich.console import Console

from patchline_ros.bench.experiment import Experiment
from patchline_ros.bench.inputs import Inputs
from patchline_ros.bench.jobs import due_runs, source_waves
from patchline_ros.bench.result import RunResult, read_results
from patchline_ros.jobs.scheduler import Executor, ProcessPool, run_jobs

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
        for wave in source_waves(EXPERIMENT, inputs, EXPERIMENT.seeds):
            assert run_jobs("sources", wave, executor, console) == []
        jobs = due_runs(EXPERIMENT, inputs, list(EXPERIMENT.rows), EXPERIMENT.seeds, {}, False)
        failures = run_jobs("runs", jobs, executor, console)
    return read_results(out / "small"), sorted(failures)


def comparable(results: list[RunResult]) -> list[dict[str, object]]:
    plain = [result.model_dump() for result in results]
    for result in plain:
        for task in result["tasks"].values():
            del task["seconds"], task["peak_bytes"]
    return plain


def test_a_cluster_gives_the_same_results(tmp_path: Path, ray_address: str) -> None:
    from patchline_ros.jobs.ray_cluster import RayCluster

    here, failed_here = run_all(ProcessPool(1), tmp_path / "here")
    there, failed_there = run_all(RayCluster(ray_address), tmp_path / "there")
    assert len(here) == 2
    assert comparable(there) == comparable(here)
    assert failed_there == failed_here
    assert failed_here[0].startswith("bad, seed 0: 9 patches asked for")
