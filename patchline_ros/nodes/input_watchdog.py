"""Says that nothing comes on a subscription, with all that is needed to look for the reason."""

from __future__ import annotations

import time
from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription

from patchline_ros.nodes.trouble import Trouble

SILENCE_SECONDS = 5.0
"""Seconds of silence after which it is reported."""


class InputWatchdog:
    """A watchdog of one subscription."""

    def __init__(
        self,
        node: Node,
        what: str,
        subscription: Subscription[Any],
        advice: str,
        needed: bool = True,
    ) -> None:
        """Nothing has come since now.

        Args:
            node: whose log and whose subscription it is.
            what: does not come, such as `picture`.
            subscription: on which it should.
            advice: what to do when there is nobody who publishes.
            needed: whether the node can't do its work without it.
        """
        self._node, self._what, self._subscription = node, what, subscription
        self._advice, self._needed = advice, needed
        self._last = time.monotonic()
        self._came, self._reported = False, False

    def heard(self) -> None:
        """Something has come."""
        self._last, self._came = time.monotonic(), True

    def trouble(self) -> Trouble:
        """What is wrong when nothing has come for a while; the log says it once each time."""
        silent = time.monotonic() - self._last
        if silent < SILENCE_SECONDS:
            self._reported = False
            return Trouble()
        # Of the subscription: overrides of its quality of service are in it.
        profile = self._subscription.qos_profile
        topic = self._subscription.topic_name
        publishers = self._node.count_publishers(topic)
        trouble = (
            f"no {self._what} for {silent:.0f} s on {topic} (asked for "
            f"{profile.reliability.name.lower()}, depth {profile.depth}); "
            f"{publishers} publishers there"
        )
        if not self._reported:
            self._node.get_logger().warning(f"{trouble}; {self._what_to_do(publishers, silent)}")
            self._reported = True
        return Trouble(trouble, stops=self._needed)

    def _what_to_do(self, publishers: int, silent: float) -> str:
        if self._came:
            # So the names and the qualities of service fit.
            return f"the last came {silent:.0f} s ago: check that whoever sends them goes on"
        if publishers == 0:
            return self._advice
        return "check that it runs and that its reliability is no less than this one"
