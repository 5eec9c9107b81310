"""Parses options of the command line and arguments of launch files, which are text."""

from __future__ import annotations


def comma_separated(text: str | None) -> tuple[str, ...]:
    """The words between commas, each once, without spaces around it; nothing for None or ""."""
    parts = (part.strip() for part in (text or "").split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def float_argument(name: str, text: str) -> float:
    """The text of the launch argument `name` as a number. Raises ValueError where it is none."""
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{name}:={text} is no number") from error
