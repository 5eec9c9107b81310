"""What a stranger writes, as a terminal shows it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchline_ros.foreign_text import visible


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
