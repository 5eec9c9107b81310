"""The addresses below /label, and who may use them: whoever has the token, from the page itself."""

from __future__ import annotations

import hmac
import json
import re
from email.message import Message
from http import HTTPStatus
from typing import Any, Final

from patchline_ros.messages.label_check import LabelError
from patchline_ros.messages.labels import ConversionError
from patchline_ros.watch.door import Door
from patchline_ros.watch.label_desk import LabelDesk, NotHeardError, UnknownFrameError
from patchline_ros.watch.page import html
from patchline_ros.watch.page_server import Answer, RefusedError, Reply, Request

PAGE: Final = "/label"
_QUEUE: Final = "/label/queue"
_FRAME: Final = re.compile(r"/label/frames/([a-z]+-\d+)(/picture|/skip)?")
_POSTED: Final = ("", "/skip")
_GOT: Final = ("", "/picture")


class LabelRoutes:
    """Answers requests for the labelling page; all others get what they get without it."""

    def __init__(
        self, desk: LabelDesk, page: bytes, token: str, host: str, otherwise: Answer
    ) -> None:
        """Nothing was asked for yet.

        Args:
            desk: has the pictures, and takes the labels.
            page: the page itself, which holds no secret.
            token: without which nothing but the page is given.
            host: that the server listens on.
            otherwise: answers what is not about labels.
        """
        self._desk, self._otherwise = desk, otherwise
        self._page = html(page, "'self'")
        self._proof = f"Bearer {token}".encode()
        self._door = Door(host)

    def __call__(self, request: Request) -> Reply | None:
        """Raises RefusedError."""
        if request.path == PAGE and request.method == "GET":
            return self._page
        if not request.path.startswith(f"{PAGE}/"):
            return self._otherwise(request)
        self._check(request.headers)
        try:
            return self._carried_out(request)
        except UnknownFrameError as error:
            raise RefusedError(HTTPStatus.NOT_FOUND, str(error.args[0])) from error
        except NotHeardError as error:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
        except (LabelError, ConversionError) as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"the label is refused: {error}") from error

    def _carried_out(self, request: Request) -> Reply | None:
        if request.method == "GET" and request.path == _QUEUE:
            return _json(self._desk.overview())
        match = _FRAME.fullmatch(request.path)
        part = (match[2] or "") if match else None
        if match is None or part not in (_GOT if request.method == "GET" else _POSTED):
            return None
        if request.method == "GET":
            if part:
                return Reply(self._desk.picture(match[1]), "image/jpeg")
            return _json(self._desk.frame(match[1]))
        if part:
            self._desk.skip(match[1])
            return _json(self._desk.overview())
        return _json(self._desk.take(match[1], request.body()))

    def _check(self, headers: Message) -> None:
        """Raises RefusedError for who is not the page, or has not the token."""
        self._door.check(headers)
        given = headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._proof):
            raise RefusedError(
                HTTPStatus.UNAUTHORIZED,
                "the token is missing or wrong; open the address that patchline watch --label has "
                "printed when it started",
            )


def _json(value: Any) -> Reply:
    return Reply(json.dumps(value).encode(), "application/json")
