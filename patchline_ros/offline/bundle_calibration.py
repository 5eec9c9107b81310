"""The command `patchline bundle calibrate`: the drift monitor's reference and threshold, anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchline_ros.bundle import CARD, Bundle
from patchline_ros.manifest import Manifest
from patchline_ros.offline.bundle_making import drift_reference
from patchline_ros.offline.bundle_preparation import check_source
from patchline_ros.offline.bundle_writing import replace_reference
from patchline_ros.offline.card import write_card
from patchline_ros.offline.checks import check_inputs
from patchline_ros.offline.config import OfflineConfig
from patchline_ros.offline.drifted import WatchedSource
from patchline_ros.offline.offline_run import OfflineOptions, data_folder, resolve_config
from patchline_ros.offline.predictor_data import PredictorData, label_drifts
from patchline_ros.offline.recipe import Recipe
from patchline_ros.offline.sources import SourceData, load_source


def run_calibration(path: Path, options: OfflineOptions) -> Bundle:
    """Calibrates the bundle in a folder.

    Args:
        path: folder of a bundle that is whole.
        options: the configuration that it was made with, or one with another window or rate, and
            the data.

    Raises:
        ValueError: the configuration or the data are missing or broken, or as calibrate() says it.
        OSError: the disk refuses it.
    """
    bundle, config = Bundle.load(path), resolve_config(options)
    source = load_source(config.sources, data_folder(options), config.input_sizes, config.workers)
    return calibrate(bundle, source, config)


def calibrate(bundle: Bundle, source: SourceData, config: OfflineConfig) -> Bundle:
    """Measures anew what the source looks like, and how far its labelled drifts are from it.

    The models stay as they are, and so does the tap that they are watched at. The window and the
    rate of false alarms are those of the configuration.

    Args:
        bundle: that is whole.
        source: the data that it was made from.
        config: its configuration.

    Raises:
        ValueError: the bundle keeps no labelled drifts, without which its patch table can't be
            measured; the data are others, or too few.
        OSError: the disk refuses it.
    """
    manifest = bundle.manifest
    if not manifest.drift_labels:
        raise ValueError(
            f"bundle {bundle.path} keeps no labelled drifts, since it was made with format 1; make "
            "it again with `patchline offline`"
        )
    drift = manifest.drift
    recipe = config.recipe.model_copy(update={"drift_tap": drift.tap})
    for task, entry in manifest.models.items():
        check_source(bundle, task, entry, source)
    check_inputs(source, config.model_copy(update={"recipe": recipe}), drift.task)
    model, data = bundle.model(drift.task), source.tasks[drift.task]
    reference = drift_reference(model, data.train, recipe)
    watched = WatchedSource(model, reference, drift.tap, data.train, data.held_out)
    found = _measured(watched, manifest)
    facts = {
        "drift": watched.drift_entry(),
        "patch_table": found.table,
        "drift_labels": found.labels,
        "config": _with_rate(manifest.config, recipe),
    }
    whole = replace_reference(bundle, reference, facts)
    write_card(whole, bundle.path / CARD)
    return whole


def _measured(watched: WatchedSource, manifest: Manifest) -> PredictorData:
    """The labelled drifts and the patch table by MMD^2 from the new reference."""
    labels = manifest.drift_labels
    drifts = [(label.corruption, label.severity) for label in labels]
    mmd2 = [watched.mmd2(watched.drifted(drift, manifest.seed)) for drift in drifts]
    return label_drifts(drifts, [label.metrics for label in labels], mmd2, manifest.label_margin)


def _with_rate(config: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The configuration in a manifest, with the window and the rate that are in force now."""
    rate = {name: getattr(recipe, name) for name in ("drift_window", "drift_false_alarm")}
    return {**config, "recipe": {**config["recipe"], **rate}}
