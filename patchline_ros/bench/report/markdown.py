"""Figures and tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from patchline_ros.bench.report.statistics import Difference, Summary

NONE = "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; all columns but the first are flushed right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(value: Summary) -> str:
    """Mean and deviation of a share, in percent."""
    spread = "" if value.deviation is None else f" ± {100 * value.deviation:.1f}"
    return f"{100 * value.mean:.1f}{spread}"


def interval(bounds: tuple[float, float] | None) -> str:
    """An interval of a difference of shares, in points."""
    return NONE if bounds is None else f"{100 * bounds[0]:+.1f} to {100 * bounds[1]:+.1f}"


def points(found: Difference | None) -> str:
    """A difference of shares in points, with its interval."""
    if found is None:
        return NONE
    behind = "" if found.interval is None else f" ({interval(found.interval)})"
    return f"{100 * found.mean:+.1f}{behind}"


def number(value: float) -> str:
    """Three digits that count, and no more than are there."""
    if value == 0:
        return "0"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def share(value: float, base: float) -> str:
    """What part of `base` a value is, in percent; less than ten with one digit more."""
    if not base:
        return NONE
    part = 100 * value / base
    return f"{part:.0f}%" if part < 0.05 or part >= 9.95 else f"{part:.1f}%"


def listed(parts: Sequence[str]) -> str:
    """Parts of a sentence: one, one and another, one, another and a third."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1] if parts else ""]))
