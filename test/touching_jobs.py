"""Jobs that leave a file and end well or badly, for the tests of what runs jobs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from patchline_ros.jobs.scheduler import Ended, Executor, run_with_retries


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


def ends(executor: Executor, folder: Path) -> dict[int, str]:
    """What three jobs end in, one of which loses its process once and one each time."""
    jobs = [
        Touch(folder / f"{i}", then) for i, then in enumerate(["killed", "killed once", "fail"])
    ]
    with closing(executor):
        events = [event for event in run_with_retries(jobs, executor) if isinstance(event, Ended)]
    assert len(events) == 3
    return {event.job: event.error for event in events}
