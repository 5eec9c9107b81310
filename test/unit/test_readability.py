"""Pages that people write for people are easy to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.readability import measured, sentences

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WRITTEN_BY_PROGRAMS = {DOCS / f"{name}.md" for name in ("commands", "licences", "results")}
PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *DOCS.glob("*.md"),
        *(DOCS / "tutorials").glob("*.md"),
        *(ROOT / "examples").glob("*.md"),
    }
    - WRITTEN_BY_PROGRAMS
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_short_sentences(page: Path) -> None:
    found = measured(page.read_text(encoding="utf-8"))
    assert found.sentences
    assert found.easy, f"{found.mean_words:.1f} words a sentence; long ones: {found.long}"


def test_what_counts_as_a_sentence() -> None:
    text = """\
# A heading is none

One idea (in [two words](docs/x.md)). The `code of many words` is
one word! And then?

- an item
- another item with `code`. And more

| a | table |
|---|---|

    ./patchline demo

```python
x = 1
```
"""
    assert sentences(text) == [
        "One idea (in two words).",
        "The code is one word!",
        "And then?",
        "an item",
        "another item with code.",
        "And more",
    ]


def test_long_sentences_are_found() -> None:
    found = measured("Short. " + "Word " * 26 + ".")
    assert (found.sentences, len(found.long), found.easy) == (2, 1, False)
    assert found.mean_words == pytest.approx(14.0)
