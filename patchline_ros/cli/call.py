"""`patchline call`."""

from __future__ import annotations

from typing import Annotated

import typer

from patchline_ros.cli.errors import FAILURE, errors_in_a_sentence, fail
from patchline_ros.cli.ros import require_ros_domain


def call(
    node: Annotated[
        str,
        typer.Argument(
            help="adapter, or one of sign_classifier, object_detector and lane_segmenter."
        ),
    ],
    service: Annotated[
        str,
        typer.Argument(
            help="Of the adapter: pause, adapt_now, republish, reset. Of the others: rollback, "
            "enable."
        ),
    ],
    value: Annotated[
        bool | None,
        typer.Argument(help="true or false, for pause and enable.", show_default=False),
    ] = None,
    namespace: Annotated[
        str, typer.Option(help="Namespace of the car, such as /car1.", show_default="none")
    ] = "",
) -> None:
    """Call a service of a running node, where there is no `ros2 service call`.

    It prints the answer, and ends with 1 where the node did not do what was asked.
    """
    require_ros_domain()
    from patchline_ros.nodes.call import NoAnswerError, call_service

    with errors_in_a_sentence(failures=(NoAnswerError,)):
        done, said = call_service(namespace, node, service, value)
    if not done:
        fail(said, FAILURE)
    typer.echo(said)
