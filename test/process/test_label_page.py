"""`patchline watch --label`: a person's clicks become labelled frames, and nobody else's do."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")
pytest.importorskip("foxglove", reason="needs foxglove-sdk, the extra `watch`")

import numpy as np
from patchline_ros.msg import DriftStatus, FrameFeatures, LabelledFrame
from ros_fixtures import Car
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tiny_bundle import CLASSES, picture
from vision_msgs.msg import Classification, Detection2DArray, LabelInfo
from watch_process import printed, serving, until

from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import (
    boxes_to_msg,
    classification_to_msg,
    label_info,
    mask_to_image,
    msg_to_labelled_frame,
    ns_to_stamp,
    rgb_to_image,
)
from patchline_ros.signing import make_keys
from patchline_ros.tasks import Boxes, Sample, Task
from tools.browser import Browser

SECOND = 1_000_000_000
BEGAN = 100 * SECOND
WIDTH, HEIGHT = 64, 48
MASK = np.zeros((HEIGHT, WIDTH), np.uint8)
MASK[24:] = 1
BOXES = Boxes(
    np.array([[8, 8, 24, 20], [40, 10, 56, 40], [2, 30, 30, 46]], np.float32),
    np.array([0, 1, 0]),
    np.array([0.9, 0.8, 0.3], np.float32),
)
ENTROPIES = {101: 0.4, 110: 0.9, 120: 0.2}
"""Of the pictures, by the seconds of their stamps: the second one is the most uncertain."""


class Models:
    """Publishes what camera, models and drift monitor do, and listens to labelled frames."""

    def __init__(self, car: Car) -> None:
        self.probe = car.probe
        make = self.probe.probe.create_publisher
        self.camera = make(Image, "image_raw", qos.images("best_effort", 5))
        self.drift = make(DriftStatus, "drift_status", qos.RESULTS)
        kinds = {
            Task.CLASSIFICATION: (Classification, "classification"),
            Task.DETECTION: (Detection2DArray, "detections"),
            Task.SEGMENTATION: (Image, "mask"),
        }
        self.answers, self.features, names = {}, {}, {}
        for task, node in NODE_OF_TASK.items():
            kind, topic = kinds[task]
            self.answers[task] = make(kind, f"{node}/{topic}", qos.RESULTS)
            self.features[task] = make(FrameFeatures, f"{node}/features", qos.RESULTS)
            names[task] = make(LabelInfo, f"{node}/label_info", qos.LATCHED)
            names[task].publish(label_info(CLASSES[task], Header()))
        self.frames = self.probe.collect(LabelledFrame, "labelled_frames", qos.LABELLED_FRAMES)

    def drive(self) -> None:
        """The pictures of the drift, which the models answer; again and again the same."""
        reading = Header(stamp=ns_to_stamp(130 * SECOND))
        self.drift.publish(
            DriftStatus(
                header=reading,
                mmd2=0.4,
                threshold=0.1,
                drifting=True,
                window=8,
                since=ns_to_stamp(BEGAN),
            )
        )
        for second, entropy in ENTROPIES.items():
            header = Header(stamp=ns_to_stamp(second * SECOND), frame_id="camera_link")
            self.camera.publish(rgb_to_image(picture(second, HEIGHT, WIDTH), header))
            answers: dict[Task, Any] = {
                Task.CLASSIFICATION: classification_to_msg(2, 0.6, header),
                Task.DETECTION: boxes_to_msg(BOXES, header),
                Task.SEGMENTATION: mask_to_image(MASK, header),
            }
            for task, answer in answers.items():
                self.answers[task].publish(answer)
                features = FrameFeatures(header=header, task=str(task), entropy=entropy)
                self.features[task].publish(features)

    def label(self, number: int, task: Task, second: int) -> Sample:
        """The labelled frame of that number, which has the picture of that second."""
        until(self.probe, lambda: None, lambda: len(self.frames) > number)
        name, found, stamp, sample = msg_to_labelled_frame(self.frames[number])
        assert (name, found, stamp) == (f"person-{second * SECOND}", task, second * SECOND)
        assert self.frames[number].header.frame_id == "camera_link"
        np.testing.assert_array_equal(sample.image, picture(second, HEIGHT, WIDTH))
        return sample


class LabelPage:
    """The page in a browser, in front of a car with an adapter that collects labels."""

    def __init__(self, car: Car, browser: Browser, keys: tuple[Path, Path] | None = None) -> None:
        """With `keys`, private and public, labels are signed, and the adapter takes no others."""
        car.start("adapter", min_frames=10, **{"labels_key": str(keys[1])} if keys else {})
        signed = ["--signing-key", str(keys[0])] if keys else []
        serving(car, "--label", "--image-topic", "image_raw", *signed)
        self.address = printed(car, r"label:\s+(http://\S+/label#token=\S+)\s")[1]
        self.models, self.browser = Models(car), browser
        browser.look(1280, 900, dark=False)
        browser.open(self.address)
        need = "A training begins once each task with labels has 10."
        self.until(lambda: need in browser.text("#need"), self.models.drive)
        wait = "0 of 10 sent, 3 wait"
        self.until(lambda: browser.text("#tabs").count(wait) == 3, self.models.drive)

    def until(
        self, condition: Callable[[], bool], turn: Callable[[], object] = lambda: None
    ) -> None:
        until(self.models.probe, turn, condition)

    def begin(self, task: Task, asks: str) -> None:
        """Chooses a task, and waits for its picture."""
        self.browser.click(f"#tabs [data-task={task}]")
        self.until(lambda: self.browser.text("#asks") == asks)
        self.until(
            lambda: self.browser.value("document.querySelector('#picture').naturalWidth") == 64
        )

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the picture is in the window."""
        box = self.browser.value(
            "(({x, y, width, height}) => [x, y, width, height])"
            "(document.querySelector('#over').getBoundingClientRect())"
        )
        return box[0] + x * box[2] / WIDTH, box[1] + y * box[3] / HEIGHT

    def send(self, collected: int) -> None:
        self.browser.click("#send")
        said = f"Sent. The adapter has {collected} labelled frame"
        self.until(lambda: said in self.browser.text("#said"))


