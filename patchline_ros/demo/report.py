"""Writes what a demo found: `report.json`, `timeline.json`, `report.html`, plots, a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich.console import Console
from rich.table import Table

from patchline_ros.demo import report_text
from patchline_ros.demo.plots import draw_all, save_all
from patchline_ros.demo.result import AnswerReport, Report, Timeline
from patchline_ros.demo.score import ROLLING
from patchline_ros.demo.strip import Row
from patchline_ros.files import write_file
from patchline_ros.pages.page import render
from patchline_ros.pages.plots import to_svg
from patchline_ros.palette import PALETTE

REPORT_JSON, TIMELINE_JSON, REPORT_HTML, PLOTS = (
    "report.json",
    "timeline.json",
    "report.html",
    "plots",
)
TEMPLATE = "report.html.jinja"


def write_report(
    report: Report,
    timeline: Timeline,
    strip: Sequence[Row],
    lane_classes: Sequence[str],
    command: str,
    out: Path,
) -> None:
    """Write every file of the report into `out`; `command` is what makes the same drive again."""
    figures = draw_all(report, timeline)
    save_all(figures, out / PLOTS)
    page = render_html(
        report,
        {name: to_svg(figure) for name, figure in figures.items()},
        strip,
        lane_classes,
        command,
    )
    write_file(out / REPORT_JSON, report.model_dump_json(indent=1).encode())
    write_file(out / TIMELINE_JSON, timeline.model_dump_json().encode())
    write_file(out / REPORT_HTML, page.encode())


def render_html(
    report: Report,
    plots: Mapping[str, str],
    strip: Sequence[Row],
    lane_classes: Sequence[str],
    command: str,
) -> str:
    """The page, with everything it shows inside it. `plots` are SVG elements by name."""
    named = {
        name: Markup(plots.get(name, "")) for name in ("story", "tasks", "samples", "training")
    }
    return render(
        Path(__file__).with_name(TEMPLATE),
        {
            "answered": report_text.answered,
            "percent": report_text.percent,
            "road_name": report_text.road_name,
            "won_back": report_text.won_back,
        },
        report=report,
        title=report_text.title(report.source, report.tasks),
        plots=named,
        strip=strip,
        legend=[
            (name.replace("_", " "), f"rgb{PALETTE[i % len(PALETTE)]}")
            for i, name in enumerate(lane_classes)
        ],
        facts=report_text.facts(report.source, report.config, report.seconds, report.seed),
        drift_sentence=report_text.drift_sentence(report.drift),
        **_adapted(report),
        rolling=ROLLING,
        command=command,
    )


def _adapted(report: Report) -> dict[str, Any]:
    """What the page says of the episodes that there were."""
    answer, training = report.answer, report.adaptation
    return {
        "answer_sentence": report_text.answer_sentence(answer) if answer else "",
        "gains": report_text.answer_rows(answer) if answer else [],
        "adaptation_sentence": report_text.adaptation_sentence(training) if training else "",
        "costs": report_text.cost_rows(training) if training else [],
    }


def print_summary(report: Report, out: Path, console: Console) -> None:
    """The outcome in the terminal."""
    console.print()
    console.print(report.headline, style="bold")
    console.print(_stages(report))
    if report.answer is not None:
        console.print(_gains(report.answer))
    page = (out / REPORT_HTML).resolve()
    console.print(
        f"{report.seconds:.0f} s in all; the report, for a browser: {page}", soft_wrap=True
    )


def _stages(report: Report) -> Table:
    table = Table(title_justify="left")
    table.add_column("task")
    table.add_column("metric, %")
    between = ["answered"] if report.answer else []
    for name in ("clear road", "before", *between, "after", "won back"):
        table.add_column(name, justify="right")
    for task, row in report.tasks.items():
        table.add_row(
            report_text.road_name(task),
            row.metric,
            report_text.percent(row.source),
            report_text.percent(row.before),
            *([report_text.answered(report, task)] if report.answer else []),
            report_text.percent(row.after),
            report_text.won_back(row),
        )
    return table


def _gains(answer: AnswerReport) -> Table:
    table = Table(title="Gain without labels, in points", title_justify="left")
    table.add_column("task")
    table.add_column("best answer")
    for name in ("predicted", "true"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for row in report_text.answer_rows(answer):
        table.add_row(row["task"], row["candidate"], row["predicted"], row["true"], row["verdict"])
    return table
