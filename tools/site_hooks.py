"""What the site does with links that leave `docs`: files that GitHub shows, and the site has not.

Named in mkdocs.yml; mkdocs calls `on_page_markdown` for each page.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

_LINK = re.compile(r"\[([^]]*)\]\(([^)#\s]+)[^)]*\)")


def without_links_out(text: str, page: str) -> str:
    """The Markdown of a page with the words alone where a link leads out of the folder.

    Args:
        text: of the page.
        page: its path below the folder, such as `tutorials/own-data.md`.
    """

    def words(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link[2]))
        return link[1] if target.startswith("..") else link[0]

    return _LINK.sub(words, text)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Called by mkdocs before it reads a page's Markdown."""
    return without_links_out(markdown, page.file.src_uri)
