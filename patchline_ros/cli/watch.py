"""`patchline watch`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from patchline_ros.cli.errors import USER_ERROR, errors_in_a_sentence, fail
from patchline_ros.cli.ros import require_ros_domain
from patchline_ros.graph.description import GraphSettings

Port = Annotated[
    int,
    typer.Option(min=0, max=65535, help="Port of the page for a browser; 0 takes any free one."),
]
WebsocketPort = Annotated[
    int,
    typer.Option(
        min=0,
        max=65535,
        help="Port of the WebSocket for Foxglove and the page; 0 takes any free one.",
    ),
]
SigningKey = Annotated[
    Path | None,
    typer.Option(
        help="NAME.key of `patchline keys`, which the labels of --label are signed with.",
        show_default="unsigned",
    ),
]
ImageTransport = Annotated[
    str,
    typer.Option(
        help="How the cameras publish: raw, or compressed, which is on IMAGE_TOPIC/compressed."
    ),
]


def watch(
    namespace: Annotated[
        str, typer.Option(help="Namespace of the car, such as /car1.", show_default="none")
    ] = "",
    image_topic: Annotated[
        str,
        typer.Option(help="Topic of the road camera.", show_default=GraphSettings.image_topic),
    ] = "",
    sign_image_topic: Annotated[
        str,
        typer.Option(
            help="Topic of the sign classifier's pictures.", show_default="the road camera's"
        ),
    ] = "",
    image_transport: ImageTransport = "raw",
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; 0.0.0.0 lets everyone on the network see the camera."
        ),
    ] = "127.0.0.1",
    port: Port = 8766,
    websocket_port: WebsocketPort = 8765,
    label: Annotated[
        bool,
        typer.Option(
            "--label",
            help="Serve a second page on which a person labels the pictures that the adapter needs "
            "most; only who has the address with its token, which is printed, can do so. Pictures "
            "are then subscribed to all the time.",
        ),
    ] = False,
    signing_key: SigningKey = None,
) -> None:
    """Show the running graph, live: a page for a browser, and a WebSocket for Foxglove.

    Without --label nothing is published, and pictures are only subscribed to while somebody looks
    at them.
    """
    require_ros_domain()
    if importlib.util.find_spec("foxglove") is None:
        fail(
            "watch needs the library foxglove-sdk, the extra `watch`: pip install 'foxglove-sdk"
            ">=0.30'",
            USER_ERROR,
        )
    from patchline_ros.graph.description import GraphSettings
    from patchline_ros.nodes.watch import Serving, watch_car
    from patchline_ros.terminal import terminal
    from patchline_ros.watch.topics import CarTopics

    with errors_in_a_sentence():
        camera = image_topic or GraphSettings.image_topic
        car = CarTopics(namespace, camera, sign_image_topic, image_transport)
        serving = Serving(host, port, websocket_port, label, signing_key)
        watch_car(car, serving, terminal())
