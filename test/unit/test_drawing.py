"""What stands on a picture that an answer is drawn on."""

from __future__ import annotations

import numpy as np
import pytest

from patchline_ros.vision.drawing import draw_answer


@pytest.mark.parametrize("name", ["stop", "a speed limit of eighty that ends here"])
def test_the_class_of_a_small_sign_stands_below_it_and_is_whole(name: str) -> None:
    sign = np.full((48, 48, 3), 200, dtype=np.uint8)
    drawn = draw_answer(sign, 0, [name], 0.93)
    side = drawn.shape[1]
    assert side >= 240 and drawn.shape[0] > side
    assert (drawn[:side] == 200).all()  # nothing hides the sign
    columns = np.flatnonzero((drawn[side:] > 60).any(axis=(0, 2)))
    assert 0 < columns[0] < 10 and 40 < columns[-1] < side - 2


def test_a_large_picture_keeps_its_size() -> None:
    drawn = draw_answer(np.zeros((480, 640, 3), dtype=np.uint8), 0, ["stop"], 0.93)
    assert drawn.shape[1] == 640 and 480 < drawn.shape[0] < 520
