"""The learnt patch predictor that a bundle carries, where its configuration asks for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from patchline_ros.adaptation.predictor import DriftedSet, Reader
from patchline_ros.adaptation.predictor_file import to_bytes
from patchline_ros.files import remove_leftovers, sha256, write_file
from patchline_ros.manifest import DriftLabel, PredictorEntry
from patchline_ros.offline.config import OfflineConfig
from patchline_ros.offline.drifted import WatchedSource
from patchline_ros.offline.patch_predictor import drifted_set, held_out_score, network_fit, read_all
from patchline_ros.vision.model import fingerprint


class LearntPredictor(NamedTuple):
    """What goes into the bundle."""

    entry: PredictorEntry
    file: bytes


def learn_predictor(
    config: OfflineConfig,
    watched: WatchedSource,
    labels: Sequence[DriftLabel],
    reader: Reader,
    folder: Path,
    report: Callable[[float], None],
) -> LearntPredictor:
    """Trains on all labelled drifts; how good it is, drifts say that were left out as a whole.

    What was read of a drift before a call was killed is not read again. Where all drifts need the
    same number of patches, the predictor learns to say just that.

    Args:
        config: of the bundle, where `weights` say in words what they are.
        watched: the model and the source data that the drifts were made of.
        labels: of two drifts or more, as `predictor_data` finds them with the recipe's seed.
        reader: of the kind that is wanted.
        folder: where what was read is kept.
        report: told the share that is done.

    Raises:
        ValueError: features that are not finite, or a kept file that is damaged.
    """
    folder.mkdir(exist_ok=True)
    remove_leftovers(folder)
    seed = config.recipe.seed
    key = sha256(f"{config.vgg16} {fingerprint(reader)}".encode())[:16]
    sets, inputs = [], []
    for done, label in enumerate(labels):
        report(done / len(labels))
        sets.append(drifted_set(watched, label, reader, seed))
        name = f"{reader.kind}-{key}-{label.corruption}-{label.severity}.safetensors"
        inputs.append(_read_once(reader, sets[-1], folder / name))
    needed = [label.patches for label in labels]
    fit = network_fit(reader, inputs, needed, len(watched.model.backbone.specs), seed)
    score = held_out_score(fit, sets, needed)
    entry = PredictorEntry(
        kind=reader.kind,
        vgg16=config.vgg16.weights if config.vgg16 else "",
        predicted=score.predicted,
        accuracy=score.accuracy,
        mean_absolute_error=score.mean_absolute_error,
    )
    return LearntPredictor(entry, to_bytes(fit(range(len(sets)))))


def _read_once(reader: Reader, drifted: DriftedSet, path: Path) -> Tensor:
    """(frames, reader.width) of a set, kept in that file."""
    if path.is_file():
        try:
            return load(path.read_bytes())["numbers"]
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{path} is damaged; delete it to make it again") from error
    numbers = read_all(reader, drifted)
    write_file(path, save({"numbers": numbers.contiguous()}))
    return numbers
