"""`patchline watch` as a process, with a browser in front of it and a car behind."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")
pytest.importorskip("foxglove", reason="needs foxglove-sdk, the extra `watch`")

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from foxglove_client import FoxgloveClient
from patchline_ros.msg import AdaptationStatus, DriftStatus, PatchStatus
from rclpy.duration import Duration
from ros_bench import Bench
from ros_fixtures import Car
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from watch_process import COMMAND, serving, until

from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import rgb_to_image
from patchline_ros.tasks import Task
from tools.browser import Browser

EPISODE = {
    "order": ["classification", "detection"],
    "patches": 3,
    "seconds": {"classification": 2.0, "detection": 10.0},
    "accepted": {"classification": False, "detection": True},
    "gate": {
        "classification": {"before": 0.875, "after": 0.75, "error": 0.04, "frames": 12},
        "detection": {"before": 0.25, "after": 0.375, "error": 0.01, "frames": 12},
    },
}
"""The last episode: patch set 4 for signs, which runs, is of an earlier one."""
GATE = {"before": 0.5, "after": 0.875, "error": 0.03, "frames": 16}
"""Of that patch set."""


class FakeCar:
    """Publishes what the nodes of a car do, whenever it is told."""

    def __init__(self, probe: Bench) -> None:
        make = probe.probe.create_publisher
        self.camera = make(Image, "image_raw", qos.images("best_effort", 5))
        self.overlay = make(Image, "sign_classifier/debug/image", qos.RESULTS)
        self.drift = make(DriftStatus, "drift_status", qos.RESULTS)
        self.adaptation = make(AdaptationStatus, "adaptation_status", qos.LATCHED)
        self.diagnostics = make(DiagnosticArray, "/diagnostics", qos.RESULTS)
        self.patches = {
            task: make(PatchStatus, f"{node}/patch_status", qos.LATCHED)
            for task, node in NODE_OF_TASK.items()
        }
        self._frames = 0
        self.mmd2, self.since = 0.5, 7
        self._began = probe.probe.get_clock().now()

    def begin(self) -> None:
        """The latched statuses: signs are adapted, a patch set for lanes was refused."""
        for task, publisher in self.patches.items():
            publisher.publish(PatchStatus(task=task.value))
        self.patches[Task.CLASSIFICATION].publish(
            PatchStatus(
                task="classification",
                version=4,
                state=PatchStatus.ACTIVE,
                build_seconds=0.5,
                swap_seconds=2e-4,
            )
        )
        self.refuse(Task.SEGMENTATION, "its sha256 is wrong", minutes_ago=0)
        self.refuse(Task.DETECTION, "it is not signed", minutes_ago=3)
        self.adaptation.publish(
            AdaptationStatus(state=AdaptationStatus.FINISHED, episode_json=json.dumps(EPISODE))
        )

    def refuse(self, task: Task, reason: str, minutes_ago: int) -> None:
        """Its last patch set was refused then."""
        at = (self._began - Duration(seconds=60 * minutes_ago)).to_msg()
        state = PatchStatus.REFUSED
        status = PatchStatus(header=Header(stamp=at), task=task.value, state=state, reason=reason)
        self.patches[task].publish(status)

    def drive(self, camera: bool = True) -> None:
        """One frame of it."""
        self._frames += 1
        if camera:
            picture = np.full((48, 64, 3), 50 + self._frames % 100, dtype=np.uint8)
            self.camera.publish(rgb_to_image(picture, Header()))
            self.overlay.publish(rgb_to_image(picture, Header()))
        drift = DriftStatus(mmd2=self.mmd2, threshold=0.125, drifting=self.mmd2 > 0.125, window=16)
        drift.since.sec = self.since
        self.drift.publish(drift)
        values = {"received": self._frames, "processed": self._frames, "latency_ms_p50": "12.3"}
        adapted = {"patch_version": 4, **{f"gate_{name}": value for name, value in GATE.items()}}
        for task, node in NODE_OF_TASK.items():
            told = {**values, **(adapted if task is Task.CLASSIFICATION else {"patch_version": 0})}
            pairs = [KeyValue(key=key, value=str(value)) for key, value in told.items()]
            status = DiagnosticStatus(name=f"/{node}", message="running", values=pairs)
            header = Header(stamp=self._began.to_msg())
            self.diagnostics.publish(DiagnosticArray(header=header, status=[status]))


def test_the_page_shows_the_car_and_says_what_is_lost(car: Car, browser: Browser) -> None:
    fake = FakeCar(car.probe)
    fake.begin()
    process, port, _ = serving(car, "--image-topic", "image_raw")
    browser.look(1280, 900, dark=False)
    browser.open(f"http://127.0.0.1:{port}/")

    def shows(selector: str, *words: str) -> Callable[[], bool]:
        return lambda: all(word in browser.text(selector) for word in words)

    until(car.probe, fake.drive, shows("#state", "Adapted", "signs with patches", "MMD² is 4.0 "))
    until(car.probe, fake.drive, shows("#connection", "live"))
    signs = "[data-task=classification]"
    until(car.probe, fake.drive, shows(signs, "patch set 4", "0.500 → 0.875 ± 0.030", "12 ms"))
    until(car.probe, fake.drive, shows(signs, "Hz in", "swapped in 0.20 ms"))
    until(
        car.probe,
        fake.drive,
        shows("[data-task=segmentation]", "one refused", "its sha256 is wrong"),
    )
    until(car.probe, fake.drive, shows("#adaptation", "finished", "trained in 12 s"))
    assert not shows(signs, "0.750")()
    assert shows("#adaptation", "0.875 → 0.750 ± 0.040: not accepted", "0.250 → 0.375")()
    assert browser.value("document.querySelector('.why.bad').innerText") == (
        "refused: its sha256 is wrong"
    )
    objects = "[data-task=detection]"
    assert shows(objects, "one refused", "refused 3 min 0 s ago: it is not signed")()
    # A drift that hovers at its threshold is no other one.
    fake.mmd2 = 0.1
    until(car.probe, fake.drive, shows("#drift-now", "0.1000"))
    assert not shows("#events", "no drift any more")()
    fake.since = 0
    until(car.probe, fake.drive, shows("#events", "no drift any more"))
    fake.mmd2, fake.since = 0.5, 9
    until(car.probe, fake.drive, shows("#drift-now", "0.5000"))
    assert browser.text("#events").count("drift: MMD²") == 2
    assert red(browser) == ["segmentation"]
    fake.patches[Task.SEGMENTATION].publish(
        PatchStatus(task="segmentation", version=5, state=PatchStatus.ACTIVE)
    )
    until(car.probe, fake.drive, lambda: red(browser) == [])
    assert shows("[data-task=segmentation]", "patch set 5")()
    # Only a training says how far it is.
    fake.adaptation.publish(
        AdaptationStatus(state=AdaptationStatus.ANSWERING, task="detection", reason="not better")
    )
    tried = "What was prepared is tried on pictures without labels."
    until(car.probe, fake.drive, shows("#adaptation", tried, "objects: not better"))
    assert browser.value("document.querySelector('#adaptation .bar').hidden")
    until(car.probe, fake.drive, shows("#chart", "threshold 0.1250"))
    loaded = "document.querySelector('#cameras img').naturalWidth"
    until(car.probe, fake.drive, lambda: browser.value(loaded) == 64)
    overlay = f"document.querySelector('{signs} img').naturalWidth"
    until(car.probe, fake.drive, lambda: browser.value(overlay) == 64)
    assert fake.overlay.get_subscription_count() == 1
    assert not car.probe.probe.count_publishers("labelled_frames")

    lost = shows("#cameras", "no picture for", "on /image_raw")
    until(car.probe, lambda: fake.drive(camera=False), lost)
    car.probe.probe.destroy_publisher(fake.camera)
    named = shows("#troubles", "no camera: nobody publishes /image_raw")
    until(car.probe, lambda: fake.drive(camera=False), named)

    until(car.probe, lambda: None, shows("#state", "No camera", "The last picture on /image_raw"))

    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 0
    assert "Traceback" not in car.log("watch")
    until(car.probe, lambda: None, shows("#state", "No connection", "What you see is"))
    assert not [c for c in browser.complaints if "ERR_CONNECTION_REFUSED" not in c]


def red(browser: Browser) -> list[str]:
    """The tasks whose card has something red."""
    cards = "[...document.querySelectorAll('.task')].filter(c => c.querySelector('.bad'))"
    found: list[str] = browser.value(f"{cards}.map(card => card.dataset.task)")
    return found


def test_a_phone_shows_the_whole_page(car: Car, browser: Browser) -> None:
    fake = FakeCar(car.probe)
    fake.begin()
    _, port, _ = serving(car, "--image-topic", "image_raw")
    browser.look(390, 844, dark=False)
    browser.open(f"http://127.0.0.1:{port}/")
    lanes = "[data-task=segmentation]"
    until(car.probe, fake.drive, lambda: "its sha256 is wrong" in browser.text(lanes))
    assert browser.value("document.documentElement.scrollWidth") == 390
    wide = "[...document.querySelectorAll('main *')].filter(n => n.scrollWidth > n.clientWidth + 1)"
    assert browser.value(f"{wide}.filter(n => n.clientWidth).map(n => n.className)") == []
    assert browser.value("document.querySelector('header').offsetHeight") <= 844 / 4


def test_a_page_out_of_sight_asks_for_no_pictures(car: Car, browser: Browser) -> None:
    fake = FakeCar(car.probe)
    _, port, _ = serving(car, "--image-topic", "image_raw")
    browser.open(f"http://127.0.0.1:{port}/")
    until(car.probe, fake.drive, lambda: fake.overlay.get_subscription_count() == 1)
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true}); follow()"
    browser.value(hide % "true")
    until(car.probe, fake.drive, lambda: fake.overlay.get_subscription_count() == 0)
    assert fake.drift.get_subscription_count() == 1
    browser.value(hide % "false")
    until(car.probe, fake.drive, lambda: fake.overlay.get_subscription_count() == 1)


def test_another_namespace_is_told_where_the_cars_are(car: Car, browser: Browser) -> None:
    fake = FakeCar(car.probe)
    _, port, websocket_port = serving(car, "--namespace", "car9")
    browser.open(f"http://127.0.0.1:{port}/")
    said = "nothing of the graph is published at /car9 in ROS domain"
    until(car.probe, fake.drive, lambda: said in browser.text("#troubles"))
    assert "there are cars at /:" in browser.text("#troubles")
    until(car.probe, fake.drive, lambda: "Nothing comes" in browser.text("#state"))
    assert said in car.log("watch")
    client = FoxgloveClient(websocket_port)
    until(car.probe, fake.drive, lambda: said in client.statuses.get("/car9", ""))
    client.close()


def test_a_port_or_an_address_that_is_not_there(car: Car) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        page = [*COMMAND, "--port", str(port), "--websocket-port", "0"]
        bridge = [*COMMAND, "--port", "0", "--websocket-port", str(port)]
        elsewhere = [*COMMAND, "--host", "203.0.113.7"]
        for name, arguments in {"page": page, "bridge": bridge, "elsewhere": elsewhere}.items():
            assert car.run(name, arguments).wait(90) == 2
    lines = {name: car.log(name).strip().splitlines() for name in ("page", "bridge", "elsewhere")}
    assert [len(said) for said in lines.values()] == [1, 1, 1], lines
    assert f"port {port} on 127.0.0.1 is in use; choose another with --port" in lines["page"][0]
    assert f"port {port} on 127.0.0.1 is in use; choose another with --web" in lines["bridge"][0]
    assert "can't listen on 203.0.113.7, port 8765" in lines["elsewhere"][0]
