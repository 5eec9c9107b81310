"""The messages: vision_msgs is the one that the rest of the world has, ours say what is meant."""

import json
import re
from enum import IntEnum
from pathlib import Path

import pytest

from patchline_ros.messages.loop_state import LoopState
from patchline_ros.runtime.patch_intake import ModelState

TYPE_HASHES = {
    # Of vision_msgs 4.1.1, built from its sources.
    "BoundingBox2D": "008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "BoundingBox3D": "bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
    "Classification": "f74db28d0eaef3afb78f48bf2161cd709a1383a0309d3454383b25be11345143",
    "Detection2D": "0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "Detection2DArray": "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "Detection3D": "ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "Detection3DArray": "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "ObjectHypothesis": "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "ObjectHypothesisWithPose": "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "Point2D": "eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247",
    "Pose2D": "b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648",
    "VisionClass": "1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
    # Of tf2_msgs, from Kilted.
    "TFMessage": "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
}


@pytest.mark.parametrize("name", TYPE_HASHES)
def test_type_hash(name: str) -> None:
    packages = pytest.importorskip("ament_index_python.packages")
    package = "tf2_msgs" if name == "TFMessage" else "vision_msgs"
    share = Path(packages.get_package_share_directory(package))
    description = share / "msg" / f"{name}.json"
    if not description.exists():
        pytest.skip("this ROS 2 is older than type hashes")
    hashes = {
        entry["type_name"]: entry["hash_string"]
        for entry in json.loads(description.read_text())["type_hashes"]
    }
    assert hashes[f"{package}/msg/{name}"] == "RIHS01_" + TYPE_HASHES[name]


@pytest.mark.parametrize(
    ("message", "states"), [("AdaptationStatus", LoopState), ("PatchStatus", ModelState)]
)
def test_states_have_the_numbers_of_the_messages(message: str, states: type[IntEnum]) -> None:
    text = (Path(__file__).parents[2] / "msg" / f"{message}.msg").read_text(encoding="utf-8")
    constants = re.findall(r"^uint8 (\w+)=(\d+)$", text, flags=re.M)
    assert {name: int(number) for name, number in constants} == {s.name: s.value for s in states}
