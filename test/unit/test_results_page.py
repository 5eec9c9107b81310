"""docs/results.md says what the committed result files say, and no more."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from patchline_ros.bench.report import write_report

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_made_from_the_committed_results(tmp_path: Path) -> None:
    shutil.copytree(DOCS / "results", tmp_path / "results")
    write_report(tmp_path / "results", tmp_path / "results.md")
    page = (DOCS / "results.md").read_text()
    assert (tmp_path / "results.md").read_text() == page
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert pictures
    assert all((DOCS / picture).is_file() for picture in pictures)
