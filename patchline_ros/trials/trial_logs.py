"""The logs of a trial's processes: what nodes said, and signs of a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_CRASHES: Final = ("Traceback (most recent call last)", "terminate called", "Fatal Python error")
"""What no log may hold."""


def crashed(text: str) -> bool:
    """Whether a log holds the sign of a crash."""
    return any(sign in text for sign in _CRASHES)


class TrialLogs:
    """The logs in one folder, read from where they ended when the case began."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[Path, int] = {}

    def begin(self) -> None:
        """A new case begins, which what was written before is no part of."""
        self._read = {path: path.stat().st_size for path in self.folder.glob("*.log")}

    def said(self, name: str, text: str) -> bool:
        """Whether a node's log has this text since the case began."""
        return text in self._new_text(self.folder / f"{name}.log")

    def crashes(self) -> list[str]:
        """A sentence for each sign of a crash in each log since the case began."""
        found = []
        for log in sorted(self.folder.glob("*.log")):
            text = self._new_text(log)
            for sign in _CRASHES:
                if sign in text:
                    lines = [line for line in text[text.index(sign) :].splitlines() if line]
                    last = next((line for line in lines[1:] if not line.startswith(" ")), sign)
                    found.append(f"{log.stem}: {sign.split('(')[0].strip()}: {last[:200]}")
        return found

    def _new_text(self, log: Path) -> str:
        if not log.is_file():
            return ""
        with log.open("rb") as file:
            file.seek(self._read.get(log, 0))
            return file.read().decode(errors="replace")
