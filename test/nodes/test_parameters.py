"""Parameters are declared once and checked."""

import re
from ast import literal_eval
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.parameter import Parameter

from patchline_ros.adaptation.frame_choice import LEAST_FRAMES
from patchline_ros.config_files import read_mapping
from patchline_ros.graph.description import GraphSettings, describe
from patchline_ros.nodes import parameters
from patchline_ros.nodes.adapter import AdapterNode
from patchline_ros.nodes.declared_parameters import read
from patchline_ros.nodes.ground_projector import GroundProjector
from patchline_ros.nodes.labeller import LabellerNode
from patchline_ros.nodes.lane_segmenter import LaneSegmenter
from patchline_ros.nodes.object_detector import ObjectDetector
from patchline_ros.nodes.sign_classifier import SignClassifier
from tools import list_parameters

CAR_YAML = Path(__file__).resolve().parents[2] / "config" / "car.yaml"
PERCEPTION = {"threads", "queue_depth", "sample_every", "largest_patch_set_mib"}
"""Numbers that the file sets."""


@pytest.mark.parametrize(
    "table",
    [
        parameters.SIGN_CLASSIFIER,
        parameters.OBJECT_DETECTOR,
        parameters.ADAPTER,
        parameters.LABELLER,
        parameters.GROUND_PROJECTOR,
    ],
)
def test_every_parameter_is_described_and_its_default_is_allowed(table):
    assert len({parameter.name for parameter in table}) == len(table)
    for parameter in table:
        assert parameter.description
        if parameter.choices:
            assert parameter.default in parameter.choices
        if parameter.minimum is not None:
            assert parameter.minimum <= parameter.default <= parameter.maximum


def test_fewer_frames_than_can_be_trained_on_are_no_choice():
    (least,) = [p for p in parameters.ADAPTER if p.name == "min_frames"]
    assert least.minimum == LEAST_FRAMES


def test_the_page_lists_them():
    path = CAR_YAML.parents[1] / "docs" / "parameters.md"
    assert path.read_text(encoding="utf-8") == list_parameters.page()


@pytest.mark.parametrize(
    ("kind", "table", "set_by_file"),
    [
        (LaneSegmenter, parameters.PERCEPTION, PERCEPTION),
        (
            ObjectDetector,
            parameters.OBJECT_DETECTOR,
            PERCEPTION | {"min_score", "nms_overlap", "track_score"},
        ),
        (SignClassifier, parameters.SIGN_CLASSIFIER, PERCEPTION),
        (
            AdapterNode,
            parameters.ADAPTER,
            {"threads", "min_frames", "capacity", "capacity_mib", "epochs"},
        ),
        (
            LabellerNode,
            parameters.LABELLER,
            {"threads", "queue_depth", "min_score", "doubtful_score", "max_rate"},
        ),
        (
            GroundProjector,
            parameters.GROUND_PROJECTOR,
            {"threads", "reach", "width", "resolution"},
        ),
    ],
)
def test_the_shipped_file_reaches_the_nodes_and_holds_the_defaults(
    kind, table, set_by_file, bench, tmp_path
):
    """With each number of the file doubled, exactly these parameters are twice their default."""
    doubled = tmp_path / "doubled.yaml"
    text = CAR_YAML.read_text(encoding="utf-8")
    numbers = re.compile(r"\d[\d.]*$", re.MULTILINE)
    doubled.write_text(numbers.sub(lambda found: str(2 * literal_eval(found[0])), text))
    at = bench(params_file=str(doubled), autostart=False)
    values = read(at.start(kind), table)
    for parameter in table:
        if parameter.name in set_by_file:
            assert values[parameter.name] == 2 * parameter.default
        elif parameter.name != "autostart":
            assert values[parameter.name] == parameter.default


def test_the_cars_file_has_what_the_launch_file_has_no_argument_for():
    found = read_mapping(CAR_YAML)
    for_all = set(found["/**"]["ros__parameters"])
    tables = {
        "sign_classifier": parameters.SIGN_CLASSIFIER,
        "object_detector": parameters.OBJECT_DETECTOR,
        "lane_segmenter": parameters.PERCEPTION,
        "drift_monitor": parameters.DRIFT_MONITOR,
        "adapter": parameters.ADAPTER,
        "labeller": parameters.LABELLER,
        "ground_projector": parameters.GROUND_PROJECTOR,
        "object_locator": parameters.OBJECT_LOCATOR,
    }
    settings = GraphSettings(
        bundle="", store="", labeller_tasks="detection", ground=True, depth_topic="depth"
    )
    arguments = {node.name: set(node.parameters) for node in describe(settings)}
    for name, table in tables.items():
        own = found.get(f"/**/{name}", {"ros__parameters": {}})["ros__parameters"]
        needed = {parameter.name for parameter in table} - arguments[name]
        assert for_all | set(own) == needed, name


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


def test_a_misspelt_parameter_is_warned_of_by_the_nearest_name(bench, tmp_path):
    """In a file for all nodes, too; what is another node's is no mistake."""
    file = tmp_path / "own.yaml"
    file.write_text("/**:\n  ros__parameters:\n    epohcs: 3\n    queue_depth: 2\n")
    at = bench(params_file=str(file), autostart=False, thraeds=2, use_sim_time=False)
    at.start(AdapterNode)
    at.until(lambda: at.said("thraeds does not exist and has no effect; did you mean threads?"))
    assert at.said("epohcs does not exist and has no effect; did you mean epochs?")
    assert not at.said("queue_depth") and not at.said("use_sim_time")