def test_what_a_person_clicks_arrives_as_a_labelled_frame(
    car: Car, browser: Browser, tmp_path: Path
) -> None:
    page = LabelPage(car, browser, make_keys(tmp_path / "labels"))

    page.begin(Task.CLASSIFICATION, "What is this?")
    assert "The model says limit, 60% sure (entropy 0.90)" in browser.text("#says")
    browser.click("#classes [data-id='1']")
    page.send(1)
    assert page.models.label(0, Task.CLASSIFICATION, 110).label == 1
    # A click while the next picture is on its way says nothing about it.
    page.until(lambda: browser.value("!document.querySelector('#skip').disabled"))
    browser.click("#skip")
    page.until(lambda: "1 of 10 sent, 1 wait" in browser.text("[data-task=classification]"))

    page.begin(Task.DETECTION, "Every object in the picture")
    assert browser.text("#says").startswith("The model found 2 objects")
    browser.drag([page.at(16, 14), page.at(18, 15), page.at(20, 18)])  # moves the first
    browser.drag([page.at(28, 24), page.at(30, 26)])  # and resizes it by its corner
    browser.click("#classes [data-id='1']")  # a person, then
    browser.drag([page.at(48, 25)])
    browser.click("#delete")
    browser.click("#add")
    browser.click("#classes [data-id='0']")
    browser.drag([page.at(40, 40), page.at(20, 30), page.at(14, 20)])  # over the first one
    page.send(2)
    boxes = page.models.label(1, Task.DETECTION, 110).label
    assert isinstance(boxes, Boxes)
    np.testing.assert_allclose(boxes.boxes, [[12, 12, 30, 26], [14, 20, 40, 40]], atol=1e-3)
    assert (boxes.labels.tolist(), boxes.scores.tolist()) == ([1, 0], [1, 1])

    page.begin(Task.SEGMENTATION, "The class of each pixel")
    browser.click("#classes [data-id='2']")
    browser.stroke([page.at(10, 10), page.at(30, 10)])
    browser.click("#classes [data-id='255']")
    browser.drag([page.at(50, 40)])
    browser.click("#undo")
    page.send(3)
    mask = page.models.label(2, Task.SEGMENTATION, 110).label
    assert isinstance(mask, np.ndarray)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    away = np.hypot(columns - columns.clip(10, 30), rows - 10)
    painted = mask == 2
    assert painted[away < 1.4].all() and not painted[away > 1.7].any(), "a brush of 16 / 640"
    np.testing.assert_array_equal(mask[~painted], MASK[~painted])
    assert browser.complaints == []


def test_without_the_token_nothing_is_sent_and_the_page_says_so(car: Car, browser: Browser) -> None:
    page = LabelPage(car, browser)
    host, _, token = page.address.removeprefix("http://").partition("/label#token=")

    def ask(method: str, path: str, body: bytes, **headers: str) -> tuple[int, str]:
        connection = HTTPConnection(host, timeout=20)
        connection.request(method, f"/label/{path}", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    proof = f"Bearer {token}"
    status, text = ask("GET", "queue", b"", Authorization=proof)
    name = json.loads(text)["tasks"]["classification"]["frames"][0]
    good, frame = b'{"class_id": 1}', f"frames/{name}"
    assert ask("POST", frame, good)[0] == 401
    assert ask("POST", frame, good, Authorization="Bearer x")[0] == 401
    assert ask("POST", frame, good, Authorization=proof, Origin="http://evil.example")[0] == 403
    assert ask("POST", frame, good, Authorization=proof, Host="evil.example")[0] == 403
    assert ask("POST", frame, b"no JSON", Authorization=proof)[0] == 400
    assert ask("POST", frame, b" " * (5 << 20), Authorization=proof)[0] == 413

    browser.open(page.address.partition("#")[0] + "#token=wrong")
    page.until(lambda: "no token" in browser.text("#connection"))
    assert "The token is missing or wrong; open the address that" in browser.text("#need")
    assert page.models.frames == []
    status, text = ask("POST", frame, good, Authorization=proof, Origin=f"http://{host}")
    assert (status, json.loads(text)["collected"]) == (200, 1)
    assert page.models.label(0, Task.CLASSIFICATION, 110).label == 1
    assert "Traceback" not in car.log("watch")
