"""Labels as they come in messages."""

from __future__ import annotations

import pytest

from patchline_ros.messages.labels import ConversionError, check_inside, class_id_of
from patchline_ros.tasks import Boxes


def test_a_box_may_be_as_wide_and_high_as_its_picture_and_a_pixel_more() -> None:
    check_inside(Boxes.truth([[-1, -1, 41, 21]], [0]), width=40, height=20)
    for box in ([0, 0, 42, 20], [0, 0, 40, 22]):
        with pytest.raises(ConversionError, match=r"box 0 .* leaves its picture of 40 x 20 pixels"):
            check_inside(Boxes.truth([box], [0]), width=40, height=20)


def test_a_class_is_a_number_or_a_name_that_is_known() -> None:
    assert class_id_of("1", ("car", "1")) == 1
    assert class_id_of("person", ("car", "person")) == 1
    with pytest.raises(
        ConversionError, match=r"'dog'; it must be one of the model's \(car, person\)"
    ):
        class_id_of("dog", ("car", "person"))
    with pytest.raises(ConversionError, match="'car'; it must be the number of a class"):
        class_id_of("car")


def test_a_class_id_of_thirty_digits_is_refused_before_it_is_too_much_for_an_array() -> None:
    with pytest.raises(ConversionError, match="too large a number"):
        class_id_of("9" * 30)
