"""The documentation: its generated page, its links, and the site that is built of it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tools import draw_concepts, list_commands
from tools.site_hooks import without_links_out

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "examples", ".github")
PAGES = sorted([*ROOT.glob("*.md"), *(p for f in FOLDERS for p in (ROOT / f).rglob("*.md"))])
ITEM = re.compile(r"(- |\d+\. )")


def without_code(text: str) -> str:
    """A page's prose: what stands in code is no link and no heading."""
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.M | re.S)
    text = re.sub(r"^    .*$", "", text, flags=re.M)
    return text


@cache
def anchors(page: Path) -> set[str]:
    """Names of a page's headings as GitHub and mkdocs make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", without_code(page.read_text(encoding="utf-8")), re.M):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        again = sum(other == name or other.startswith(f"{name}-") for other in found)
        found.add(f"{name}-{again}" if name in found else name)
    return found


def broken_links(page: Path) -> list[str]:
    """What a page links to, or shows, that is not there."""
    prose = re.sub(r"`[^`\n]*`", "", without_code(page.read_text(encoding="utf-8")))
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{page.relative_to(ROOT)}: {link}")
    return broken


def test_links_lead_somewhere() -> None:
    assert len(PAGES) > 20
    assert [link for page in PAGES for link in broken_links(page)] == []


def test_a_broken_link_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    links = "[a](#one-two) [b](#three) [c](none.md) `[d](no)` [e](page.md#one-two)"
    page.write_text(f"# One Two\n{links}\n")
    assert broken_links(page) == ["page.md: #three", "page.md: none.md"]


def test_links_out_of_the_docs_are_words_on_the_site() -> None:
    text = (
        "[`car.yaml`](../config/car.yaml) [how](howto.md#undo) [page](../howto.md) [a](https://b)"
    )
    outside = "`car.yaml` [how](howto.md#undo) page [a](https://b)"
    assert without_links_out(text, "car.md") == outside
    inside = text.replace("[`car.yaml`]", "[x]").replace("../config/car.yaml", "car.yaml")
    assert without_links_out(inside, "tutorials/own-data.md") == inside


def lost_items(page: Path) -> list[str]:
    """Lines of which Python-Markdown, unlike GitHub, makes no part of a list."""
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    lost = []
    for before, line in pairwise(text.splitlines()):
        # Text, and paragraphs and code of the item before, take it in.
        taken_in = re.match(r"\S|    ", before) and not ITEM.match(before)
        # Of an item with several paragraphs the later ones are four spaces in.
        later = not before and re.match(r" {1,3}\S", line)
        if later or (ITEM.match(line) and taken_in):
            lost.append(line)
    return lost


def test_lists_follow_an_empty_line() -> None:
    pages = (ROOT / "docs").rglob("*.md")
    assert [
        f"{page.relative_to(ROOT)}: {line}" for page in pages for line in lost_items(page)
    ] == []


def test_a_lost_item_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Text\n- a\n\n1. b\n   more\n2. c\n\n        code\n\n    d\n3. e\n\n   f\n")
    assert lost_items(page) == ["- a", "3. e", "   f"]


def test_the_page_of_commands_is_that_of_the_commands() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert page == list_commands.page(), "python -m tools.list_commands > docs/commands.md"


def test_the_figures_of_the_concepts_are_those_of_their_script() -> None:
    drawn = draw_concepts.figures()
    kept = {path.name: path.read_text(encoding="utf-8") for path in draw_concepts.FOLDER.iterdir()}
    assert kept == drawn, "python -m tools.draw_concepts"


@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed (extra docs)"
)
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    api = (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
    assert "patchline_ros.bundle.Bundle.load" in api
