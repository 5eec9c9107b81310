"""Markdown tables of an experiment's results."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from patchline_ros.adaptation.gain_predictor import PredictedGain
from patchline_ros.adaptation.gate import MARGIN
from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.markdown import (
    NONE,
    interval,
    listed,
    number,
    percent,
    points,
    table,
)
from patchline_ros.bench.report.statistics import Difference, difference
from patchline_ros.bench.result import Gate, Returned, Scores, TaskResult
from patchline_ros.tasks import Task

MIB = 2**20


def _to_reference(results: Collected, row: str, task: Task) -> Difference | None:
    reference = results.reference(task)
    if reference is None or reference == row:
        return None
    return difference(
        results.of_task(row, task, lambda result: result.test.final),
        results.of_task(reference, task, lambda result: result.test.final),
    )


def accuracy(results: Collected) -> str:
    """The metric on test frames, and its difference to the reference row of each task."""
    tasks = results.experiment.tasks
    head = [""]
    for task in tasks:
        reference = results.reference(task)
        against = NONE if reference is None else f"less {results.title(reference)}"
        head += [f"{task}, {task.traits.metric}", against]
    rows = []
    for row in results.rows:
        cells = [results.title(row)]
        for task in tasks:
            cells += [
                percent(results.score(row, task)),
                points(_to_reference(results, row, task)),
            ]
        rows.append(cells)
    return table(head, rows)


def undrawn(results: Collected) -> list[str]:
    """A sentence on the scores that are the same with each seed; none where there is no such."""
    rows: dict[str, list[str]] = {}
    for row in results.rows:
        tasks = [str(task) for task in results.undrawn(row)]
        if tasks:
            rows.setdefault(listed(tasks), []).append(results.title(row))
    return [
        f"On {tasks} all seeds give the same score, to the last digit, in these rows: "
        f"{'; '.join(titles)}. Nothing is drawn at random there, so ± 0.0 is no precision: the "
        "seeds are one measurement."
        for tasks, titles in rows.items()
    ]


def differences(results: Collected) -> str:
    """Every difference with its test and both intervals."""
    rows = []
    for task in results.experiment.tasks:
        for row in results.rows:
            found = _to_reference(results, row, task)
            if found is not None:
                rows.append(
                    [
                        f"{task}: {results.title(row)}",
                        f"{100 * found.mean:+.2f}",
                        interval(found.interval),
                        NONE if found.p is None else f"{found.p:.3f}",
                        interval(found.bootstrap),
                        str(found.seeds),
                    ]
                )
    head = ["less the reference", "points", "95%, t", "p, paired t", "95%, bootstrap", "seeds"]
    return table(head, rows)


def _with_shares(results: Collected, row: str, figure: Callable[[str], float]) -> list[str]:
    """A figure of a row, and what part of FT-full's and of LST's it is."""
    value = figure(row)
    cells = [number(value)]
    for other in (results.full(), results.ladder()):
        base = figure(other) if other else 0.0
        cells.append(f"{100 * value / base:.1f}%" if base else NONE)
    return cells


def _gflops(results: Collected, row: str) -> float:
    return results.over_tasks(row, lambda result: result.total_gflops).mean


def _paper(results: Collected, row: str) -> float:
    return results.over_tasks(row, lambda result: result.paper_gflops).mean


def _to_converge(results: Collected, row: str) -> float:
    cached = results.cached(row)
    return results.over_tasks(row, lambda result: result.gflops_to_converge(cached)).mean


def compute(results: Collected) -> str:
    """GFLOPs of all tasks: actual, up to convergence, and in the paper's accounting."""
    head = ["GFLOPs of all tasks"]
    for name in ("actual", "to converge", "paper's"):
        head += [name, "of FT-full", "of LST"]
    rows = [
        [
            results.title(row),
            *_with_shares(results, row, lambda each: _gflops(results, each)),
            *_with_shares(results, row, lambda each: _to_converge(results, each)),
            *_with_shares(results, row, lambda each: _paper(results, each)),
        ]
        for row in results.rows
    ]
    return table(head, rows)


