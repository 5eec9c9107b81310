"""The process of a worker: started before its job is there, given it, ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from patchline_ros.files import open_anew

LOG: Final = "worker.log"
"""Of the worker that was given a job last, beside the job."""
SPARE_LOG: Final = "spare_worker.log"
"""Of a worker that has none yet, so that it leaves the log of the last job alone."""
_END_SECONDS: Final = 5


def start_worker(job_file: Path) -> subprocess.Popen[str]:
    """A worker that loads its libraries, and then waits until the job is written.

    Args:
        job_file: where the job will be.

    Raises:
        OSError: the system refuses the process, or the disk the log.
    """
    worker = [sys.executable, "-m", "patchline_ros.adaptation.worker"]
    with os.fdopen(open_anew(job_file.with_name(SPARE_LOG)), "w", encoding="utf-8") as log:
        return subprocess.Popen(
            [*worker, str(job_file), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )


def begin(worker: subprocess.Popen[str], job_file: Path) -> None:
    """The job is written. One that has ended meanwhile is not told; its exit code says why."""
    assert worker.stdin is not None
    with contextlib.suppress(OSError):  # Somebody removed it, and nobody will read it.
        job_file.with_name(SPARE_LOG).replace(job_file.with_name(LOG))
    try:
        with worker.stdin:
            worker.stdin.write("begin\n")
    except BrokenPipeError:
        pass


def end(worker: subprocess.Popen[str]) -> None:
    """Ends it, if it runs, and waits until it has gone."""
    if worker.poll() is None:
        worker.terminate()
        try:
            worker.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
