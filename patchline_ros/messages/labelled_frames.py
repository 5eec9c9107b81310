"""Labelled frames as samples, whoever made the message: ROS, or a reader of bags."""

from __future__ import annotations

from typing import Any

from patchline_ros.messages.labels import ConversionError, check_inside, msg_to_boxes, msg_to_class
from patchline_ros.messages.pictures import image_to_classmap, image_to_rgb
from patchline_ros.tasks import Label, Sample, Task


def frame_key(msg: Any) -> tuple[Task, str]:
    """Task and id of a patchline_ros/LabelledFrame.

    Raises ConversionError for an empty id or an unknown task.
    """
    if not msg.id:
        raise ConversionError("the labelled frame has no id")
    try:
        return Task(msg.task), msg.id
    except ValueError:
        names = ", ".join(map(str, Task))
        raise ConversionError(f"the task is {msg.task!r}; use one of {names}") from None


def labelled_sample(msg: Any, task: Task) -> Sample:
    """The picture of a patchline_ros/LabelledFrame and its label for the task.

    Raises ConversionError for a picture or label that cannot be read, and a class map or box that
    does not fit the picture.
    """
    picture = image_to_rgb(msg.image)
    height, width = picture.shape[:2]
    label: Label
    if task is Task.CLASSIFICATION:
        label = msg_to_class(msg.sign)
    elif task is Task.DETECTION:
        label = msg_to_boxes(msg.objects)
        check_inside(label, width, height)
    else:
        label = image_to_classmap(msg.lanes)
        if label.shape != (height, width):
            raise ConversionError(
                f"the class map is {label.shape[1]} x {label.shape[0]} pixels, its picture is "
                f"{width} x {height}"
            )
    return Sample(picture, label)
