"""Where the adaptation says in sentences what it does."""

from __future__ import annotations

from typing import Protocol


class Log(Protocol):
    """A logger of rclpy, or whatever else takes sentences."""

    def info(self, message: str) -> object:
        """Something happened as it should."""

    def warning(self, message: str) -> object:
        """Something is not as it should be, and it goes on."""

    def error(self, message: str, *, throttle_duration_sec: float = ...) -> object:
        """Something failed; said again from the same place only after so many seconds."""

    def refusal(self, message: str) -> object:
        """A message was refused, which whoever can send can bring about as often as they like."""


LOG_AGAIN_SECONDS = 5.0
"""Between two sentences about a failure that lasts."""
