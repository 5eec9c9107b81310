"""Several values in one option of the command line."""

from __future__ import annotations


def listed(text: str | None) -> tuple[str, ...]:
    """What commas separate, each once, without the spaces around it; nothing for None or ""."""
    parts = (part.strip() for part in (text or "").split(","))
    return tuple(dict.fromkeys(part for part in parts if part))
