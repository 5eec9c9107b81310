"""The bridge to Foxglove between real topics and a real WebSocket, and the status picture."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")
pytest.importorskip("foxglove", reason="needs foxglove-sdk, the extra `watch`")

import cv2
import numpy as np
from foxglove_client import FoxgloveClient
from patchline_ros.msg import AdaptationStatus, DriftStatus, PatchStatus
from rclpy.serialization import deserialize_message, serialize_message
from ros_bench import Bench
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from typer.testing import CliRunner

from patchline_ros.cli.app import app
from patchline_ros.messages.pictures import image_to_rgb
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import ns_to_stamp, rgb_to_image
from patchline_ros.nodes.foxglove_bridge import FoxgloveBridge
from patchline_ros.nodes.status_picture import StatusPictureNode
from patchline_ros.tasks import Task
from patchline_ros.watch.page_server import Address
from patchline_ros.watch.status_picture import CarStatus, Patched, draw_status, status_lines
from patchline_ros.watch.topics import CarTopics, watched

CAMERA = "/camera/color/image_raw"
PICTURE = np.linspace(0, 255, 90 * 1280 * 3).reshape(90, 1280, 3).astype(np.uint8)


class Watching:
    """A bridge in the process of the probe, which turns it while it waits."""

    def __init__(self, probe: Bench) -> None:
        self.probe = probe
        topics = watched(CarTopics())
        self.bridge = FoxgloveBridge(topics, probe.probe, Address("127.0.0.1", 0), "car")
        self.clients: list[FoxgloveClient] = []

    def client(self) -> FoxgloveClient:
        """One more, which has heard of the channels."""
        client = FoxgloveClient(self.bridge.port)
        self.clients.append(client)
        self.until(lambda: len(client.channels) >= len(watched(CarTopics())))
        return client

    def until(self, condition) -> None:  # type: ignore[no-untyped-def]
        """Follows the clients until it holds."""

        def turn() -> bool:
            self.bridge.follow()
            return bool(condition())

        self.probe.until(turn)


@pytest.fixture
def watching(bench: type[Bench]) -> Iterator[Watching]:
    made = Watching(bench())
    yield made
    for client in made.clients:
        client.close()
    made.bridge.close()


def test_messages_arrive_as_they_were_sent_and_can_be_read_by_their_schema(
    watching: Watching,
) -> None:
    client = watching.client()
    topics = watched(CarTopics())
    previews = {topic.name + "/preview" for topic in topics if topic.preview}
    assert client.channels.keys() == {topic.name for topic in topics} | previews
    channel = client.channels["/drift_status"]
    assert (channel["encoding"], channel["schemaEncoding"]) == ("cdr", "ros2msg")

    publisher = watching.probe.probe.create_publisher(DriftStatus, "drift_status", qos.RESULTS)
    came = client.watch("/drift_status")
    watching.until(publisher.get_subscription_count)
    header = Header(stamp=ns_to_stamp(5), frame_id="camera")
    sent = DriftStatus(header=header, mmd2=0.5, threshold=0.25, drifting=True, window=16)
    publisher.publish(sent)
    watching.until(lambda: came)
    # The bytes between the fields are left as they happen to be in memory.
    assert deserialize_message(came[0], DriftStatus) == sent
    assert len(came[0]) == len(serialize_message(sent))

    types = get_typestore(Stores.EMPTY)
    types.register(get_types_from_msg(channel["schema"], channel["schemaName"]))
    read = types.deserialize_cdr(came[0], channel["schemaName"])
    assert (read.header.frame_id, read.mmd2, read.drifting) == ("camera", 0.5, True)  # type: ignore[attr-defined]


def test_a_picture_is_only_subscribed_to_while_somebody_looks(watching: Watching) -> None:
    camera = watching.probe.probe.create_publisher(Image, CAMERA, qos.images("best_effort", 5))
    first, second = watching.client(), watching.client()
    watching.probe.spin(0.3)
    assert camera.get_subscription_count() == 0
    small = first.watch(f"{CAMERA}/preview")
    whole = second.watch(CAMERA)
    watching.until(camera.get_subscription_count)
    header = Header(stamp=ns_to_stamp(7), frame_id="camera")
    sent = rgb_to_image(PICTURE, header)

    def seen() -> bool:
        # Best effort: what is sent before the bridge has found the camera is lost.
        camera.publish(sent)
        return bool(small and whole)

    watching.until(seen)
    assert image_to_rgb(deserialize_message(whole[0], Image)).tobytes() == PICTURE.tobytes()
    jpeg = deserialize_message(small[0], CompressedImage)
    assert jpeg.header == header
    shown = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (45, 640, 3)
    half = cv2.resize(PICTURE, (640, 45), interpolation=cv2.INTER_AREA)
    assert np.abs(shown[:, :, ::-1].astype(int) - half).mean() < 6

    second.look_away(CAMERA)
    watching.probe.spin(0.3)
    watching.bridge.follow()
    assert camera.get_subscription_count() == 1  # the first client still looks
    first.close()  # without a word
    watching.until(lambda: camera.get_subscription_count() == 0)


def test_who_comes_late_hears_the_last_status(watching: Watching) -> None:
    topic = "/lane_segmenter/patch_status"
    publisher = watching.probe.probe.create_publisher(PatchStatus, topic, qos.LATCHED)
    publisher.publish(PatchStatus(task="segmentation", version=3, state=PatchStatus.ACTIVE))
    for client in (watching.client(), watching.client()):
        came = client.watch(topic)
        watching.until(lambda came=came: came)
        assert deserialize_message(came[0], PatchStatus).version == 3


def test_what_is_wrong_is_shown_and_taken_back(watching: Watching) -> None:
    client = watching.client()
    watching.bridge.say({"a": "no camera", "b": "no adapter"})
    watching.until(lambda: client.statuses == {"a": "no camera", "b": "no adapter"})
    watching.bridge.say({"b": "no adapter"})
    watching.until(lambda: client.statuses == {"b": "no adapter"})


def test_an_unreadable_picture_is_logged_and_the_next_is_shown(watching: Watching) -> None:
    camera = watching.probe.probe.create_publisher(Image, CAMERA, qos.images("best_effort", 5))
    small = watching.client().watch(f"{CAMERA}/preview")
    watching.until(camera.get_subscription_count)
    camera.publish(Image(height=2, width=2, encoding="no_encoding", step=2))
    watching.until(lambda: watching.probe.said(f"picture on {CAMERA} is not shown"))
    watching.probe.spin(0.2)
    camera.publish(rgb_to_image(PICTURE, Header()))
    watching.until(lambda: small)


def test_the_status_picture_is_drawn_for_who_looks(bench: type[Bench]) -> None:
    at = bench()
    node = StatusPictureNode()
    at.executor.add_node(node)
    drift = at.publisher(DriftStatus, "drift_status", qos.RESULTS)
    adaptation = at.publisher(AdaptationStatus, "adaptation_status", qos.LATCHED)
    patches = at.publisher(PatchStatus, "sign_classifier/patch_status", qos.LATCHED)
    drift.publish(DriftStatus(mmd2=0.5, threshold=0.25, drifting=True))
    adaptation.publish(
        AdaptationStatus(state=AdaptationStatus.TRAINING, task="classification", progress=0.5)
    )
    patches.publish(PatchStatus(task="classification", version=2, state=PatchStatus.REFUSED))
    pictures = at.collect(Image, "status/image")
    models = {Task.CLASSIFICATION: Patched(2, refused=True)}
    expected = draw_status(
        status_lines(CarStatus(0.5, 0.25, True, "training signs", 0.5, models))
    ).tobytes()
    at.until(lambda: bool(pictures) and image_to_rgb(pictures[-1]).tobytes() == expected)
    assert node.failure is None
    at.executor.remove_node(node)
    node.destroy_node()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "99999"], "less than or equal to 65535"),
        (["--port", "page"], "as an integer"),
        (["--namespace", "my car"], "--namespace 'my car' is no name in ROS"),
    ],
)
def test_mistakes_get_a_sentence(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["watch", *arguments])
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "foxglove", None)
    result = CliRunner().invoke(app, ["watch"])
    assert result.exit_code == 2
    assert "pip install 'foxglove-sdk" in result.output
