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
from browser import Browser
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from foxglove_client import FoxgloveClient
from patchline_ros.msg import AdaptationStatus, DriftStatus, PatchStatus
from ros_bench import Bench
from ros_fixtures import Car
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from watch_process import COMMAND, serving, until

from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import rgb_to_image
from patchline_ros.tasks import Task

EPISODE = {
    "order": ["classification"],
    "patches": 3,
    "seconds": {"classification": 12.0},
    "accepted": {"classification": True},
    "gate": {"classification": {"before": 0.5, "after": 0.875, "error": 0.03, "frames": 16}},
}


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
        self.patches[Task.SEGMENTATION].publish(
            PatchStatus(
                task="segmentation", state=PatchStatus.REFUSED, reason="its sha256 is wrong"
            )
        )
        self.adaptation.publish(
            AdaptationStatus(state=AdaptationStatus.FINISHED, episode_json=json.dumps(EPISODE))
        )

    def drive(self, camera: bool = True) -> None:
        """One frame of it."""
        self._frames += 1
        if camera:
            picture = np.full((48, 64, 3), 50 + self._frames % 100, dtype=np.uint8)
            self.camera.publish(rgb_to_image(picture, Header()))
            self.overlay.publish(rgb_to_image(picture, Header()))
        self.drift.publish(DriftStatus(mmd2=0.5, threshold=0.125, drifting=True, window=16))
        values = {"received": self._frames, "processed": self._frames, "latency_ms_p50": "12.3"}
        pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        status = DiagnosticStatus(name="/sign_classifier", message="running", values=pairs)
        self.diagnostics.publish(DiagnosticArray(status=[status]))


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
