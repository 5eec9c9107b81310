"""The options of `patchline demo`; what is wrong with them is said before anything large loads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from patchline_ros.sim.light import Condition


class OptionError(ValueError):
    """An option has a value that the demo cannot work with."""


@dataclass(frozen=True)
class DemoOptions:
    """The options of `patchline demo`, as they were given; without `bundle` it is the usual one.

    With `no_labels` the car gets none; the score has its labels all the same.
    """

    out: Path
    condition: str
    rate_hz: float
    seed: int
    bundle: Path | None = None
    frames: Path | None = None
    then: Path | None = None
    labels: Path | None = None
    no_labels: bool = False
    signs: Path | None = None
    topic: str | None = None
    """Of the camera, where `frames` or `then` is a bag."""


def check_options(options: DemoOptions) -> None:
    """Raise OptionError for what can be seen without opening anything large."""
    conditions = [str(condition) for condition in Condition if condition is not Condition.CLEAR]
    if options.condition not in conditions:
        raise OptionError(
            f"--condition is {options.condition!r}; use one of {', '.join(conditions)}"
        )
    if not 0.1 <= options.rate_hz <= 120:
        raise OptionError(f"--rate is {options.rate_hz}; give frames a second, from 0.1 to 120")
    if options.seed < 0:
        raise OptionError(f"--seed is {options.seed}; give one that is 0 or greater")
    if options.frames is None:
        for name in ("then", "labels", "signs", "topic"):
            if getattr(options, name) is not None:
                raise OptionError(f"--{name} goes with --frames, which is missing")
    for name in ("frames", "then", "labels", "signs"):
        path = getattr(options, name)
        if path is not None and not path.exists():
            raise OptionError(f"--{name} {path} does not exist")


def prepare_out(out: Path) -> None:
    """Make the output folder. Raises OptionError when it is not empty or cannot be written."""
    if out.exists() and not out.is_dir():
        raise OptionError(f"--out {out} is a file; name a folder that is new or empty")
    try:
        out.mkdir(parents=True, exist_ok=True)
        full = any(out.iterdir())
    except OSError as error:
        raise OptionError(f"--out {out} cannot be made: {error.strerror}") from error
    if full:
        raise OptionError(f"--out {out} is not empty; name a folder that is new or empty")
    if not os.access(out, os.W_OK | os.X_OK):
        raise OptionError(f"--out {out} cannot be written; name another folder")
