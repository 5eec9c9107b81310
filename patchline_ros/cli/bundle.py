"""`patchline bundle ...`. Only what is called is imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

DIFFERENT = 1
USER_ERROR = 2

app = typer.Typer(help="Look at bundles, check and compare them.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Of the bundle.")]


@app.command()
def show(bundle: Folder) -> None:
    """Print what a bundle holds: models, classes, order of training, patches by drift."""
    with _sentences():
        from patchline_ros.bundle import Bundle
        from patchline_ros.offline.bundle_view import show_bundle

        show_bundle(Bundle.load(bundle))


@app.command()
def check(bundle: Folder) -> None:
    """Load all of a bundle as a car would; end with 2 and a sentence where something is wrong."""
    with _sentences():
        from patchline_ros.bundle import Bundle
        from patchline_ros.offline.bundle_view import check_bundle

        print(check_bundle(Bundle.load(bundle)))


@app.command()
def diff(one: Folder, other: Folder) -> None:
    """Print in what two bundles differ; end with 1 where they do."""
    with _sentences():
        from patchline_ros.bundle import Bundle
        from patchline_ros.offline.bundle_view import differences

        found = differences(Bundle.load(one).manifest, Bundle.load(other).manifest)
    for line in found:
        print(line)
    if found:
        raise typer.Exit(DIFFERENT)
    print("no difference")


@app.command()
def card(
    bundle: Folder,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write.", show_default="card.html in the bundle's folder"),
    ] = None,
) -> None:
    """Write a page that shows a bundle: models, examples, order, drift, how it was made."""
    with _sentences():
        from patchline_ros.bundle import CARD, Bundle
        from patchline_ros.offline.card import write_card

        page = out or bundle / CARD
        loaded = Bundle.load(bundle)
        try:
            write_card(loaded, page)
        except OSError as error:
            raise ValueError(
                f"can't write {page}: {error.strerror}; name another file with --out"
            ) from error
        print(f"written to {page}")


@contextmanager
def _sentences() -> Iterator[None]:
    """What the user can mend is said in one sentence."""
    try:
        yield
    except ValueError as error:
        _fail(str(error), error)
    except OSError as error:
        _fail(f"can't read the bundle: {error}", error)


def _fail(sentence: str, error: Exception) -> NoReturn:
    print(f"patchline: {sentence}", file=sys.stderr)
    raise typer.Exit(USER_ERROR) from error
