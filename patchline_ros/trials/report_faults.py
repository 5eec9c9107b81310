"""Files about episodes that are damaged while the adapter does not run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from patchline_ros.trials.case import Case
from patchline_ros.trials.file_damage import Spoil, garbage, spoiled
from patchline_ros.trials.trial_graph import ADAPTER, TrialGraph


def report_cases() -> list[Case]:
    """Reports that are garbage, cut off, or of another form."""
    how: list[tuple[str, str, Spoil]] = [
        ("garbage", "bytes drawn by chance", garbage),
        ("truncated", "half a report", lambda _: b'{"since_ns": 12, "bank_en'),
        ("list", "a list", lambda _: b"[1, 2]"),
        ("keys", "a report without its keys", lambda _: b"{}"),
        ("types", "a report with wrong types", lambda _: b'{"since_ns": "x", "accepted": 3}'),
    ]
    adapter = frozenset([ADAPTER])
    cases = [
        Case(
            f"episode-{name}",
            "file",
            f"episode.json: {what}, adapter killed",
            partial(_bad_report, "episode.json", spoil, True),
            adapter,
        )
        for name, what, spoil in how
    ]
    what = "job.json: bytes drawn by chance, adapter killed"
    job = partial(_bad_report, "job.json", garbage, False)
    return [*cases, Case("job-garbage", "file", what, job, adapter)]


@contextmanager
def _bad_report(name: str, spoil: Spoil, named: bool, trial: TrialGraph) -> Iterator[None]:
    trial.take_down([ADAPTER])
    with spoiled(trial.episodes / name, spoil):
        trial.bring_up([ADAPTER])
        yield
        if named:
            trial.until_said(ADAPTER, name)
