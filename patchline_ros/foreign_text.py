"""Text from outside on its way to a terminal or a log.

Names in messages and files may hold what a terminal obeys: escape sequences that colour, move or
hide text, and marks that turn its direction. One function makes them visible instead.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_OBEYED: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Unicode's categories of characters that are no picture of a letter."""
_KEPT: Final = "\n\t"


def visible(text: str) -> str:
    """The text with everything that a terminal obeys written as \\x1b or \\u202e; lines stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in _KEPT or unicodedata.category(character) not in _OBEYED
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )
