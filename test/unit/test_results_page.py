"""docs/results.md says what the committed result files say, and no more."""

from __future__ import annotations

import re
from pathlib import Path

from patchline_ros.bench.report import collect, report_text

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_made_from_the_committed_results() -> None:
    page = (DOCS / "results.md").read_text()
    assert report_text(collect(DOCS / "results"), "results") == page
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert pictures
    assert all((DOCS / picture).is_file() for picture in pictures)
