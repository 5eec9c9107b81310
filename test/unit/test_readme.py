"""What the README promises about itself."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from tools.draw_pages import LARGEST, SIZES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text below a heading."""
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_it_is_short_and_names_the_two_commands() -> None:
    assert len(TEXT.splitlines()) <= 120
    commands = re.findall(r"^    (\./patchline \w+)", section("See it"), flags=re.M)
    assert commands == ["./patchline demo", "./patchline test"]


def test_the_first_day_on_a_car_installs_as_it_does() -> None:
    steps = re.findall(r"^    .+", section("On a car"), flags=re.M)[:5]
    assert steps[-1].startswith("    colcon build")
    assert "\n".join(steps) in (ROOT / "docs" / "car.md").read_text(encoding="utf-8")


def test_its_results_are_those_of_the_generated_pages() -> None:
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    said = " ".join(re.findall(r"^- (.*)$", section("Results"), flags=re.M))
    figures = re.findall(r"[+-]?\d+(?:\.\d+)?%?", said)
    assert len(figures) >= 9
    top, unlabelled = results.split("## What does it gain without any label?")
    top += (ROOT / "docs" / "results" / "targets.md").read_text(encoding="utf-8")
    places = {
        figure: top if "%" in figure or figure[0] in "+-" else unlabelled for figure in figures
    }
    missing = [figure for figure, place in places.items() if figure not in place]
    assert missing == []


def test_the_pictures_of_the_pages_are_small_and_shown() -> None:
    shown = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    for name in ("watch", "report"):
        for size, (width, _) in SIZES.items():
            path = ROOT / "docs" / "pages" / f"{name}-{size}.webp"
            with Image.open(path) as picture:
                assert picture.width == width
            assert path.stat().st_size < LARGEST
            assert f"pages/{path.name})" in shown


def test_its_moving_picture_moves_and_is_small() -> None:
    path = ROOT / "docs" / "demo.webp"
    with Image.open(path) as picture:
        assert getattr(picture, "n_frames", 1) > 20
    assert path.stat().st_size < 3 * 2**20
