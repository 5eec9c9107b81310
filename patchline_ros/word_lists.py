"""Options of the command line, and arguments of launch files, that hold more than a word."""

from __future__ import annotations


def listed(text: str | None) -> tuple[str, ...]:
    """What commas separate, each once, without the spaces around it; nothing for None or ""."""
    parts = (part.strip() for part in (text or "").split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def number(name: str, text: str) -> float:
    """The number that the argument `name` holds. Raises ValueError where it is none."""
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{name}:={text} is no number") from error
