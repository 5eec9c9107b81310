"""The worker process of an episode: `python -m patchline_ros.adaptation.worker JOB.json PARENT`.

It runs beside the nodes, a training at low priority, and dies with its parent. It loads its
libraries and waits for a line on standard input: then the job is written. Events go to standard
output, a line of JSON each; the log goes to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from patchline_ros.adaptation.episode import EpisodeJob, Event, Failed, run_episode
from patchline_ros.adaptation.events import to_line
from patchline_ros.adaptation.first_answer import first_answer
from patchline_ros.adaptation.returning_drift import recall_episode
from patchline_ros.host import die_with_parent, give_way

_NICENESS: Final = 10
"""Of a training: a perception node that wants a core gets nine tenths of it."""


def _emit(event: Event) -> None:
    print(to_line(event), flush=True)


def _kind(job: EpisodeJob) -> Callable[[EpisodeJob, Callable[[Event], None]], None]:
    """What is to be done: answer without labels, verify what is known, or train."""
    if job.unlabelled:
        return first_answer
    return recall_episode if job.known else run_episode


def main() -> int:
    """Runs the job named on the command line; 0 when the episode finished."""
    die_with_parent()
    if os.getppid() != int(sys.argv[2]):
        # It ended before that was asked; the next one's training would give the same versions.
        print("the adapter that started this training has ended", file=sys.stderr)
        return 1
    if not sys.stdin.readline():
        # The drift has passed, and there is nothing to do.
        return 0
    job = EpisodeJob.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if not job.unlabelled:
        # An answer without labels takes seconds, which at low priority a busy car makes many.
        give_way(_NICENESS)
    torch.set_num_threads(job.threads)
    try:
        _kind(job)(job, _emit)
    except (ValueError, OSError) as error:
        _emit(Failed(str(error)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
