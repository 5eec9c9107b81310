"""Compares two ways to adapt a bundle's segmenter on a folder of labelled pictures.

    python examples/compare_methods.py resource/sim_road FOLDER

FOLDER has `images/*.png` and `masks/*.png` of the same stems, in the order of time. Each fifth
picture is held out from the training, and both methods are scored on those.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from patchline_ros.adaptation.source_model import SourceModel
from patchline_ros.adaptation.task_adaptation import Adaptation, car_settings
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.bundle import Bundle
from patchline_ros.datasets.masks import MaskFolder
from patchline_ros.patching.fine_tuned import FineTuneSettings
from patchline_ros.patching.methods import MethodSettings
from patchline_ros.patching.patched_model import PatchSettings
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.evaluation import evaluate

TASK = Task.SEGMENTATION
METHODS: dict[str, MethodSettings] = {
    "PatchLine": PatchSettings(k=4),
    "FT-full": FineTuneSettings(method="ft_full"),
}


def main() -> None:
    """Prints a line for each method."""
    parser = argparse.ArgumentParser(description="PatchLine beside full fine-tuning.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=7)
    options = parser.parse_args()

    bundle = Bundle.load(options.bundle)
    folder = MaskFolder(options.folder, bundle.spec(TASK).classes)
    samples: list[Sample] = [folder.read(i) for i in range(len(folder))]
    # Without what the bundle has prepared: both methods begin at the source model.
    source = SourceModel(bundle.model(TASK), bundle.manifest.models[TASK].source_entropy)
    car = car_settings(patches=4, seed=0, training=TrainingSettings(epochs=options.epochs))
    affinity = bundle.manifest.training_affinity
    print(f"{'':12} {'mean IoU':>9} {'GFLOPs':>9} {'seconds':>9}")
    for name, method in METHODS.items():
        adaptation = Adaptation(
            {TASK: source}, {TASK: samples}, affinity, replace(car, method=method, start="source")
        )
        found = adaptation.adapt(TASK)
        score = evaluate(found.model.eval(), found.frames.held_out)
        print(f"{name:12} {score:9.1%} {found.record.gflops:9.0f} {found.seconds:9.1f}")
    before = evaluate(source.model, adaptation.frames[TASK].held_out)
    print(f"{'source model':12} {before:9.1%}")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        # A wrong path, or a broken file: the sentence says which.
        sys.exit(str(error))
