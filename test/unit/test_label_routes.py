"""The labelling page's addresses, over real sockets: who may use them, and what is too much."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse

import pytest
from tiny_bundle import CLASSES, picture

from patchline_ros.tasks import Label, Task
from patchline_ros.watch import page_server
from patchline_ros.watch.candidates import Candidate
from patchline_ros.watch.label_desk import LabelDesk
from patchline_ros.watch.label_routes import LabelRoutes
from patchline_ros.watch.page import label_page, only_page, watch_page
from patchline_ros.watch.page_server import LARGEST_BODY, Address, PageServer
from patchline_ros.watch.topics import CarTopics

TOKEN = "the-token"
GOOD = {"Authorization": f"Bearer {TOKEN}"}
NAME = "classification-7000000000"


class Site:
    """A served desk with one picture."""

    def __init__(self) -> None:
        self.sent: list[Label] = []
        desk = LabelDesk(self)
        desk.knows(Task.CLASSIFICATION, CLASSES[Task.CLASSIFICATION])
        image = picture(1)
        desk.add(Candidate(7_000_000_000, 0.5, Task.CLASSIFICATION, "camera", image, 1, 0.5))
        car = CarTopics("/car1")
        watch = only_page(watch_page(car, 4321), "127.0.0.1")
        routes = LabelRoutes(desk, label_page(car), TOKEN, "127.0.0.1", watch)
        self.server = PageServer(Address("127.0.0.1", 0), routes)

    def publish(self, candidate: Candidate, label: Label) -> None:
        self.sent.append(label)

    def is_heard(self, seconds: float) -> bool:
        return True

    def ask(
        self, path: str, headers: dict[str, str], body: bytes | str | None = None
    ) -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        return answer, answer.read()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.close()


LABEL = f"/label/frames/{NAME}"
REFUSED = [
    ({}, 401, "the token is missing or wrong"),
    ({"Authorization": "Bearer the-tokem"}, 401, "the token is missing or wrong"),
    ({"Authorization": TOKEN}, 401, "the token is missing or wrong"),
    ({**GOOD, "Origin": "http://evil.example"}, 403, "a page of 'http://evil.example' may not"),
    ({**GOOD, "Origin": "null"}, 403, "a page of 'null' may not"),
    ({**GOOD, "Host": "evil.example:80"}, 403, "'evil.example:80' is no name of this machine"),
    ({**GOOD, "Host": ""}, 403, "'' is no name of this machine"),
]


@pytest.mark.parametrize(("headers", "status", "said"), REFUSED)
def test_who_is_not_the_page_with_the_token_gets_nothing(
    site: Site, headers: dict[str, str], status: int, said: str
) -> None:
    for path in (LABEL, f"{LABEL}/skip"):
        answer, text = site.ask(path, headers, '{"class_id": 1}')
        assert answer.status == status and said in text.decode()
    for path in ("/label/queue", LABEL, f"{LABEL}/picture", "/label/nothing"):
        answer, text = site.ask(path, headers)
        assert answer.status == status and said in text.decode()
    assert site.sent == []
    _, overview = site.ask("/label/queue", GOOD)
    assert json.loads(overview)["tasks"]["classification"]["frames"] == [NAME]


def test_the_page_itself_holds_no_secret_and_needs_none(site: Site) -> None:
    answer, text = site.ask("/label", {})
    assert answer.status == 200 and TOKEN not in text.decode()
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert b"/car1" in text and b"place of" not in text
    answer, text = site.ask("/", {})
    assert answer.status == 200 and b"4321" in text and b"place of" not in text
    # A name of this machine, as a browser in the same network may use it.
    here = {**GOOD, "Host": f"{socket.gethostname()}:80"}
    here["Origin"] = f"http://{here['Host']}"
    assert site.ask("/label/queue", here)[0].status == 200


def test_without_labels_there_are_no_such_addresses() -> None:
    server = PageServer(Address("127.0.0.1", 0), only_page(b"a page", "127.0.0.1"))
    for method, path in (("GET", "/label"), ("GET", "/label/queue"), ("POST", LABEL)):
        connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request(method, path, headers=GOOD)
        assert connection.getresponse().status == 404
    server.close()


def test_a_label_is_taken_and_what_is_wrong_is_said(site: Site) -> None:
    answer, text = site.ask(LABEL, GOOD, '{"class_id": 9}')
    assert answer.status == 400
    assert text.decode().startswith("the label is refused: class id 9 is not one of the model's 3")
    answer, text = site.ask(LABEL, GOOD, b"\xff\xfe{")
    assert answer.status == 400 and b"can't be used" in text
    answer, text = site.ask(LABEL, {**GOOD, "Origin": f"http://127.0.0.1:{site.server.port}"}, "")
    assert answer.status == 400
    assert site.ask("/label/frames/classification-8", GOOD, "{}")[0].status == 404
    answer, text = site.ask(f"{LABEL}/picture", GOOD)
    assert (answer.headers["Content-Type"], text[:2]) == ("image/jpeg", b"\xff\xd8")
    assert json.loads(site.ask(LABEL, GOOD)[1])["proposal"] == {"class_id": 1}
    assert site.sent == []
    answer, text = site.ask(LABEL, GOOD, '{"class_id": 2}')
    assert answer.status == 200
    assert json.loads(text)["tasks"]["classification"] == {
        "classes": [*CLASSES[Task.CLASSIFICATION]], "frames": [], "sent": 1, "missing": "",
    }  # fmt: skip
    assert site.sent == [2]


def raw(port: int, *lines: str) -> bytes:
    """What comes back for these lines; what is sent may be broken off."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        found = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall("\r\n".join(lines).encode())
            while part := connection.recv(1 << 16):
                found += part
        return found


def test_too_much_is_refused_before_it_is_read(site: Site) -> None:
    answer, text = site.ask(LABEL, GOOD, b" " * (LARGEST_BODY + 1))
    assert answer.status == 413 and f"at most {LARGEST_BODY} are read" in text.decode()
    head = [f"POST {LABEL} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {TOKEN}"]
    for length in ("-1", "x", "²", "9" * 5000):
        said = raw(site.server.port, *head, f"Content-Length: {length}", "", "")
        assert said.split()[1] in (b"411", b"413"), said
    assert raw(site.server.port, *head, "", "").split()[1] == b"411"
    assert raw(site.server.port, "GET /label/queue?" + "x" * 70000).split()[1] == b"414"
    assert site.sent == []


def test_half_requests_hold_nobody_up(
    site: Site, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page_server, "REQUEST_SECONDS", 0.5)
    begun = time.monotonic()
    token = f"Authorization: Bearer {TOKEN}"
    half = (f"POST {LABEL} HTTP/1.1", "Host: 127.0.0.1", token, "Content-Length: 9", "", "{")
    drops = [threading.Thread(target=raw, args=(site.server.port, *half)) for _ in range(40)]
    for drop in drops:
        drop.daemon = True
        drop.start()
    for drop in drops:
        drop.join(20)
    assert time.monotonic() - begun < 10
    assert site.ask("/label/queue", GOOD)[0].status == 200
    assert capfd.readouterr().err == ""
