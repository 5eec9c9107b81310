"""The log of a node, in which nothing that came from outside moves a terminal's cursor."""

from __future__ import annotations

import os.path
from typing import Any

from rclpy.impl import rcutils_logger
from rclpy.impl.rcutils_logger import RcutilsLogger

from patchline_ros.foreign_text import visible
from patchline_ros.nodes.refusal_burst import RefusalBurst

# rclpy finds the line that logs, by which it throttles, behind the frames of these files. It asks
# for their real paths: an installed file may be a link.
rcutils_logger._internal_callers.append(os.path.realpath(__file__))


class VisibleLogger(RcutilsLogger):
    """rclpy's logger, with the text made visible; all of a node's sentences pass here."""

    def __init__(self, name: str) -> None:
        """`name` stands before each sentence."""
        super().__init__(name)
        self._refusals = RefusalBurst()

    def refusal(self, sentence: str) -> None:
        """Says that a message was refused (an error); of a flood each kind, and counts the rest."""
        for said in self._refusals.say(sentence):
            self.error(said)

    def sum_up(self) -> None:
        """Says how many refusals of a past flood were not said; to be called now and then."""
        if summary := self._refusals.ended():
            self.error(summary)

    def log(self, message: Any, *arguments: Any, **options: Any) -> Any:
        """As rclpy's."""
        return super().log(visible(str(message)), *arguments, **options)