def compute_by_task(results: Collected) -> str:
    """The actual GFLOPs of each task."""
    tasks = results.experiment.tasks
    head = ["GFLOPs, actual"]
    for task in tasks:
        head += [str(task), "of FT-full", "of LST"]

    def spent(row: str, task: Task) -> float:
        figures = results.of_task(row, task, lambda result: result.total_gflops)
        return sum(figures.values()) / len(figures)

    rows = []
    for row in results.rows:
        cells = [results.title(row)]
        for task in tasks:
            cells += _with_shares(results, row, partial(spent, task=task))
        rows.append(cells)
    return table(head, rows)


def saved_mib(results: Collected, row: str) -> float:
    """MiB kept for the backward pass of a batch, of the largest task."""

    def saved(result: TaskResult) -> float:
        return result.step.saved_bytes / MIB if result.step else 0.0

    return results.over_tasks(row, saved, max).mean


def seconds(results: Collected, row: str) -> float:
    """Seconds of all tasks, the least of all seeds: other work on the machine can only add."""
    runs = results.runs(row).values()
    return min(sum(result.seconds for result in run.tasks.values()) for run in runs)


def memory_and_time(results: Collected) -> str:
    """Saved bytes and peak of the largest task, seconds of all tasks.

    The peak has no shares: in results of schema 2 it depends on what the process did before.
    """
    shares = ["of FT-full", "of LST"]
    head = ["", "saved for backward, MiB", *shares, "peak memory, MiB"]
    head += ["seconds, least of the seeds", *shares]

    def peak(row: str) -> float:
        return results.over_tasks(row, lambda result: result.peak_bytes / MIB, max).mean

    rows = [
        [
            results.title(row),
            *_with_shares(results, row, partial(saved_mib, results)),
            number(peak(row)),
            *_with_shares(results, row, partial(seconds, results)),
        ]
        for row in results.rows
    ]
    return table(head, rows)


def returning(results: Collected) -> list[str]:
    """What the bank of earlier patch sets did; nothing where no row asked it."""
    head = ["the drift comes again", "frames known", "patch set used", "source", "first visit"]
    head += ["second visit", "GFLOPs", "of the first visit's", "seconds", "of the first visit's"]
    rows = []
    for row in results.rows:
        for task in results.experiment.tasks:
            pairs = [
                (run.tasks[task], run.tasks[task].returned) for run in results.runs(row).values()
            ]
            both = [(first, second) for first, second in pairs if second is not None]
            if both:
                rows.append([f"{task}: {results.title(row)}", *_second_visit(both)])
    return [table(head, rows)] if rows else []


def _second_visit(both: list[tuple[TaskResult, Returned]]) -> list[str]:
    def mean(figure: Callable[[TaskResult, Returned], float]) -> float:
        return sum(figure(first, second) for first, second in both) / len(both)

    return [
        f"{sum(second.found for _, second in both)} of {len(both)}",
        f"{sum(second.accepted for _, second in both)} of {len(both)}",
        f"{100 * mean(lambda _, second: second.source):.1f}",
        f"{100 * mean(lambda _, second: second.first):.1f}",
        f"{100 * mean(lambda _, second: second.final):.1f}",
        number(mean(lambda _, second: second.gflops)),
        f"{100 * mean(lambda first, second: second.gflops / first.total_gflops):.1f}%",
        number(mean(lambda _, second: second.seconds)),
        f"{100 * mean(lambda first, second: second.seconds / first.seconds):.1f}%",
    ]


def gates(results: Collected) -> list[str]:
    """What the car's gate decided; nothing where no row asked it."""
    head = ["the gate", "accepted", "on deciding frames: runs", "trained", "standard error"]
    head += ["on test frames: source", "without labels", "trained, were it taken", "what runs"]
    rows = []
    for row in results.rows:
        for task in results.experiment.tasks:
            runs = [run.tasks[task] for run in results.runs(row).values()]
            both = [(run.test, run.gate) for run in runs if run.gate is not None]
            if both:
                rows.append([f"{task}: {results.title(row)}", *_decided(both)])
    return [table(head, rows)] if rows else []


def _decided(both: list[tuple[Scores, Gate]]) -> list[str]:
    def mean(figure: Callable[[Scores, Gate], float]) -> str:
        return f"{100 * sum(figure(test, gate) for test, gate in both) / len(both):.1f}"

    return [
        f"{sum(gate.accepted for _, gate in both)} of {len(both)}",
        mean(lambda _, gate: gate.running),
        mean(lambda _, gate: gate.candidate),
        mean(lambda _, gate: gate.error),
        mean(lambda test, _: test.source),
        mean(lambda test, gate: gate.without_labels or test.source),
        mean(lambda _, gate: gate.test),
        mean(lambda test, _: test.final),
    ]


