"""Parameters are declared once and checked."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.parameter import Parameter

from patchline_ros.nodes import parameters
from patchline_ros.nodes.lane_segmenter import LaneSegmenter


@pytest.mark.parametrize("table", [parameters.PERCEPTION, parameters.ADAPTER])
def test_every_parameter_is_described_and_its_default_is_allowed(table):
    assert len({parameter.name for parameter in table}) == len(table)
    for parameter in table:
        assert parameter.description
        if parameter.choices:
            assert parameter.default in parameter.choices
        if parameter.minimum is not None:
            assert parameter.minimum <= parameter.default <= parameter.maximum


def test_a_value_outside_its_range_is_refused_at_start(bench):
    at = bench(queue_depth=51)
    with pytest.raises(InvalidParameterValueException):
        at.start(LaneSegmenter)


def test_a_value_of_another_type_is_refused_at_start(bench):
    at = bench(queue_depth="deep")
    with pytest.raises(InvalidParameterTypeException):
        at.start(LaneSegmenter)


def test_a_choice_that_is_none_is_named_at_configure(bench, bundle):
    at = bench(bundle=str(bundle.path), image_reliability="sometimes")
    assert not at.start(LaneSegmenter).started
    at.until(lambda: at.said("image_reliability is 'sometimes'; use one of best_effort, reliable"))


def test_only_what_is_read_again_can_be_changed_at_run_time(bench, bundle):
    at = bench(bundle=str(bundle.path))
    node = at.start(LaneSegmenter)
    changed, fixed = node.set_parameters(
        [Parameter("sample_every", value=2), Parameter("queue_depth", value=2)]
    )
    assert changed.successful and not fixed.successful
