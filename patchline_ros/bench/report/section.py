"""A question that the page of results answers, with one figure and one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from patchline_ros.bench.report.entries import Entry
from patchline_ros.bench.report.markdown import listed

FIGURES = "figures"
"""Folder of the page's figures, beside the experiments."""


@dataclass(frozen=True)
class Section:
    """A question and its answer.

    Attributes:
        question: the heading.
        file: name of the figure's file, without suffix.
        reads: what the figure shows, and how to read figure and table.
        answer: a sentence with the figures that answer the question; empty where nothing does.
        more: what else must be known, such as where the method loses.
        figure: the drawing.
        table: in Markdown.
        entries: the rows that are shown, whose methods the page must explain.
    """

    question: str
    file: str
    reads: str
    answer: str
    more: str
    figure: Figure
    table: str
    entries: Sequence[Entry]

    @property
    def alternative(self) -> str:
        """What the figure shows, in a sentence, for who can't see it."""
        return f"{self.reads.partition('. ')[0].rstrip('.')}."

    def text(self, folder: str) -> str:
        """As Markdown; `folder`: of the results, as seen from the page."""
        names = dict.fromkeys(entry.results.experiment.name for entry in self.entries)
        links = listed([f"[{name}]({folder}/{name}/README.md)" for name in names])
        parts = [
            f"## {self.question}",
            f"**{self.answer}**" if self.answer else "",
            self.more,
            f"![{self.alternative}]({folder}/{FIGURES}/{self.file}.png)",
            f"*The figure:* {self.reads} From {links}.",
            self.table,
        ]
        return "\n\n".join(part for part in parts if part)