def answers(results: Collected) -> list[str]:
    """What the label-free gate predicted of the model that it preferred, where no labels decided
    after it; nothing where no row asked it.
    """
    head = ["the label-free gate", "accepted", "predicted gain", "error", "source", "what runs"]
    rows = []
    for row in results.rows:
        for task in results.experiment.tasks:
            runs = [run.tasks[task] for run in results.runs(row).values()]
            free = [run for run in runs if run.gate is None]
            asked = [(run.test, run.predicted) for run in free if run.predicted is not None]
            if asked:
                rows.append([f"{task}: {results.title(row)}", *_answered(asked)])
    return [table(head, rows)] if rows else []


def _answered(asked: list[tuple[Scores, PredictedGain]]) -> list[str]:
    def mean(figure: Callable[[Scores, PredictedGain], float]) -> float:
        return 100 * sum(figure(test, gain) for test, gain in asked) / len(asked)

    return [
        f"{sum(gain.accepted(MARGIN) for _, gain in asked)} of {len(asked)}",
        f"{mean(lambda _, gain: gain.gain):+.1f}",
        f"{mean(lambda _, gain: gain.error):.1f}",
        f"{mean(lambda test, _: test.source):.1f}",
        f"{mean(lambda test, _: test.final):.1f}",
    ]


STAGES = ("selection", "norm", "frozen", "training", "validation", "gate")


def stages(results: Collected) -> str:
    """What the actual GFLOPs were spent on."""

    def spent(row: str, stage: str) -> float:
        return results.over_tasks(row, lambda result: result.gflops.get(stage, 0.0)).mean

    rows = [
        [results.title(row), *(number(spent(row, stage)) for stage in STAGES)]
        for row in results.rows
    ]
    return table(["GFLOPs of all tasks", *STAGES], rows)


def steps(results: Collected) -> str:
    """A training step of each task: FLOPs for one image in both accountings, by part, and bytes."""
    head = ["MFLOPs an image", "backbone", "adapter", "head", "not cached", "cached", "paper's"]
    head += ["saved, MiB a batch", "trained parameters"]
    rows = []
    for task in results.experiment.tasks:
        for row in results.rows:
            step = next(iter(results.runs(row).values())).tasks[task].step
            if step is None:
                continue
            parts = [
                sum((part.frozen_forward, part.trained_forward, part.backward))
                for part in (step.parts[name] for name in ("backbone", "adapter", "head"))
            ]
            flops = [*parts, step.uncached, step.cached, step.paper]
            rows.append(
                [
                    f"{task}: {results.title(row)}",
                    *(number(value / 1e6) for value in flops),
                    number(step.saved_bytes / MIB),
                    str(step.trained_parameters),
                ]
            )
    return table(head, rows)


def epochs(results: Collected) -> str:
    """How long each row trained, on how much."""
    tasks = results.experiment.tasks
    head = [""]
    for task in tasks:
        head += [f"{task}: epochs to converge", "best epoch", "frames kept", "images processed"]
    figures: list[Callable[[TaskResult], float]] = [
        lambda result: result.converged,
        lambda result: result.best_epoch,
        lambda result: result.kept,
        lambda result: result.images,
    ]
    rows = []
    for row in results.rows:
        cells = [results.title(row)]
        for task in tasks:
            for figure in figures:
                values = list(results.of_task(row, task, figure).values())
                cells.append(f"{sum(values) / len(values):.4g}")
        rows.append(cells)
    return table(head, rows)


def untrained(results: Collected) -> list[str]:
    """A sentence for each row and task of which some run kept the source model."""
    sentences = []
    for row in results.rows:
        for task in results.experiment.tasks:
            runs = results.runs(row).values()
            reasons = [run.tasks[task].untrained for run in runs if run.tasks[task].untrained]
            if reasons:
                sentences.append(
                    f"{results.title(row)} kept the source model for {task} in {len(reasons)} of "
                    f"{len(runs)} runs: {reasons[0]}."
                )
    return sentences
