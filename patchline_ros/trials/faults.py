"""`patchline trial faults`: the graph must stand whatever is done to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from rich.table import Table
from rich.text import Text

from patchline_ros.foreign_text import visible
from patchline_ros.trials.bank_faults import bank_cases
from patchline_ros.trials.bundle_faults import bundle_cases
from patchline_ros.trials.case import LIMIT_SECONDS, Case
from patchline_ros.trials.forged_statuses import forged_cases
from patchline_ros.trials.label_faults import label_cases
from patchline_ros.trials.patch_set_faults import patch_set_cases
from patchline_ros.trials.picture_faults import picture_cases
from patchline_ros.trials.probe import RATE_HZ
from patchline_ros.trials.process_faults import process_cases
from patchline_ros.trials.reading_faults import reading_cases
from patchline_ros.trials.report_faults import report_cases
from patchline_ros.trials.respawn import RESPAWN_SECONDS
from patchline_ros.trials.store_faults import store_cases
from patchline_ros.trials.stored_frame_faults import frame_cases
from patchline_ros.trials.stored_patch_set_faults import patch_file_cases
from patchline_ros.trials.training_faults import training_cases
from patchline_ros.trials.trial_graph import NotSeenError, TrialGraph
from patchline_ros.trials.trial_setup import TrialSetup, wide_console

_GIVE_UP_SECONDS: Final = 60.0


@dataclass
class Outcome:
    """What became of a case.

    Attributes:
        name, kind, what: of the case.
        recovered: seconds from the end of the fault until every task answered with the right
            weights, every node reported and a labelled frame was stored; None if that never came.
        ended: processes that ended, with their codes.
        troubles: what did not hold; empty if all did.
    """

    name: str
    kind: str
    what: str
    recovered: float | None = None
    ended: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


def all_cases() -> list[Case]:
    """Every case, in the order in which they are tried: trainings while labelled frames are few."""
    return [
        *training_cases(),
        *process_cases(),
        *picture_cases(),
        *label_cases(),
        *reading_cases(),
        *forged_cases(),
        *patch_set_cases(),
        *frame_cases(),
        *patch_file_cases(),
        *store_cases(),
        *report_cases(),
        *bank_cases(),
        *bundle_cases(),
    ]


def chosen_cases(patterns: Sequence[str]) -> list[Case]:
    """Cases whose name fits one of the patterns, such as `adapter*`; all without any.

    Raises:
        ValueError: a pattern that fits no case.
    """
    cases = all_cases()
    for pattern in patterns:
        if not any(fnmatchcase(case.name, pattern) for case in cases):
            raise ValueError(f"no case is named {pattern!r}; --list names them all")
    if not patterns:
        return cases
    return [case for case in cases if any(fnmatchcase(case.name, name) for name in patterns)]


def list_cases(cases: Sequence[Case]) -> None:
    """Prints their names."""
    table = Table(title=f"{len(cases)} cases")
    for name in ("kind", "case", "what happens"):
        table.add_column(name)
    for case in cases:
        table.add_row(case.kind, case.name, case.what)
    wide_console().print(table)


def try_faults(setup: TrialSetup, cases: Sequence[Case]) -> int:
    """Tries the cases one after the other in one graph, and returns how many failed.

    Raises:
        TimeoutError: the graph does not come up at all.
        ValueError: a bundle in which patch sets change no answer.
    """
    console = wide_console()
    console.print(f"ROS domain {setup.domain}, this machine only; logs in {setup.out}")
    trial = TrialGraph(setup)
    outcomes: list[Outcome] = []
    with trial.running():
        for number, case in enumerate(cases, 1):
            outcome = _try(trial, case)
            outcomes.append(outcome)
            console.print(_line(number, len(cases), outcome))
        lost = trial.check_whole_store()
    failed = sum(bool(outcome.troubles) for outcome in outcomes) + bool(lost)
    acknowledged = trial.acknowledged
    settings = {
        "limit_seconds": LIMIT_SECONDS,
        "respawn_seconds": RESPAWN_SECONDS,
        "rate_hz": RATE_HZ,
    }
    result = {
        "cases": [asdict(outcome) for outcome in outcomes],
        "answers": trial.answers_compared,
        "labelled_frames": {"acknowledged": acknowledged, "lost": lost},
        "failed": failed,
    }
    path = setup.write_result(settings, result)
    console.print(_table(outcomes))
    console.print(
        f"{trial.answers_compared} answers compared byte for byte; {acknowledged} labelled frames "
        f"acknowledged, {len(lost)} lost; {len(cases) - failed} of {len(cases)} cases hold; {path}"
    )
    return failed


def _try(trial: TrialGraph, case: Case) -> Outcome:
    outcome = Outcome(case.name, case.kind, case.what)
    trial.begin()
    try:
        trial.teach_all([trial.teach()])
        trial.teach()
        with case.fault(trial):
            outcome.recovered = trial.recovery(_GIVE_UP_SECONDS)
            if outcome.recovered is None:
                trial.trouble(f"not recovered: {trial.missing()}")
            elif outcome.recovered > case.limit_seconds:
                trial.trouble(f"recovered only after {outcome.recovered:.1f} s")
    except (NotSeenError, TimeoutError) as error:
        trial.trouble(str(error))
        # The next case begins with a graph that works, if it can.
        trial.over()
        outcome.recovered = trial.recovery(_GIVE_UP_SECONDS)
    for ended in trial.supervisor.take_ended():
        outcome.ended.append(f"{ended.name} {ended.code}")
        if ended.name not in case.ends:
            trial.trouble(f"{ended.name} ended with {ended.code}")
    trial.check_store()
    for crash in trial.logs.crashes():
        trial.trouble(crash)
    outcome.troubles = list(trial.troubles)
    return outcome


def _line(number: int, count: int, outcome: Outcome) -> str:
    took = "never" if outcome.recovered is None else f"{outcome.recovered:4.1f} s"
    verdict = "; ".join(outcome.troubles) or "ok"
    return f"{number:3d}/{count} {outcome.name:36} {took}  {verdict}"


def _table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(title="Faults and what became of them")
    for name in ("kind", "case", "what happened"):
        table.add_column(name)
    table.add_column("works again after", justify="right")
    table.add_column("outcome")
    for outcome in outcomes:
        took = "never" if outcome.recovered is None else f"{outcome.recovered:.1f} s"
        verdict = Text(
            visible("; ".join(outcome.troubles)) or "holds", style="red" if outcome.troubles else ""
        )
        table.add_row(outcome.kind, outcome.name, outcome.what, took, verdict)
    return table
