"""Where the package's own files lie: in its share folder, or in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PACKAGE: Final = "patchline_ros"
SIM_BUNDLE: Final = Path("resource") / "sim_road"
RECORDED_BUNDLE: Final = Path("bundles") / "camvid"


class MissingFolderError(ValueError):
    """A folder that the package needs is not where it should be; the message says how to get it."""


def share_folder() -> Path:
    """The folder that has `config`, `launch` and `resource`: the checkout, or an installed share.

    Raises:
        MissingFolderError: there is none.
    """
    # pip and colcon put the share folder below the same prefix as the modules.
    for parent in Path(__file__).resolve().parents:
        for share in (parent, parent / "share" / PACKAGE):
            if (share / "package.xml").is_file() and (share / "config").is_dir():
                return share
    raise MissingFolderError(
        f"the package's folder share/{PACKAGE} is not there: install the package anew, or call it "
        "from a checkout"
    )


def config_folder(kind: str) -> Path:
    """The folder of the configuration files that come with the package.

    Args:
        kind: name of the folder below `config`: bench or offline.

    Raises:
        MissingFolderError: it is not there.
    """
    folder = share_folder() / "config" / kind
    if not folder.is_dir():
        raise MissingFolderError(f"the package's folder {folder} is not there; name a file instead")
    return folder


def bundle_folder(share: Path, recorded: bool) -> Path:
    """The bundle to use when none is named.

    Args:
        share: the package's share folder.
        recorded: whether it is for recorded frames, and not for the simulated road.

    Raises:
        MissingFolderError: it is not there.
    """
    if not recorded:
        return share / SIM_BUNDLE
    if not RECORDED_BUNDLE.is_dir():
        raise MissingFolderError(
            f"there is no bundle {RECORDED_BUNDLE} for recorded frames yet: make it with "
            "`patchline offline` (its --help says from what), or name another with --bundle"
        )
    return RECORDED_BUNDLE
