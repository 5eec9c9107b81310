"""Labels as they come in messages."""

from __future__ import annotations

import pytest

from patchline_ros.messages.labels import ConversionError, check_inside
from patchline_ros.tasks import Boxes


def test_a_box_may_be_as_wide_and_high_as_its_picture_and_a_pixel_more() -> None:
    check_inside(Boxes.truth([[-1, -1, 41, 21]], [0]), width=40, height=20)
    for box in ([0, 0, 42, 20], [0, 0, 40, 22]):
        with pytest.raises(ConversionError, match=r"box 0 .* leaves its picture of 40 x 20 pixels"):
            check_inside(Boxes.truth([box], [0]), width=40, height=20)
