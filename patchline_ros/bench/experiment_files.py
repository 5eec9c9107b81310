"""The files of experiments: found by name or path, read, and varied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from patchline_ros.bench.experiment import Experiment, ExperimentError
from patchline_ros.config_files import ConfigFileError, first_mistake, meant, read_mapping
from patchline_ros.package_share import config_folder

CONFIG_FOLDER: Final = "bench"
"""The folder below `config` that holds the experiments of the package."""


def known_experiments() -> list[str]:
    """Names of the experiments that come with the package, each with its variants behind it."""
    names: list[str] = []
    for path in sorted(config_folder(CONFIG_FOLDER).glob("*.yaml")):
        names.append(path.stem)
        names.extend(f"{path.stem}:{variant}" for variant in _plain(path).get("variants", {}))
    return names


def _plain(path: Path) -> dict[str, Any]:
    """The experiment as its file and those that it is like say it."""
    try:
        plain = read_mapping(path)
    except ConfigFileError as error:
        raise ExperimentError(f"experiment {error}") from error
    variants = plain.get("variants", {})
    if not isinstance(variants, dict) or not all(isinstance(v, dict) for v in variants.values()):
        raise ExperimentError(f"experiment {path}: variants is no mapping of names to mappings")
    if "like" not in plain:
        return plain
    other = path.with_name(f"{plain.pop('like')}.yaml")
    if other == path or not other.is_file():
        raise ExperimentError(f"experiment {path} is like {other.stem!r}, but there is no {other}")
    theirs = {key: value for key, value in _plain(other).items() if key != "variants"}
    return _merged(theirs, plain)


def _merged(plain: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The first with what the second says otherwise, in mappings key by key.

    One that names another method takes its place: what is said of patches is said of no ladder.
    """
    named = changes.get("method")
    if isinstance(named, str) and named != plain.get("method"):
        return changes
    merged = dict(plain)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _varied(path: Path, plain: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The experiment with the changes of its variants, one after the other."""
    variants = plain.get("variants", {})
    plain = {key: value for key, value in plain.items() if key != "variants"}
    for name in names:
        if name not in variants:
            known = ", ".join(variants) or "none"
            raise ExperimentError(f"experiment {path} has no variant {name!r}; it has {known}")
        plain = {**_merged(plain, variants[name]), "name": f"{plain.get('name')}-{name}"}
    return plain


def read_experiment(path: Path, variants: Sequence[str] = ()) -> Experiment:
    """Reads and checks an experiment file.

    With `like: NAME` a file begins from NAME.yaml beside it. Under `variants` it may name variants
    of itself, which are asked for by name; theirs is added to the experiment's. Both times what is
    said anew takes the place of what was there, in mappings key by key.

    Raises:
        ExperimentError: with one sentence that says what is wrong.
    """
    try:
        return Experiment.model_validate(_varied(path, _plain(path), variants))
    except ValidationError as error:
        raise ExperimentError(f"experiment {path}: {first_mistake(error, Experiment)}") from error


def find_experiment(name: str) -> Experiment:
    """An experiment that comes with the package, by name, or any by its file.

    Args:
        name: NAME or FILE.yaml, either followed by variants: core50:ni:swin_t.

    Raises:
        ExperimentError: there is none, or its file is wrong.
    """
    first, *variants = name.split(":")
    if first.endswith((".yaml", ".yml")):
        if not Path(first).is_file():
            raise ExperimentError(f"experiment file {first} does not exist")
        return read_experiment(Path(first), variants)
    path = config_folder(CONFIG_FOLDER) / f"{first}.yaml"
    if not path.is_file():
        known = sorted(each.stem for each in config_folder(CONFIG_FOLDER).glob("*.yaml"))
        raise ExperimentError(
            f"there is no experiment {first!r}{meant(first, known, 'known are')}; a file of your "
            "own must end with .yaml"
        )
    return read_experiment(path, variants)
