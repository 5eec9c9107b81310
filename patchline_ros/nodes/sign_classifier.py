"""The node that says which traffic sign a picture shows."""

from __future__ import annotations

from typing import NoReturn, cast

from std_msgs.msg import Header
from vision_msgs.msg import Classification

from patchline_ros.nodes.conversions import classification_to_msg
from patchline_ros.nodes.perception import PerceptionNode
from patchline_ros.nodes.run import run
from patchline_ros.perceiver import Perception
from patchline_ros.tasks import Task


class SignClassifier(PerceptionNode):
    """Pictures of signs to vision_msgs/Classification on `~/classification`."""

    def __init__(self) -> None:
        super().__init__(Task.SIGNS, Classification, "~/classification")

    def message(self, perception: Perception, header: Header) -> Classification:
        """The most probable class and its probability."""
        return classification_to_msg(
            cast(int, perception.prediction), perception.confidence, header
        )


def main() -> NoReturn:
    """Runs the node in this process until it is told to end."""
    run(SignClassifier)


if __name__ == "__main__":
    main()
