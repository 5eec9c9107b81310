"""docs/results.md and the pages behind it say what the committed result files say, and no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from patchline_ros.bench.report import details, overview, targets
from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.detail_figures import draw_all
from patchline_ros.bench.report.pages import collect

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = DOCS / "results"


@pytest.fixture(scope="module")
def experiments() -> dict[str, Collected]:
    return collect(RESULTS)


def test_the_short_page_is_made_from_the_committed_results(
    experiments: dict[str, Collected],
) -> None:
    page = (DOCS / "results.md").read_text()
    sections = overview.sections_of(experiments)
    assert overview.page_text(experiments, sections, "results") == page
    assert len(page.splitlines()) <= 160, "a reader should see at once what came out"


def test_the_page_of_targets_is_made_from_the_committed_results(
    experiments: dict[str, Collected],
) -> None:
    page = (RESULTS / targets.FILE).read_text()
    assert targets.page_text(experiments, "../results.md") == page


def test_each_experiment_has_its_page(experiments: dict[str, Collected]) -> None:
    for name, results in experiments.items():
        page = (RESULTS / name / "README.md").read_text()
        assert details.page_text(results, list(draw_all(results)), "../../results.md") == page, name


def test_links_and_pictures_of_the_pages_are_there() -> None:
    pages = [DOCS / "results.md", RESULTS / targets.FILE, *RESULTS.glob("*/README.md")]
    for page in pages:
        linked = re.findall(r"\]\(([^)]*)\)", page.read_text())
        assert linked
        assert all((page.parent / link).is_file() for link in linked), page
