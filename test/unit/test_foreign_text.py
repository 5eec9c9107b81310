"""What a stranger writes, as a terminal shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

import patchline_ros
from patchline_ros.foreign_text import visible
from patchline_ros.terminal import say, terminal

FOREIGN = ("[red]x[/red]", "[link=https://evil.example]x[/link]", "[/no", ":bomb:", "\x1b[2Jx")


@pytest.mark.parametrize(
    "text, shown",
    [
        ("a plain sentence.", "a plain sentence."),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("Straße 道路 🚗", "Straße 道路 🚗"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("over\rwritten\x08", "over\\rwritten\\x08"),
        ("safe\u202egnp.exe", "safe\\u202egnp.exe"),
        ("half a letter \ud800", "half a letter \\ud800"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_what_a_terminal_obeys_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert all(
        character.isprintable() or character in "\n\t" or character.isspace()
        for character in shown
        if character.isascii()
    )


@pytest.mark.parametrize("text", FOREIGN)
def test_no_name_is_markup_on_a_console(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("a column", text, title=text)
    table.add_row("a cell", text)
    console = terminal(width=200)
    console.print(text)
    console.print(f"bundle {text} is whole", soft_wrap=True)
    console.print(table)
    with console.status(text):
        pass
    say(text)
    printed = capsys.readouterr().out
    assert printed.count(visible(text)) >= 6
    assert "\x1b" not in printed


def test_consoles_are_made_in_one_place() -> None:
    root = Path(patchline_ros.__file__).parent
    made = [path.name for path in root.rglob("*.py") if "= Console(" in path.read_text("utf-8")]
    passed = [path.name for path in root.rglob("*.py") if ", Console(" in path.read_text("utf-8")]
    assert made == passed == []
