"""The report of a demo, rendered from a small result made by hand."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from small_drive import ADAPTATION, ANSWER, DRIFT, FRAMES, SOURCE, report, strip, tasks, timeline

from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.adaptation.label_free_candidates import CANDIDATES
from patchline_ros.demo.drive import Shot
from patchline_ros.demo.records import Split
from patchline_ros.demo.report import print_summary, write_report
from patchline_ros.demo.report_text import ANSWERS, answered, headline, title, won_back
from patchline_ros.demo.result import TaskReport
from patchline_ros.demo.strip import best_shown
from patchline_ros.tasks import Frame, Task


class Page(HTMLParser):
    """Text and addresses of a page, and the tags that were left open."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "br", "wbr", "path", "use", "rect"):
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "use", "rect"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_report_holds_its_numbers_and_nothing_from_outside(tmp_path: Path) -> None:
    write_report(
        report(), timeline(), strip(), ["sky", "road"], "patchline demo --seed 3", tmp_path
    )

    data = json.loads((tmp_path / "report.json").read_text())
    assert data["drift"]["frames_to_detect"] == 9
    assert data["tasks"]["segmentation"]["after"] == 66.6
    assert data["frames"]["processed"]["object_detector"] == 730

    page = Page()
    page.feed((tmp_path / "report.html").read_text())
    assert page.open == []
    for expected in (
        "Night fell: signs, objects and lanes adapted",
        "signs 41.3\u00a0→\u00a088.8%",
        "66.6",
        "822 GFLOP",
        "731 frames were published",
        "stop <3",
        "patchline demo --seed 3",
    ):
        assert expected in page.text
    assert page.addresses
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    for name in ("story", "tasks", "samples", "training"):
        assert (tmp_path / "plots" / f"{name}.png").stat().st_size > 1000


@pytest.mark.parametrize("training", [ADAPTATION, None])
def test_report_has_predicted_beside_true_gains(
    tmp_path: Path, training: EpisodeReport | None
) -> None:
    write_report(report(ANSWER, training), timeline(), strip(), ["sky"], "patchline demo", tmp_path)
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["answer"]["tasks"]["classification"]["gain"] == 22.2
    assert (data["adaptation"] is None) == (training is None)
    page = Page()
    page.feed((tmp_path / "report.html").read_text())
    assert page.open == []
    for expected in (
        "from 4 s later on, without one label, prepared patches and norm statistics moved",
        "signs 41.3\u00a0→\u00a063.5%",
        "+28.1\u00a0±\u00a09.3",
        "+22.2",
        "+2.6\u00a0±\u00a07.7",
        "refused: not surely better",
    ):
        assert expected in page.text
    assert ("signs 63.5\u00a0→\u00a088.8%" in page.text) == (training is not None)
    assert ("GFLOP in all" in page.text) == (training is not None)


def test_a_task_that_was_not_asked_is_not_called_refused() -> None:
    shown = [answered(report(ANSWER), task) for task in Task]
    assert shown == ["63.5", "—", "refused"]


def test_summary_fits_a_terminal_and_has_both_gains(tmp_path: Path) -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    print_summary(report(ANSWER, None), tmp_path, console)
    said = console.file.getvalue()
    assert "from 4 s later on, without one" in said
    assert "122 s in all; the report, for a browser" in said
    assert re.search(r"signs +│ both +│ +\+28\.1\u00a0±\u00a09\.3 +│ +\+22\.2 │ swapped in", said)


def test_all_that_a_car_tries_without_labels_has_a_name() -> None:
    assert tuple(ANSWERS) == CANDIDATES


def test_headline_says_when_nothing_was_gained() -> None:
    assert title(SOURCE, tasks(swapped=False)) == "Night fell: the source models stayed"
    sentence = headline(SOURCE, DRIFT, tasks(swapped=False), None, ADAPTATION, FRAMES)
    assert "left as they were" in sentence
    refused = ANSWER.model_copy(
        update={"tasks": {Task.SEGMENTATION: ANSWER.tasks[Task.SEGMENTATION]}}
    )
    sentence = headline(SOURCE, DRIFT, tasks(swapped=False), refused, None, FRAMES)
    assert "without labels nothing was surely better" in sentence


@pytest.mark.parametrize(
    ("source", "before", "after", "said"),
    [
        (80.0, 40.0, 70.0, "75%"),
        (80.0, 40.0, 30.0, "-25%"),
        (80.0, 40.0, 80.1, "100%"),
        (80.0, 79.0, 83.0, "all, and more"),
        (40.0, 50.0, 60.0, "—"),
        (None, 1.0, 2.0, "—"),
    ],
)
def test_won_back(source: float | None, before: float, after: float, said: str) -> None:
    row = TaskReport(
        metric="m", source=source, before=before, after=after, test_frames=1, swapped=True
    )
    assert won_back(row) == said


def test_the_pictures_are_of_a_frame_that_all_tasks_answered() -> None:
    frame = Frame("", np.zeros((1, 1, 3), np.uint8), {})
    tests = [
        Shot(place, frame, "fog", Split.TEST, dict.fromkeys(Task, name), frozenset())
        for place, name in enumerate("abcde")
    ]
    everything: dict[Task, set[str]] = {task: set("abcde") for task in Task}
    assert best_shown(tests, everything).index == 2
    assert best_shown(tests, {**everything, Task.SEGMENTATION: set("ad")}).index == 3
    assert best_shown(tests, {**everything, Task.SEGMENTATION: set()}).index == 2
