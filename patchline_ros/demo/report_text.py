"""The sentences of the report, from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.demo.result import (
    AnswerReport,
    DriftReport,
    FramesReport,
    Report,
    SourceReport,
    TaskAnswer,
    TaskReport,
)
from patchline_ros.graph.description import ROAD_NAME_OF_TASK
from patchline_ros.tasks import Task

BEGINNINGS = {
    "night": "Night fell",
    "dusk": "Dusk fell",
    "fog": "Fog came down",
    "rain": "Rain set in",
    "snow": "Snow set in",
}
UNKNOWN = "—"
ANSWERS = {
    "norm statistics": "norm statistics",
    "prepared, source norm": "prepared patches",
    "prepared": "both",
}
"""What a car tries without labels (`adaptation/label_free_candidates.py`), for people."""


def title(source: SourceReport, tasks: Mapping[Task, TaskReport]) -> str:
    """The outcome in a line."""
    adapted = [road_name(task) for task, row in tasks.items() if row.swapped]
    outcome = f"{listing(adapted)} adapted" if adapted else "the source models stayed"
    return f"{_beginning(source)}: {outcome}"


def headline(
    source: SourceReport,
    drift: DriftReport,
    tasks: Mapping[Task, TaskReport],
    answer: AnswerReport | None,
    training: EpisodeReport | None,
    frames: FramesReport,
) -> str:
    """The outcome in a few sentences, good or bad."""
    noticed = f"{_beginning(source)}, the car noticed within {drift.frames_to_detect} frames"
    said = []
    if answer is not None:
        said.append(f"{noticed}, {_answered(answer, tasks)}")
        noticed = ""
    if training is not None:
        said.append(_trained(training, answer, tasks, noticed))
    if any(row.swapped for row in tasks.values()):
        said.append(_lost(frames, 1 if answer is None or training is None else 2))
        others = [road_name(task) for task, row in tasks.items() if not row.swapped]
        if others:
            said.append(f"{listing(others).capitalize()} stayed with the source model.")
    return " ".join(said)


def _beginning(source: SourceReport) -> str:
    """What happened to the road."""
    return BEGINNINGS.get(source.condition, f"The road changed to {source.condition}")


def _answered(answer: AnswerReport, tasks: Mapping[Task, TaskReport]) -> str:
    """The end of a sentence: what was won without labels."""
    moves = [_move(t, row.before, row.answered) for t, row in _rows(answer.swapped, tasks)]
    if not moves or answer.seconds_to_swap is None:
        return "but without labels nothing was surely better than the source models."
    return (
        f"and from {answer.seconds_to_swap:.0f} s later on, without one label, prepared patches "
        f"and norm statistics moved {listing(moves)}."
    )


def _trained(
    training: EpisodeReport,
    answer: AnswerReport | None,
    tasks: Mapping[Task, TaskReport],
    noticed: str,
) -> str:
    """What the training did, in a sentence that begins with `noticed` where there is such."""
    seconds = f"{sum(training.seconds.values()):.0f} s of training"
    accepted = [task for task, yes in training.accepted.items() if yes]
    moves = [
        _move(t, row.before if row.answered is None else row.answered, row.after)
        for t, row in _rows(accepted, tasks)
        if row.swapped
    ]
    if answer is None and not moves:
        return (
            f"{noticed}, but {seconds} made no model better on held-out frames, so all were left "
            "as they were."
        )
    if not moves:
        return f"{seconds} with labels made no model better than that on held-out frames."
    if answer is None:
        return f"{noticed}, and {seconds} moved {listing(moves)}."
    return f"{seconds} with labels then moved {listing(moves)}."


def _rows(
    chosen: Sequence[Task], tasks: Mapping[Task, TaskReport]
) -> list[tuple[Task, TaskReport]]:
    """Those that were measured, in the order of the report."""
    return [(task, row) for task, row in tasks.items() if task in chosen]


def _move(task: Task, before: float | None, after: float | None) -> str:
    return f"{road_name(task)} {percent(before)}\u00a0→\u00a0{percent(after)}%"


def _lost(frames: FramesReport, episodes: int) -> str:
    lost = frames.lost_during_swap
    loss = (
        "No frame was lost" if lost == 0 else f"{lost} frame{'s were' if lost > 1 else ' was'} lost"
    )
    skipped = frames.skipped_during_swap
    busy = f" ({skipped} skipped by load, as before it)" if skipped else ""
    return f"{loss} during the swap{'s' if episodes > 1 else ''}{busy}."


def facts(source: SourceReport, config: Mapping[str, Any], seconds: float, seed: int) -> str:
    """What was driven, in a line."""
    road = {"sim": "Simulated road", "frames": "Recorded road"}[source.kind]
    return (
        f"{road}: {source.frames} clear frames, then {source.drift_frames} in {source.condition}, "
        f"played over and over at {config['rate_hz']:g} Hz. Seed {seed}. "
        f"{seconds:.0f} s from start to end, on {config['cpus']} CPU cores."
    )


def drift_sentence(drift: DriftReport) -> str:
    """What the drift monitor measured."""
    alarms = {0: "no false alarm", 1: "one false alarm"}.get(
        drift.false_alarms, f"{drift.false_alarms} false alarms"
    )
    return (
        f"MMD² between the last frames' features and the source's was {number(drift.mmd2_source)} "
        f"on the clear road and {number(drift.mmd2_drift)} after the change; the threshold, "
        f"{number(drift.threshold)}, is what stretches of the source itself seldom pass. The "
        f"change was noticed {drift.frames_to_detect} frames after it, with {alarms} before it."
    )


def answer_sentence(answer: AnswerReport) -> str:
    """How soon the first answer ran."""
    if answer.seconds_to_swap is None:
        return "Nothing was surely better than the source models, so these stayed."
    return (
        f"The first answer ran {answer.seconds_to_swap:.1f} s after the change was "
        "noticed. Nothing was trained for that."
    )


def answer_rows(answer: AnswerReport) -> list[dict[str, str]]:
    """The table of predicted and true gains, a row a task, as text."""
    return [
        {
            "task": road_name(task),
            "candidate": ANSWERS[row.candidate],
            "predicted": f"{row.predicted:+.1f}\u00a0±\u00a0{row.error:.1f}",
            "true": UNKNOWN if row.gain is None else f"{row.gain:+.1f}",
            "verdict": _verdict(row),
        }
        for task, row in answer.tasks.items()
    ]


def _verdict(answer: TaskAnswer) -> str:
    if not answer.accepted:
        return "refused: not surely better"
    return "swapped in, then taken back" if answer.taken_back else "swapped in"


def answered(report: Report, task: Task) -> str:
    """The figure of what answered without labels, that it was refused, or a dash."""
    figure = report.tasks[task].answered
    refused = figure is None and report.answer is not None and task in report.answer.tasks
    return "refused" if refused else percent(figure)


def adaptation_sentence(adaptation: EpisodeReport) -> str:
    """What was trained, in which order."""
    patches = adaptation.patches
    return (
        f"The size of the drift asked for {patches} patch{'es' if patches != 1 else ''} in each "
        f"model, trained in the order {listing(list(map(road_name, adaptation.order)))}, in "
        f"{sum(adaptation.seconds.values()):.0f} s and "
        f"{sum(adaptation.train_gflops.values()):,.0f} GFLOP in all."
    )


def cost_rows(adaptation: EpisodeReport) -> list[dict[str, str]]:
    """The table of costs, a row a task, as text."""
    rows = []
    for task in adaptation.order:
        gate = adaptation.gate.get(task)
        teacher = adaptation.warm_start.get(task)
        rows.append(
            {
                "task": road_name(task),
                "collected": str(adaptation.collected.get(task, UNKNOWN)),
                "kept": str(adaptation.kept.get(task, UNKNOWN)),
                "seconds": _fixed(adaptation.seconds.get(task), 1),
                "gflops": _fixed(adaptation.train_gflops.get(task), 0),
                "teacher": road_name(teacher) if teacher else "zero",
                "gate_before": percent(_hundred(gate.before if gate else None)),
                "gate_after": percent(_hundred(gate.after if gate else None)),
                "verdict": "accepted" if adaptation.accepted.get(task) else "refused",
            }
        )
    return rows


def won_back(row: TaskReport) -> str:
    """The share of what the change took that came back; unknown where it took nothing."""
    if row.source is None or row.before is None or row.after is None or row.source <= row.before:
        return UNKNOWN
    share = 100 * (row.after - row.before) / (row.source - row.before)
    return "all, and more" if round(share) > 100 else f"{share:.0f}%"


def road_name(task: Task | str) -> str:
    """What people call a task, or the task of this name: signs, objects or lanes."""
    return ROAD_NAME_OF_TASK[Task(task)]


def percent(value: float | None) -> str:
    """One decimal, or a dash."""
    return _fixed(value, 1)


def number(value: float | None) -> str:
    """Three significant digits, or a dash."""
    return UNKNOWN if value is None else f"{value:.3g}"


def listing(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _fixed(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def _hundred(value: float | None) -> float | None:
    return None if value is None else 100 * value
