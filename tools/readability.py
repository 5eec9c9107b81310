"""Measures how long the sentences of Markdown pages are.

    python -m tools.readability README.md docs/concepts/*.md

Code, tables, headings and comments are no sentences. An item of a list ends a sentence, as a full
stop does.
"""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

LONG = 25
"""A sentence of more words is long."""
MEAN_WORDS = 15.5
LONG_SHARE = 0.06
"""What the project's pages keep below."""


@dataclass(frozen=True)
class Readability:
    """What was counted on a page.

    Attributes:
        sentences: on it.
        words: of all sentences.
        long: the sentences of more than `LONG` words.
    """

    sentences: int
    words: int
    long: list[str]

    @property
    def mean_words(self) -> float:
        """Words a sentence; 0 on a page without any."""
        return self.words / max(self.sentences, 1)

    @property
    def long_share(self) -> float:
        """Share of the sentences that are long, 0..1."""
        return len(self.long) / max(self.sentences, 1)

    @property
    def easy(self) -> bool:
        """Whether the page keeps below both limits."""
        return self.mean_words < MEAN_WORDS and self.long_share < LONG_SHARE


def sentences(text: str) -> list[str]:
    """The sentences of a page in Markdown, without its marks."""
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.M | re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"^(#|\||:::|    |!\[|---).*$", "", text, flags=re.M)
    # An item of a list, and what stands before a list, are paragraphs of their own.
    text = re.sub(r"^\s*([-*]|\d+\.) ", "\n\n", text, flags=re.M)
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
        # Code stands for a name, whatever it holds.
        plain = re.sub(r"`[^`]*`", "code", plain).replace("*", "").replace("_", " ")
        found += [s for s in re.split(r"(?<=[.!?])\)? +(?=[\"(A-Z0-9]|code)", plain) if s.strip()]
    return found


def measured(text: str) -> Readability:
    """The counts of a page in Markdown."""
    found = sentences(text)
    counts = [len(sentence.split()) for sentence in found]
    long = [s for s, count in zip(found, counts, strict=True) if count > LONG]
    return Readability(len(found), sum(counts), long)


def main() -> None:
    """Prints a line for each page, and with --long its long sentences."""
    parser = argparse.ArgumentParser(description="How long the sentences of Markdown pages are.")
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--long", action="store_true", help="print the long sentences, too")
    options = parser.parse_args()
    print(f"{'words a sentence':>16} {'over ' + str(LONG):>8}  page")
    for path in options.pages:
        page = measured(path.read_text(encoding="utf-8"))
        print(f"{page.mean_words:16.1f} {page.long_share:8.0%}  {path}")
        if options.long:
            print(*(f"    {sentence}" for sentence in page.long), sep="\n")


if __name__ == "__main__":
    main()
