"""`patchline bundle ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from patchline_ros.cli.errors import errors_in_a_sentence, treat_sigterm_as_ctrl_c
from patchline_ros.cli.offline import RayAddress, Workers
from patchline_ros.terminal import say

DIFFERENT: Final = 1
"""Exit code of `diff` where the bundles differ."""
_OS_ERROR: Final = "can't read the bundle"

app = typer.Typer(help="Look at bundles, check, compare and prepare them.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Folder of the bundle.")]
Config = Annotated[
    str | None,
    typer.Option(
        help="Configuration that the bundle was made with: a name, or a file.",
        show_default="camvid with --data, sim without",
    ),
]
Data = Annotated[Path | None, typer.Option(help="Folder of the data sets that it was made from.")]


@app.command()
def show(bundle: Folder) -> None:
    """Print what a bundle holds: models, classes, order of training, patches by drift."""
    with errors_in_a_sentence(os_error=_OS_ERROR):
        from patchline_ros.bundle import Bundle
        from patchline_ros.offline.bundle_view import show_bundle

        show_bundle(Bundle.load(bundle))


@app.command()
def check(
    bundle: Folder,
    key: Annotated[
        Path | None,
        typer.Option(
            help="NAME.pub that the bundle has to be signed with.", show_default="any will do"
        ),
    ] = None,
) -> None:
    """Load all of a bundle as a car would; end with 2 and a sentence where something is wrong."""
    with errors_in_a_sentence(os_error=_OS_ERROR):
        from patchline_ros.bundle import Bundle
        from patchline_ros.offline.bundle_view import check_bundle

        say(check_bundle(Bundle.load(bundle, key)))


@app.command()
def sign(
    bundle: Folder,
    key: Annotated[Path, typer.Argument(help="NAME.key of `patchline keys`.")],
) -> None:
    """Sign a bundle, so that a car with the parameter bundle_key loads it and no other."""
    with errors_in_a_sentence(os_error="can't sign the bundle"):
        from patchline_ros.bundle import SIGNATURE, Bundle
        from patchline_ros.offline.bundle_writing import sign_bundle
        from patchline_ros.signing import Signer

        sign_bundle(Bundle.load(bundle), Signer(key))
        print(f"signed: {bundle / SIGNATURE}")


@app.command()
def diff(one: Folder, other: Folder) -> None:
    """Print in what two bundles differ; end with 1 where they do."""
    with errors_in_a_sentence(os_error=_OS_ERROR):
        from patchline_ros.bundle import Bundle
        from patchline_ros.offline.bundle_view import differences

        found = differences(Bundle.load(one).manifest, Bundle.load(other).manifest)
    for line in found:
        say(line)
    if found:
        raise typer.Exit(DIFFERENT)
    print("no difference")


@app.command()
def prepare(
    bundle: Folder,
    config: Config = None,
    data: Data = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
) -> None:
    """Add prepared patches to a bundle, with which a car answers a drift without labels."""
    treat_sigterm_as_ctrl_c()
    with errors_in_a_sentence(
        interrupted="interrupted; the same command goes on", os_error=_OS_ERROR
    ):
        from patchline_ros.offline.offline_run import OfflineOptions
        from patchline_ros.offline.preparation_run import run_preparation
        from patchline_ros.terminal import terminal

        options = OfflineOptions(config=config, data=data, workers=workers, ray_address=ray_address)
        run_preparation(bundle, options, terminal())


@app.command()
def hold_out(bundle: Folder, config: Config = None, data: Data = None) -> None:
    """Keep held-out source frames in a bundle, by which a car sees that labels were wrong."""
    with errors_in_a_sentence(os_error=_OS_ERROR):
        from patchline_ros.offline.bundle_frames import keep_frames
        from patchline_ros.offline.offline_run import OfflineOptions

        kept = keep_frames(bundle, OfflineOptions(config=config, data=data))
        counts = ", ".join(f"{len(frames)} of {task}" for task, frames in kept.items())
        print(f"{bundle} keeps {counts}")


@app.command()
def calibrate(bundle: Folder, config: Config = None, data: Data = None) -> None:
    """Measure anew from when on a drift is one, such as for another rate of false alarms."""
    with errors_in_a_sentence(os_error=_OS_ERROR):
        from patchline_ros.offline.bundle_calibration import run_calibration
        from patchline_ros.offline.offline_run import OfflineOptions

        drift = run_calibration(bundle, OfflineOptions(config=config, data=data)).manifest.drift
        print(
            f"{bundle}: a window of {drift.window} frames has drifted above MMD^2 "
            f"{drift.threshold:.3f}"
        )


@app.command()
def card(
    bundle: Folder,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write the page to.", show_default="card.html in the bundle's folder"
        ),
    ] = None,
) -> None:
    """Write a page that shows a bundle: models, examples, order, drift, how it was made."""
    with errors_in_a_sentence(os_error=_OS_ERROR):
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
