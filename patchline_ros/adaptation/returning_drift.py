"""An episode of a drift that returns: kept patch sets are verified, and nothing is trained.

They have to pass the gate's own rule, better by the margin and one standard error together. On two
frames that is the margin on each of them, if the metric is a mean over frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from patchline_ros.adaptation.episode import (
    Accepted,
    EpisodeJob,
    Event,
    Rejected,
    gate_scores,
    running_model,
)
from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.adaptation.source_check import SourceCheck
from patchline_ros.adaptation.store import StoredFrames
from patchline_ros.adaptation.verdict import verified
from patchline_ros.bundle import Bundle
from patchline_ros.patching.patch_set import renumbered
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
    bundle = Bundle.load(job.bundle, job.bundle_key)
    store = StoredFrames(job.store)
    frames = {task: job.samples(store, task, emit) for task in job.known}
    report = job.report(
        order=list(job.known),
        collected={task: len(samples) for task, samples in frames.items()},
        accepted={},
        bank_entry=job.bank_entry,
    )
    for task, samples in frames.items():
        emit(_verify(job, bundle, task, samples, report))
    job.finish(report, emit)


def _verify(
    job: EpisodeJob, bundle: Bundle, task: Task, samples: list[Sample], report: EpisodeReport
) -> Accepted | Rejected:
    started = time.monotonic()
    source, data = bundle.model(task), job.known[task].read_bytes()
    running = running_model(job, bundle, source, task)
    check = SourceCheck.of_bundle(bundle, source, task)
    found = verified(source, bundle.fingerprint(task), running, data, samples, job.margin, check)
    verdict = found.verdict
    report.accepted[task] = verdict.accepted or found.runs
    if verdict.comparison is not None:
        report.gate[task] = gate_scores(verdict, len(samples))
        report.seconds[task] = time.monotonic() - started
    if not verdict.accepted or verdict.comparison is None:
        return Rejected(task, verdict.reason)
    facts = {"metrics": report.gate[task].model_dump(), "expected": verdict.comparison.expected}
    again = renumbered(data, job.next_version[task], **facts)
    return job.keep(task, bundle.fingerprint(task), again)
