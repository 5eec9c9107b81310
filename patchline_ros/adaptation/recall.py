"""An episode of a drift that returns: kept patch sets are verified, and nothing is trained."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict

from patchline_ros.adaptation.bank import VERIFYING
from patchline_ros.adaptation.episode import (
    Accepted,
    EpisodeJob,
    EpisodeReport,
    Event,
    Finished,
    Rejected,
    Running,
    library_versions,
)
from patchline_ros.adaptation.gate import accepts
from patchline_ros.adaptation.store import StoredFrames
from patchline_ros.bundle import Bundle
from patchline_ros.files import write_file
from patchline_ros.patching.patch_set import PatchSetError, apply, renumbered
from patchline_ros.tasks import Sample, Task


def recall_episode(job: EpisodeJob, emit: Callable[[Event], None]) -> None:
    """Judges the patch sets of an earlier drift on the labelled frames of this one.

    Emits `LeftOut` for each frame that can't be read, `Accepted` or `Rejected` for each task and
    `Finished` at the end. An accepted one is written as a new version; everything but what was left
    out is also in `episode.json` in the job's output folder.

    Raises:
        ValueError: an unreadable bundle or running patch set.
        OSError: a patch set that can't be read or written.
    """
    bundle = Bundle.load(job.bundle)
    store = StoredFrames(job.store)
    frames = {task: job.samples(store, task, emit) for task in job.known}
    report = EpisodeReport(
        patches=0,
        order=[str(task) for task in job.known],
        collected={str(task): len(samples) for task, samples in frames.items()},
        kept={},
        since_ns=job.since_ns,
        until_ns=job.until_ns,
        mmd2=job.mmd2,
        seed=job.seed,
        versions=library_versions(),
        settings={},
        bank_entry=job.bank_entry,
    )
    for task, samples in frames.items():
        emit(_verify(job, bundle, task, samples, report))
    write_file(job.output / "episode.json", json.dumps(asdict(report), indent=1).encode())
    emit(Finished(asdict(report)))


def _verify(
    job: EpisodeJob, bundle: Bundle, task: Task, samples: list[Sample], report: EpisodeReport
) -> Accepted | Rejected:
    started, name = time.monotonic(), str(task)
    source, data = bundle.model(task), job.known[task].read_bytes()
    report.accepted[name] = False
    if len(samples) < VERIFYING[task]:
        return Rejected(
            task,
            f"{len(samples)} labelled frames are left to verify the patch set of the earlier drift "
            f"on; it needs {VERIFYING[task]}",
        )
    try:
        candidate = apply(source, bundle.fingerprint(task), data)
    except PatchSetError as error:
        return Rejected(task, f"the patch set of the earlier drift can't be used: {error}")
    found = Running.of(job, bundle, source, task).compared(candidate, samples)
    running, metric = found.running, found.candidate
    report.gate[name] = {"before": running, "after": metric, "frames": len(samples)}
    report.seconds[name] = time.monotonic() - started
    if not accepts(running, metric, job.margin):
        return Rejected(
            task,
            f"on {len(samples)} labelled frames the model of an earlier drift scores "
            f"{metric:.3f}, the running one {running:.3f}",
        )
    report.accepted[name] = True
    version = job.next_version[task]
    path = job.output / f"{task}.v{version}.safetensors"
    facts = {"metrics": report.gate[name], "expected": found.expected}
    write_file(path, renumbered(data, version, **facts))
    return Accepted(task, version, path)
