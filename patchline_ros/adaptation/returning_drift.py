"""An episode of a drift that returns: kept patch sets are verified, and nothing is trained.

They have to pass the gate's own rule, better by the margin and one standard error together. On two
frames that is the margin on each of them, if the metric is a mean over frames.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict

from patchline_ros.adaptation.episode import (
    Accepted,
    EpisodeJob,
    EpisodeReport,
    Event,
    Finished,
    Rejected,
    Running,
)
from patchline_ros.adaptation.store import StoredFrames
from patchline_ros.bundle import Bundle
from patchline_ros.files import write_file
from patchline_ros.host import library_versions
from patchline_ros.patching.patch_set import PatchSetError, apply, renumbered, tensors_sha256
from patchline_ros.tasks import Sample, Task


def recall_episode(job: EpisodeJob, emit: Callable[[Event], None]) -> None:
    """Judges the patch sets of an earlier drift on the labelled frames of this one.

    Emits `LeftOut` for each frame that can't be read, `Accepted` or `Rejected` for each task and
    `Finished` at the end. An accepted one is written as a new version; one that runs already holds
    without that. Everything but what was left out is also in `episode.json` in the job's output
    folder.

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
    running = Running.of(job, bundle, source, task)
    report.accepted[name] = running.sha256 == tensors_sha256(data)
    if report.accepted[name]:
        return Rejected(task, "the patch set of the earlier drift runs already, and holds")
    if len(samples) < task.traits.verification_frames:
        return Rejected(
            task,
            f"{len(samples)} labelled frames are left to verify the patch set of the earlier drift "
            f"on; it needs {task.traits.verification_frames}",
        )
    try:
        candidate = apply(source, bundle.fingerprint(task), data)
    except PatchSetError as error:
        return Rejected(task, f"the patch set of the earlier drift can't be used: {error}")
    found = running.compared(candidate, samples)
    report.gate[name] = {
        "before": found.running,
        "after": found.candidate,
        "error": found.error,
        "frames": len(samples),
    }
    report.seconds[name] = time.monotonic() - started
    if not found.accepted(job.margin):
        return Rejected(
            task,
            f"on {len(samples)} labelled frames the model of an earlier drift scores "
            f"{found.candidate:.3f}, the running one {found.running:.3f} (± {found.error:.3f} "
            "between them)",
        )
    report.accepted[name] = True
    version = job.next_version[task]
    path = job.output / f"{task}.v{version}.safetensors"
    facts = {"metrics": report.gate[name], "expected": found.expected}
    write_file(path, renumbered(data, version, **facts))
    return Accepted(task, version, path)
