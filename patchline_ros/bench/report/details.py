"""The page of one experiment: all of its rows, with everything that was measured."""

from __future__ import annotations

from collections.abc import Sequence

from patchline_ros.bench.report import tables
from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.detail_figures import FIGURES
from patchline_ros.bench.result import CONVERGED_WITHIN
from patchline_ros.bench.scene_words import in_words, split_in_words

_TERMS = f"""\
The metric is measured on test frames, which no epoch is chosen on; in percent, mean over seeds ±
standard deviation. Behind each difference stands its 95% interval by the paired t-test over seeds;
one seed has none. *Actual* GFLOPs are all that was computed: selection of samples, re-estimated
norm statistics, frozen part, training steps, scores of validation frames, and the gate, which
scores the source and the final model on those frames. *To converge* counts up to the first epoch
whose validation metric is within {CONVERGED_WITHIN:g} of the best; a cache counts whole. *Paper's*
is the paper's accounting, for each image that was trained on. Saved bytes and peak memory are
those of the largest task, everything else is summed over tasks."""
_PEAK = {
    2: "Peak memory is by how much the process grew. That depends on what it did before, so it "
    "is no ground to compare rows on; newer runs count tensors instead.",
    3: "Peak memory is that of all tensors that live at a time.",
}
"""By schema of the results."""


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
    origins = "; ".join(results.origins())
    return (
        f"Seeds {', '.join(map(str, results.seeds()))}. Source models: {origins}. "
        f"Machine: {'; '.join(machines)}. Versions: {', '.join(versions)}."
    )


def _peak(results: Collected) -> str:
    """What the peak of memory is in these results; of both kinds the caveat stands."""
    schemas = (run.schema_version for row in results.rows for run in results.runs(row).values())
    return _PEAK[min(schemas)]


def _compared_with(results: Collected) -> str:
    named = {"FT-full": results.full(), "LST": results.ladder()}
    there = [f"{name} is the row {results.title(row)}" for name, row in named.items() if row]
    return f"{', '.join(there)}." if there else ""


def page_text(results: Collected, figures: Sequence[str], overview: str) -> str:
    """The page of one experiment, in Markdown.

    Args:
        results: of the experiment.
        figures: files that were drawn of it, without suffix.
        overview: the page of all experiments, as seen from this one.
    """
    experiment = results.experiment
    parts = [
        f"# {experiment.name}",
        f"Written by `patchline bench report` from the result files beside it; not by hand. "
        f"What they show in short: [{overview.rpartition('/')[2]}]({overview}).",
        f"{in_words(experiment.scene, '')} {split_in_words(experiment.scene)}".strip(),
        experiment.about,
        _command(results),
        _measured_on(results),
        f"{_TERMS} {_peak(results)}",
        "## Accuracy",
        tables.accuracy(results),
        *tables.undrawn(results),
        *tables.untrained(results),
        *tables.gates(results),
        *tables.answers(results),
        "## Cost",
        _compared_with(results),
        tables.compute(results),
        tables.memory_and_time(results),
        *tables.returning(results),
        *(f"![{FIGURES[name]}](figures/{name}.png)" for name in figures),
        "## In detail",
        tables.differences(results),
        tables.compute_by_task(results),
        tables.stages(results),
        tables.epochs(results),
        tables.steps(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
