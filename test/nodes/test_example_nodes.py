"""The examples that are nodes, over real topics."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from lanes import RELIABLE, patch_set_msg, picture_msg
from patchline_ros.msg import LabelledFrame, PatchSet
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tiny_bundle import make_patch_set

from patchline_ros.messages.pictures import image_to_classmap, image_to_rgb
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import msg_to_labelled_frame, ns_to_stamp, rgb_to_image
from patchline_ros.runtime.model_runner import ModelRunner
from patchline_ros.sim import LANE_CLASSES, RoadSimulator
from patchline_ros.tasks import Task

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    """A script of the examples as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_an_own_node_takes_patch_sets_and_refuses_those_that_do_not_fit(bench, bundle):
    bench = bench()
    node = example("own_perception_node").OwnPerception(bundle.path)
    bench.executor.add_node(node)
    masks = bench.collect(Image, "own/mask")
    camera = bench.publisher(Image, "image_raw", RELIABLE)
    adapter = bench.publisher(PatchSet, "patch_sets/lanes", qos.LATCHED)

    def mask() -> bytes:
        before = len(masks)
        camera.publish(picture_msg(1))
        bench.until(lambda: len(masks) > before)
        return image_to_classmap(masks[-1]).tobytes()

    def answer(data: bytes | None) -> bytes:
        runner = ModelRunner(bundle, Task.SEGMENTATION)
        if data is not None:
            message = patch_set_msg(data)
            runner.activate(runner.build(bytes(message.data), message.sha256))
        return runner.infer(image_to_rgb(picture_msg(1))).prediction.tobytes()

    patch_set = make_patch_set(bundle, Task.SEGMENTATION, 1)
    assert answer(patch_set) != answer(None), "or nothing is tested"
    assert mask() == answer(None)
    adapter.publish(patch_set_msg(patch_set))
    bench.until(lambda: bench.said("patch set 1 runs"))
    assert mask() == answer(patch_set)
    adapter.publish(patch_set_msg(patch_set[:-1], version=2))
    bench.until(lambda: bench.said("patch set 2 refused: "))
    assert mask() == answer(patch_set)
    adapter.publish(PatchSet(task="segmentation", version=3))
    bench.until(lambda: bench.said("the source model runs"))
    assert mask() == answer(None)
    bench.executor.remove_node(node)
    node.destroy_node()


def test_an_own_labeller_labels_a_picture_a_second(bench):
    bench = bench()
    node = example("own_labeller").OwnLabeller()
    bench.executor.add_node(node)
    labelled = bench.collect(LabelledFrame, "labelled_frames", qos.LABELLED_FRAMES)
    camera = bench.publisher(Image, "image_raw", RELIABLE)
    road = RoadSimulator(3)
    for number, milliseconds in enumerate((5_000, 5_400, 6_000)):
        header = Header(stamp=ns_to_stamp(milliseconds * 1_000_000))
        camera.publish(rgb_to_image(road.frame(number).image, header))
        bench.spin(0.3)
    bench.until(lambda: len(labelled) == 2)
    names, tasks, stamps, samples = zip(*map(msg_to_labelled_frame, labelled), strict=True)
    assert names == ("own-5000000000", "own-6000000000")
    assert set(tasks) == {Task.SEGMENTATION} and stamps[0] == 5_000_000_000
    truth = road.frame(0).samples[Task.SEGMENTATION].label
    for word in ("sky", "road"):
        said = samples[0].label == LANE_CLASSES.index(word)
        assert np.mean(truth[said] == LANE_CLASSES.index(word)) > 0.8
    bench.executor.remove_node(node)
    node.destroy_node()
