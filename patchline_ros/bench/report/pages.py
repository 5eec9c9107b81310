"""Writes the pages of results and their figures."""

from __future__ import annotations

import os
from pathlib import Path

from patchline_ros.bench.report import details, overview, targets
from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.detail_figures import draw_all
from patchline_ros.bench.report.drawing import save_all
from patchline_ros.bench.report.section import FIGURES
from patchline_ros.bench.result import ResultError, record_path
from patchline_ros.files import write_file


def collect(folder: Path) -> dict[str, Collected]:
    """The results of each experiment in `folder`, by its name.

    Args:
        folder: as `patchline bench run` leaves it, with NAME/experiment.json.

    Raises:
        ResultError: there are no results, or a file is broken.
    """
    names = sorted(path.parent.name for path in folder.glob("*/experiment.json"))
    if not names:
        raise ResultError(f"there are no results in {folder}: no NAME/experiment.json")
    found = {name: Collected.read(record_path(folder, name).parent) for name in names}
    for name, results in found.items():
        if not results.rows:
            raise ResultError(f"no result in {folder / name} is of a row in its experiment.json")
    return found


def write_report(folder: Path, page: Path | None = None) -> Path:
    """Writes a short page on all experiments in `folder` and a page on each, with their figures.

    Args:
        folder: as `patchline bench run` leaves it, with NAME/experiment.json. The page on an
            experiment is NAME/README.md, the one on targets targets.md.
        page: file of the short page; `folder`/results.md when not given.

    Raises:
        ResultError: there are no results, or a file is broken.
    """
    page = page or folder / "results.md"
    experiments = collect(folder)
    for name, results in experiments.items():
        figures = draw_all(results)
        save_all(figures, folder / name / FIGURES)
        text = details.page_text(results, list(figures), _seen(page, folder / name))
        write_file(folder / name / "README.md", text.encode())
    text = targets.page_text(experiments, _seen(page, folder))
    if text:
        write_file(folder / targets.FILE, text.encode())
    sections = overview.sections_of(experiments)
    save_all({section.file: section.figure for section in sections}, folder / FIGURES)
    page.parent.mkdir(parents=True, exist_ok=True)
    text = overview.page_text(experiments, sections, _seen(folder, page.parent))
    write_file(page, text.encode())
    return page


def _seen(path: Path, start: Path) -> str:
    """A path as a page in the folder `start` must name it."""
    return Path(os.path.relpath(path, start)).as_posix()
