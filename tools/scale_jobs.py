"""Times the jobs of the offline phase and of a benchmark on local Ray clusters of 1, 2 and 4 cores.

    python -m tools.scale_jobs [--cores 1 2 4]

The cores are logical: Ray counts them, and the machine may have fewer. Each job has one PyTorch
thread. The first row is one process without Ray. The digest is of all that the jobs leave, without
their times: it has to be the same in every row.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import ray
from ray.cluster_utils import Cluster
from rich.console import Console
from rich.table import Table

from patchline_ros.bench.experiment import Experiment
from patchline_ros.bench.experiment_files import find_experiment
from patchline_ros.bench.inputs import Inputs as BenchInputs
from patchline_ros.bench.jobs import due_runs, source_waves
from patchline_ros.bundle import Bundle
from patchline_ros.files import sha256
from patchline_ros.jobs.ray_cluster import RayCluster
from patchline_ros.jobs.scheduler import Executor, Job, ProcessPool, run_to_end
from patchline_ros.offline.drifted import WatchedSource
from patchline_ros.offline.job_inputs import Inputs
from patchline_ros.offline.predictor_data import PredictorSettings, predictor_data
from patchline_ros.offline.preparation import PreparationSettings
from patchline_ros.offline.preparation_job import PreparationFacts, PreparationJob
from patchline_ros.package_share import SIM_BUNDLE, share_folder
from patchline_ros.sim import RoadSimulator
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.inputs import resized

FRAMES: Final = 48
HELD_OUT: Final = 16
SEEDS: Final = range(4)
TASKS: Final = (Task.CLASSIFICATION, Task.SEGMENTATION)
DRIFTS: Final = (("fog", 0.5), ("night", 0.6), ("snow", 0.5), ("rain", 0.7))

Workload = Callable[[Executor, Path], int]
"""Does jobs with what they leave in a folder; how many there were."""


def frames(bundle: Bundle, task: Task) -> list[Sample]:
    """Clear frames of a simulated road, half as high and wide as those of a task's model."""
    road, (height, width) = RoadSimulator(7), bundle.spec(task).input_size
    size = (height // 2, width // 2)
    return [resized(road.frame(7 * number).samples[task], size) for number in range(FRAMES)]


def predictor_jobs(bundle: Bundle, samples: Sequence[Sample]) -> Workload:
    """How many patches drifts need, as `patchline offline` finds it."""
    task, tap = bundle.manifest.drift.task, bundle.manifest.drift.tap
    watched = WatchedSource(
        bundle.model(task), bundle.drift_reference, tap, samples[HELD_OUT:], samples[:HELD_OUT]
    )
    settings = PredictorSettings(drifts=DRIFTS, counts=(1, 7))

    def work(executor: Executor, folder: Path) -> int:
        predictor_data(watched, settings, 0, folder, executor, lambda _: None)
        return len(settings.drifts) * len(settings.counts or ())

    return work


def preparation_jobs(bundle: Bundle, samples: dict[Task, Sequence[Sample]]) -> Workload:
    """Prepared patches, of as many bundles as there are seeds."""
    settings = PreparationSettings(epochs=1, frames=8, held_out_frames=4, drifts=DRIFTS)

    def work(executor: Executor, folder: Path) -> int:
        folder.mkdir()
        jobs = []
        for seed in SEEDS:
            for task in TASKS:
                job = PreparationJob(folder / f"{task}-{seed}")
                entropy = bundle.manifest.models[task].source_entropy
                facts = PreparationFacts(
                    spec=bundle.spec(task), settings=settings, source_entropy=entropy, seed=seed
                )
                model, of_task = bundle.model(task), samples[task]
                inputs = Inputs(facts, model, of_task[HELD_OUT:], of_task[:HELD_OUT])
                job.write_inputs(inputs)
                jobs.append(job)
        return _done(jobs, executor)

    return work


def benchmark_jobs() -> Workload:
    """Runs of the benchmark `smoke`."""
    experiment: Experiment = find_experiment("smoke")
    rows = ["source", "ft_full", "ours"]

    def work(executor: Executor, folder: Path) -> int:
        inputs, jobs = BenchInputs(data=None, out=folder), 0
        for wave in source_waves(experiment, inputs, rows, list(SEEDS)):
            jobs += _done(wave, executor)
        return jobs + _done(due_runs(experiment, inputs, rows, list(SEEDS), {}, False), executor)

    return work


def _done(jobs: Sequence[Job], executor: Executor) -> int:
    failures = run_to_end(jobs, executor, lambda *_: None)
    if failures:
        raise SystemExit(f"{len(failures)} jobs failed; the first: {min(failures.values())}")
    return len(jobs)


def digest(folder: Path) -> str:
    """Of all files below a folder, without the times in them."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".json":
                data = json.dumps(_timeless(json.loads(data)), sort_keys=True).encode()
            whole.update(f"{path.relative_to(folder)} {sha256(data)}\n".encode())
    return whole.hexdigest()[:12]


def _timeless(plain: Any) -> Any:
    if isinstance(plain, dict):
        timed = ("seconds", "peak_bytes")
        return {name: _timeless(value) for name, value in plain.items() if name not in timed}
    return [_timeless(value) for value in plain] if isinstance(plain, list) else plain


@contextmanager
def executor_of(cores: int) -> Iterator[Executor]:
    """A Ray cluster of so many logical cores on this machine; 0: one process without Ray."""
    if cores == 0:
        with closing(ProcessPool(1)) as processes:
            yield processes
        return
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cores})
    try:
        with closing(RayCluster(cluster.address)) as executor:
            yield executor
    finally:
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]


def main() -> None:
    """Prints jobs a minute for each number of cores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2, 4])
    cores = parser.parse_args().cores
    bundle = Bundle.load(share_folder() / SIM_BUNDLE)
    samples = {task: frames(bundle, task) for task in TASKS}
    workloads = {
        "predictor data": predictor_jobs(bundle, samples[Task.SEGMENTATION]),
        "prepared sets": preparation_jobs(bundle, dict(samples)),
        "benchmark": benchmark_jobs(),
    }
    console = Console(highlight=False)
    table = Table("jobs", "cores of the cluster", "jobs", "jobs a minute", "digest")
    for name, work in workloads.items():
        for count in (0, *cores):
            with tempfile.TemporaryDirectory() as folder, executor_of(count) as executor:
                # A worker that starts loads PyTorch: that is not what is timed.
                work(executor, Path(folder, "first"))
                begun = time.monotonic()
                jobs = work(executor, Path(folder, "timed"))
                minutes = (time.monotonic() - begun) / 60
                said = digest(Path(folder, "timed"))
            row = (name, f"{count or 'no Ray'}", f"{jobs}", f"{jobs / minutes:.1f}", said)
            console.print(*row)
            table.add_row(*row)
    console.print(table)
    console.print(f"{os.cpu_count()} cores in this machine")


if __name__ == "__main__":
    main()
