"""What there is to see of a car: names, the page, the layouts, the status in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import numpy as np
import pytest

from patchline_ros.config_files import read_mapping
from patchline_ros.tasks import Task
from patchline_ros.watch.page import only_page, watch_page
from patchline_ros.watch.page_server import Address, PageServer
from patchline_ros.watch.status_picture import CarStatus, Patched, Tone, draw_status, status_lines
from patchline_ros.watch.topics import CarTopics, troubles, watched

ROOT = Path(__file__).parents[2]


RVIZ_DISPLAYS = {
    "OccupancyGrid": "Map",
    "MarkerArray": "MarkerArray",
    "PointCloud2": "PointCloud2",
}
"""Display of RViz's own plugins by type of message; it has none for Detection3DArray."""


def names(car: CarTopics) -> dict[str, str]:
    return {topic.name: topic.type for topic in watched(car)}


def test_topics_follow_the_arguments_of_the_launch_file() -> None:
    car = CarTopics("car1/", "image_raw", "/signs/image_raw", "compressed")
    found = names(car)
    assert found["/car1/image_raw/compressed"] == "sensor_msgs/msg/CompressedImage"
    assert "/signs/image_raw/compressed" in found
    assert found["/car1/lane_segmenter/patch_status"] == "patchline_ros/msg/PatchStatus"
    assert "/diagnostics" in found
    assert [name for name in names(CarTopics()) if "camera" in name] == ["/camera/color/image_raw"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"namespace": "my car"}, "--namespace 'my car' is no name in ROS"),
        ({"image_topic": ""}, "--image-topic '' is no name in ROS"),
        ({"sign_image_topic": "/a//b"}, "--sign-image-topic '/a//b' is no name in ROS"),
        ({"image_transport": "h264"}, "--image-transport 'h264' is not known; it is raw or comp"),
    ],
)
def test_what_is_no_name_is_refused(arguments: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        CarTopics(**arguments)


def test_what_nobody_publishes_is_said_once_and_with_advice() -> None:
    car = CarTopics("/car9")
    (nothing, camera) = troubles(car, set(), {"/car1"}, 7).values()
    assert nothing == (
        "nothing of the graph is published at /car9 in ROS domain 7; there are cars at /car1: "
        "check --namespace and ROS_DOMAIN_ID, and that the graph runs"
    )
    assert camera.startswith("no camera: nobody publishes /car9/camera/color/image_raw;")
    all_but_one = {*names(car)} - {"/car9/adaptation_status"}
    assert [*troubles(car, all_but_one, {"/car9"}, 7).values()] == [
        "adapter does not run: nobody publishes /car9/adaptation_status"
    ]


@pytest.fixture
def server() -> Iterator[PageServer]:
    made = PageServer(
        Address("127.0.0.1", 0), only_page(watch_page(CarTopics("/car1"), 4321), "127.0.0.1")
    )
    yield made
    made.close()


def test_the_page_brings_all_it_needs(server: PageServer) -> None:
    with urlopen(f"http://127.0.0.1:{server.port}/") as answer:
        text = answer.read().decode()
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    found = re.search(r'<script type="application/json" id="settings">(.*?)</script>', text)
    assert found is not None
    settings = json.loads(found[1])
    assert settings["websocket_port"] == 4321 and settings["namespace"] == "/car1"
    shown = [task["overlay"] for task in settings["tasks"].values()]
    shown += [camera["shown"] for camera in settings["cameras"].values()]
    previews = {t.name + "/preview" for t in watched(CarTopics("/car1")) if t.preview}
    assert set(shown) == previews
    assert not re.search(r"https?://|<link(?! rel=\"icon\" href=\"data:)|src=\"", text)
    with pytest.raises(HTTPError, match="404"):
        urlopen(f"http://127.0.0.1:{server.port}/settings.json")


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Host": "evil.example:80"}],
)
def test_a_page_of_somebody_else_gets_nothing(server: PageServer, headers: dict[str, str]) -> None:
    with pytest.raises(HTTPError, match="403"):
        urlopen(HttpRequest(f"http://127.0.0.1:{server.port}/", headers=headers))


def test_a_port_in_use_is_named_with_its_option(server: PageServer) -> None:
    with pytest.raises(ValueError, match=rf"port {server.port} on 127.0.0.1 is in use; .*--port"):
        PageServer(Address("127.0.0.1", server.port), only_page(b"", "127.0.0.1"))


def strings(value: Any) -> Iterator[str]:
    """Every text in a tree."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def test_the_foxglove_layout_names_what_the_graph_has() -> None:
    layout = json.loads((ROOT / "config" / "foxglove_layout.json").read_text(encoding="utf-8"))
    graph = names(CarTopics())
    paths = [text for text in strings(layout["configById"]) if text.startswith("/")]
    for path in paths:
        topic, _, field = path.partition(".")
        assert topic in graph, path
        if field:
            package, _, message = graph[topic].split("/")
            assert package == "patchline_ros"
            fields = (ROOT / "msg" / f"{message}.msg").read_text(encoding="utf-8")
            assert re.search(rf"^\w+ {field}$", fields, re.MULTILINE), path
    shown = {path.partition(".")[0] for path in paths}
    assert graph.keys() - shown == {"/lane_segmenter/mask"}  # the overlay shows it
    panels = layout["configById"]
    placed = set(strings([panels[name] for name in panels if name.startswith("Tab!")]))
    assert set(panels) <= placed | set(strings(layout["layout"]))


def test_the_rviz_file_names_what_the_graph_has() -> None:
    settings = read_mapping(ROOT / "config" / "patchline.rviz")
    topics = {
        (d["Topic"]["Value"], d["Class"].removeprefix("rviz_default_plugins/"))
        for d in settings["Visualization Manager"]["Displays"]
    }
    car = CarTopics(image_topic="image_raw", sign_image_topic="sign/image_raw")
    pictures = {(topic.name.removeprefix("/"), "Image") for topic in watched(car) if topic.picture}
    in_space = {
        (f"{node}/{topic}", RVIZ_DISPLAYS[message])
        for node in ("ground_projector", "object_locator")
        for message, topic in published(node)
        if message in RVIZ_DISPLAYS
    }
    assert topics == pictures | {("status/image", "Image")} | in_space


def published(node: str) -> list[tuple[str, str]]:
    """Type and name of each topic below a node, as its module has them."""
    text = (ROOT / "patchline_ros" / "nodes" / f"{node}.py").read_text(encoding="utf-8")
    return re.findall(r'self\.advertise\((\w+), "~/(\w+)"', text)


def test_the_status_in_words() -> None:
    assert {tone for _, tone in status_lines(CarStatus())} == {Tone.BAD}
    models = {Task.CLASSIFICATION: Patched(3), Task.SEGMENTATION: Patched(0, refused=True)}
    status = CarStatus(0.5, 0.02, True, "training signs", 0.43, models)
    lines = status_lines(status)
    assert lines == [
        ("DRIFT: MMD^2 0.5000, threshold 0.0200", Tone.DRIFT),
        ("adapter: training signs, 43%", Tone.PLAIN),
        ("signs: patch set 3", Tone.ADAPTED),
        ("objects: node silent", Tone.BAD),
        ("lanes: source model, a patch set was refused", Tone.BAD),
    ]
    picture = draw_status(lines)
    assert picture.shape == (168, 640, 3)
    # Every line is there: its colour is somewhere in its rows.
    for tone in {tone for _, tone in lines}:
        assert (np.abs(picture.astype(int) - tone.value).sum(axis=2) < 30).any()
