"""Answers a launch file, which has no Python packages, in the nodes' Python, before they start.

A JSON object on standard output: `teacher`, with its classes, and `topics`, which a bag is played
on. What is wrong is one sentence on standard error, and the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from patchline_ros.foreign_text import visible
from patchline_ros.word_lists import comma_separated, float_argument


def main() -> int:
    """Checks the arguments that are given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", default="", help="folder of the teacher's bundle")
    parser.add_argument("--teacher-rate", default="1.0", help="pictures a second that it looks at")
    parser.add_argument("--bundle", default="", help="folder of the car's bundle")
    parser.add_argument("--bag", default="", help="folder or file that is to be played")
    parser.add_argument("--topics", default="", help="of the bag, with commas between")
    parser.add_argument("--start", default="0.0", help="seconds of the bag to leave out")
    given = parser.parse_args()
    try:
        answer = {"teacher": _teacher(given), "topics": _topics(given)}
    except (ValueError, OSError) as error:
        # One line: what a bag or a bundle holds may be part of the sentence.
        print(visible(" ".join(str(error).split())), file=sys.stderr)
        return 1
    print(json.dumps(answer))
    return 0


def _teacher(given: argparse.Namespace) -> dict[str, Any] | None:
    if not given.teacher:
        return None
    # It loads PyTorch, which a launch without a teacher need not wait for.
    from patchline_ros.labelling.teacher import check_classes, read_teacher

    teacher = read_teacher(given.teacher, float_argument("teacher_rate", given.teacher_rate))
    if given.bundle:
        check_classes(teacher, given.bundle)
    return asdict(teacher)


def _topics(given: argparse.Namespace) -> list[str]:
    if not given.bag:
        return []
    # It loads ROS, which a launch without a bag need not wait for.
    from patchline_ros.nodes.bag_player import ReplayOptions, inputs_of, to_play

    bag = Path(given.bag).expanduser()
    topics = tuple(comma_separated(given.topics)) or inputs_of(bag)
    to_play(ReplayOptions(bag, topics, start=float_argument("start", given.start)))
    return list(topics)


if __name__ == "__main__":
    sys.exit(main())
