"""An episode without labels: what an earlier drift left, the road's norm statistics and the
prepared patches are judged.

Nothing is trained. What decides is the label-free gate, which predicts from pictures alone how much
better they are than what runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from patchline_ros.adaptation.episode import (
    Accepted,
    EpisodeJob,
    Event,
    LeftOut,
    Rejected,
    running_model,
)
from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.adaptation.label_free_answer import label_free_answer
from patchline_ros.adaptation.label_free_candidates import EARLIER, Candidate
from patchline_ros.adaptation.source_model import SourceModel
from patchline_ros.adaptation.unlabelled_frames import read_unlabelled
from patchline_ros.bundle import Bundle
from patchline_ros.patching.patch_set import PatchSetError, apply, read_metadata, to_bytes
from patchline_ros.tasks import Image, Task
from patchline_ros.vision.model import TaskModel


def first_answer(job: EpisodeJob, emit: Callable[[Event], None]) -> None:
    """Judges the candidates of each task that has pictures, those of small ones first.

    So the first patch set is there long before the last: pictures of signs are judged in a moment.

    Emits `LeftOut` for each patch set of an earlier drift that can't be used, `Accepted` or
    `Rejected` for each task and `Finished` at the end. An accepted one is written as a new version.
    Everything else is also in `episode.json` in the job's output folder.

    Raises:
        ValueError: an unreadable bundle, picture file or running patch set.
        OSError: a patch set that can't be written, or the running one can't be read.
    """
    bundle = Bundle.load(job.bundle, job.bundle_key)
    order = sorted(job.unlabelled, key=lambda task: math.prod(bundle.spec(task).input_size))
    images = {task: read_unlabelled(job.unlabelled[task]) for task in order}
    report = job.report(
        basis="prediction",
        order=order,
        collected={task: len(of_task) for task, of_task in images.items()},
        accepted={},
        bank_entry=job.bank_entry,
    )
    for task, of_task in images.items():
        emit(_answer(job, bundle, task, of_task, report, emit))
    job.finish(report, emit)


def _answer(
    job: EpisodeJob,
    bundle: Bundle,
    task: Task,
    images: Sequence[Image],
    report: EpisodeReport,
    emit: Callable[[Event], None],
) -> Accepted | Rejected:
    """Judges the candidates of one task; adds it to the report."""
    started = time.monotonic()
    source = SourceModel.of_bundle(bundle, task)
    running = running_model(job, bundle, source.model, task)
    earlier = _earlier(job, bundle, source.model, task, emit)
    best = label_free_answer(running.model, source, images, job.margin, earlier)
    report.predicted[task] = best.gain
    report.candidates[task] = best.candidate.name
    report.seconds[task] = time.monotonic() - started
    report.accepted[task] = best.accepted
    if not best.accepted:
        return Rejected(
            task,
            f"without labels the best candidate ({best.candidate.name}) is predicted to gain "
            f"{best.gain.gain:+.3f} (± {best.gain.error:.3f}), which is not surely more than "
            f"{job.margin:.3f}",
        )
    again = best.candidate.name == EARLIER
    origin = job.known[task].read_bytes() if again else bundle.prepared(task)
    metadata = read_metadata(origin).model_copy(
        update={
            "version": job.next_version[task],
            "norm": best.candidate.norm,
            "metrics": {"predicted_gain": best.gain.gain, "error": best.gain.error},
            "expected": best.expected.model_copy(update={"ran": running.sha256}),
            "versions": report.versions,
        }
    )
    data = to_bytes(best.candidate.model, metadata)
    return job.keep(task, bundle.fingerprint(task), data)


def _earlier(
    job: EpisodeJob,
    bundle: Bundle,
    source: TaskModel,
    task: Task,
    emit: Callable[[Event], None],
) -> Candidate | None:
    """The model of the drift that this one is like; None where there is none, or it is damaged."""
    if task not in job.known:
        return None
    try:
        data = job.known[task].read_bytes()
        model = apply(source, bundle.fingerprint(task), data)
        return Candidate(EARLIER, model, read_metadata(data).norm)
    except (OSError, PatchSetError) as error:
        emit(LeftOut(f"the patch set of an earlier drift for {task} can't be used: {error}"))
        return None
