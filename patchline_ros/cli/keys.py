"""`patchline keys`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchline_ros.cli.errors import errors_in_a_sentence


def keys(
    path: Annotated[
        Path,
        typer.Argument(
            help="Path of both files without their endings: PATH.key signs, PATH.pub checks."
        ),
    ],
) -> None:
    """Make a pair of keys, so that a car takes patch sets and statuses of its own nodes only."""
    from patchline_ros.signing import make_keys

    with errors_in_a_sentence():
        private, public = make_keys(path)
    typer.echo(f"{private}: for signing_key of the node that signs with it; keep it secret")
    typer.echo(f"{public}: for trusted_key or labels_key of those that check")
    typer.echo("the adapter and the other nodes each need a pair of their own: docs/security.md")
