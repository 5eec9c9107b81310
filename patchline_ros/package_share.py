"""Where the package's own files lie: in its share folder, or in a checkout."""

from __future__ import annotations

from pathlib import Path

PACKAGE = "patchline_ros"
SIM_BUNDLE = Path("resource") / "sim_road"
RECORDED_BUNDLE = Path("bundles") / "camvid"


class PlaceError(ValueError):
    """A folder that the demo needs is not where it should be; the message says how to get it."""


def share_folder() -> Path:
    """The folder that has `config` and `resource`. Raises PlaceError when there is none."""
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "package.xml").is_file():
        return checkout
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        return Path(get_package_share_directory(PACKAGE))
    except PackageNotFoundError as error:
        raise PlaceError(
            f"the package {PACKAGE} is not installed where ROS looks: source its workspace"
        ) from error


def bundle_folder(share: Path, recorded: bool) -> Path:
    """The bundle to use when none is named. Raises PlaceError when it is not there."""
    if not recorded:
        return share / SIM_BUNDLE
    if not RECORDED_BUNDLE.is_dir():
        raise PlaceError(
            f"there is no bundle {RECORDED_BUNDLE} for recorded frames yet: make it with "
            "`patchline offline` (its --help says from what), or name another with --bundle"
        )
    return RECORDED_BUNDLE
