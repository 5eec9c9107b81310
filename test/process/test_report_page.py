"""The report of a demo in a browser, on a phone and on a desk."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_drive import ADAPTATION, ANSWER, report, strip, timeline

from patchline_ros.demo.report import REPORT_HTML, write_report
from tools.browser import Browser

PHONE, DESK = (390, 844), (1280, 900)


@pytest.mark.parametrize("width, height", [PHONE, DESK])
def test_nothing_is_cut_off_and_the_words_are_explained(
    width: int, height: int, tmp_path: Path, browser: Browser
) -> None:
    write_report(report(ANSWER, ADAPTATION), timeline(), strip(), ["sky"], "patchline", tmp_path)
    browser.look(width, height, dark=False)
    browser.open((tmp_path / REPORT_HTML).as_uri())
    assert browser.value("document.documentElement.scrollWidth") == width
    tables = "[...document.querySelectorAll('.scroll')]"
    assert browser.value(f"{tables}.length") == 4
    assert browser.value(f"{tables}.every(table => table.scrollWidth <= table.clientWidth)")
    # No cell spills into the next one, and what a cell is of stands beside or above it.
    spilt = "[...document.querySelectorAll('th, td')].filter(c => c.scrollWidth > c.clientWidth)"
    assert browser.value(f"{spilt}.map(cell => cell.innerText)") == []
    assert browser.value("document.querySelector('h1').offsetHeight") <= height / 4
    for word in ("mmd2", "gate", "kept"):
        assert browser.value(f"document.querySelectorAll('a[href=\"#{word}\"]').length") > 0
        explained = browser.value(
            f"document.querySelector('dt#{word}').nextElementSibling.innerText"
        )
        assert len(explained.split()) > 15


def test_a_phone_has_the_tasks_of_a_table_side_by_side(tmp_path: Path, browser: Browser) -> None:
    write_report(report(ANSWER, ADAPTATION), timeline(), strip(), ["sky"], "patchline", tmp_path)

    def places(size: tuple[int, int]) -> list[float]:
        """Where the middle of the first task is, and of the second: x, y, x, y."""
        browser.look(*size, dark=False)
        browser.open((tmp_path / REPORT_HTML).as_uri())
        boxes = "[...document.querySelectorAll('.big td:first-child')].slice(0, 2)"
        found: list[float] = browser.value(
            f"{boxes}.map(c => c.getBoundingClientRect()).flatMap(b => [b.right, b.bottom])"
        )
        return found

    x1, y1, x2, y2 = places(PHONE)
    assert x2 > x1 and y1 == y2
    x1, y1, x2, y2 = places(DESK)
    assert x2 == x1 and y2 > y1
