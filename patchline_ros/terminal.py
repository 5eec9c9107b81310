"""What commands print: text is shown as it is, whoever wrote it.

A name in a bundle, a bag or a message may look like markup of rich (`[red]`, `[link=...]`), or hold
what a terminal obeys. Consoles are made here alone, and these interpret none of it. Whoever wants
colour gives rich a `Text` with a style, of `visible` text.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from patchline_ros.foreign_text import visible


class _PlainConsole(Console):
    """Shows what a terminal would obey in the strings that come to be rendered."""

    def render_str(self, text: str, **keywords: Any) -> Text:
        return super().render_str(visible(text), **keywords)


def terminal(*, width: int | None = None, quiet: bool = False, soft_wrap: bool = False) -> Console:
    """A console on standard output.

    Args:
        width: in characters; None: that of the terminal.
        quiet: prints nothing.
        soft_wrap: leaves the wrapping of long lines to the terminal.
    """
    return _PlainConsole(
        highlight=False, markup=False, emoji=False, width=width, quiet=quiet, soft_wrap=soft_wrap
    )


def say(text: str) -> None:
    """Prints a line on standard output, as it is."""
    print(visible(text))
