"""The page of results: tables and figures of experiments, from their result files alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from patchline_ros.bench import tables
from patchline_ros.bench.collected import Collected
from patchline_ros.bench.figures import draw_all, save_all
from patchline_ros.bench.result import CONVERGED_WITHIN, ResultError, record_path
from patchline_ros.files import write_file

FIGURES = {
    "accuracy-compute": "Accuracy on test frames over compute.",
    "epochs": "Metric on validation frames over epochs.",
}
_INTRODUCTION = f"""# Results

Written by `patchline bench report` from the result files in {{folder}}; not by hand.

The metric is measured on test frames, which no epoch is chosen on; in percent, mean over seeds ±
standard deviation. Behind each difference stands its 95% interval by the paired t-test over seeds;
one seed has none. *Actual* GFLOPs are all that was computed: selection of samples, re-estimated
norm statistics, frozen part, training steps, scores of validation frames, and the gate, which
scores the source and the final model on those frames. *To converge* counts up to the first epoch
whose validation metric is within {CONVERGED_WITHIN:g} of the best; a cache counts whole. *Paper's*
is the paper's accounting, for each image that was trained on. Saved bytes and peak memory are
those of the largest task, everything else is summed over tasks. Peak memory is only a rough figure:
on a CPU it depends on what the process did before."""


def _names(folder: Path) -> list[str]:
    """The experiments in a folder.

    Raises:
        ResultError: there are none.
    """
    names = sorted(path.parent.name for path in folder.glob("*/experiment.json"))
    if not names:
        raise ResultError(f"there are no results in {folder}: no NAME/experiment.json")
    return names


def _command(results: Collected) -> str:
    """What gives these results."""
    run = next(iter(results.runs(results.rows[0]).values())).config
    data = "" if run.origin == "random" else " --data DATA"
    bundle = " --bundle BUNDLE" if run.origin.startswith("bundle") else ""
    tuned = any(
        rate != 1.0
        for row in results.rows
        for result in results.runs(row).values()
        for rate in result.config.rates.values()
    )
    commands = ["tune", "run"] if tuned else ["run"]
    return "\n".join(
        f"    patchline bench {command} {results.called}{data}{bundle}" for command in commands
    )


def _measured_on(results: Collected) -> str:
    runs = [run for row in results.rows for run in results.runs(row).values()]
    machines = sorted(
        {
            f"{run.machine.cpu}, {run.machine.cores} cores, {run.machine.device}, "
            f"{run.machine.threads} thread a run, {run.machine.workers} at a time"
            for run in runs
        }
    )
    versions = sorted({f"{name} {v}" for run in runs for name, v in run.versions.items()})
    origins = sorted({run.config.origin for run in runs})
    return (
        f"Seeds {', '.join(map(str, results.seeds()))}. Source models: {'; '.join(origins)}. "
        f"Machine: {'; '.join(machines)}. Versions: {', '.join(versions)}."
    )


def _compared_with(results: Collected) -> str:
    named = {"FT-full": results.full(), "LST": results.ladder()}
    there = [f"{name} is the row {results.title(row)}" for name, row in named.items() if row]
    return f"{', '.join(there)}." if there else ""


def section(results: Collected, figures: str) -> str:
    """One experiment as Markdown.

    Args:
        results: of the experiment.
        figures: where its figures lie, as the page names the folder.
    """
    parts = [
        f"## {results.experiment.name}",
        results.experiment.about,
        _command(results),
        _measured_on(results),
        "### Accuracy",
        tables.accuracy(results),
        *tables.untrained(results),
        *tables.gates(results),
        *tables.answers(results),
        "### Cost",
        _compared_with(results),
        tables.compute(results),
        tables.memory_and_time(results),
        *tables.returning(results),
        *(f"![{text}]({figures}/{name}.png)" for name, text in FIGURES.items()),
        "### In detail",
        tables.differences(results),
        tables.compute_by_task(results),
        tables.stages(results),
        tables.epochs(results),
        tables.steps(results),
    ]
    return "\n\n".join(part for part in parts if part)


def collect(folder: Path) -> dict[str, Collected]:
    """The results of each experiment in `folder`, by its name.

    Args:
        folder: as `patchline bench run` leaves it, with NAME/experiment.json.

    Raises:
        ResultError: there are no results, or a file is broken.
    """
    found = {name: Collected.read(record_path(folder, name).parent) for name in _names(folder)}
    for name, results in found.items():
        if not results.rows:
            raise ResultError(f"no result in {folder / name} is of a row in its experiment.json")
    return found


def report_text(experiments: Mapping[str, Collected], folder: str) -> str:
    """The page on all experiments, in Markdown; `folder`: of the results, as seen from the page."""
    parts = [_INTRODUCTION.format(folder=f"`{folder}`")]
    for name, results in experiments.items():
        parts.append(section(results, f"{folder}/{name}/figures"))
    return "\n\n".join(parts) + "\n"


def write_report(folder: Path, page: Path | None = None) -> Path:
    """Draws the figures of all experiments in `folder` and writes one page on them.

    Args:
        folder: as `patchline bench run` leaves it, with NAME/experiment.json.
        page: file to write; `folder`/results.md when not given.

    Raises:
        ResultError: there are no results, or a file is broken.
    """
    page = page or folder / "results.md"
    experiments = collect(folder)
    for name, results in experiments.items():
        save_all(draw_all(results), folder / name / "figures")
    page.parent.mkdir(parents=True, exist_ok=True)
    shown = Path(os.path.relpath(folder, page.parent)).as_posix()
    write_file(page, report_text(experiments, shown).encode())
    return page
