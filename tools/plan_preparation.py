"""What it takes to prepare patches for each of the paper's models, counted, and timed on a core.

    python -m tools.plan_preparation [--bundles 100]

The compute is counted as `docs/cost.md` says, for the drifts and epochs of an offline phase as it
comes. The speed is that of real training steps on this machine, with one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from patchline_ros.cost.memory import output_sum
from patchline_ros.cost.step_cost import method_cost
from patchline_ros.host import library_versions
from patchline_ros.offline.preparation import PreparationSettings
from patchline_ros.patching.methods import adapted
from patchline_ros.vision.model import MODELS, ModelSpec, TaskModel

PAPERS = list(MODELS)[:12]
"""The models of the paper's Table 2; behind them come the two light ones of the car."""


def preparation_gflops(spec: ModelSpec, settings: PreparationSettings) -> tuple[float, float]:
    """GFLOPs of preparing one model's patches: of the frozen part, and of what is trained.

    Of each picture the backbone is computed twice: for the norm statistics of its drift, and once
    more under them, as the cached frozen part of all epochs.
    """
    method = settings.method_of(TaskModel(spec))
    cost = method_cost(spec, method, settings.batch_size)
    trained_forward = sum(part.trained_forward for part in cost.parts.values())
    frozen = cost.uncached - cost.cached
    train = len(settings.training_drifts) * settings.frames_of(spec.task)
    chosen_on = len(settings.stopping_drifts) * settings.held_out_frames_of(spec.task)
    looks = settings.epochs + 1
    """The epoch is chosen among the states after each epoch and the one before all."""
    forward = (train + chosen_on) * (cost.parts["backbone"].frozen_forward + frozen)
    trained = train * settings.epochs * cost.cached + chosen_on * looks * trained_forward
    return forward / 1e9, trained / 1e9


def speeds(spec: ModelSpec, settings: PreparationSettings) -> tuple[float, float]:
    """GFLOP/s of this thread in the backbone's forward pass, and in steps that train from cache."""
    method = settings.method_of(TaskModel(spec))
    cost = method_cost(spec, method, settings.batch_size)
    model = adapted(TaskModel(spec), method).train()
    images = torch.rand(settings.batch_size, 3, *spec.input_size)

    def frozen_part() -> Any:
        with torch.no_grad():
            return model.frozen_part(images)

    def step() -> None:
        output_sum(model.trained_part(frozen)).backward()

    frozen = frozen_part()
    each = settings.batch_size / 1e9
    forward = each * (cost.uncached - cost.cached) / _second_call(frozen_part)
    return forward, each * cost.cached / _second_call(step)


def _second_call(function: Callable[[], object]) -> float:
    """Seconds of the second call; the first one makes what the later ones find."""
    function()
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main() -> None:
    """Prints a line for each model, and what all of them take."""
    parser = argparse.ArgumentParser(description="What preparing patches takes.")
    parser.add_argument("--bundles", type=int, default=100)
    parser.add_argument("--size", type=int, default=350, help="side of the pictures, in pixels")
    parser.add_argument("--classes", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = PreparationSettings()
    classes = tuple(f"class {number}" for number in range(options.classes))
    print(f"torch {library_versions()['torch']}, one thread, pictures of {options.size} pixels")
    print("\n| model | TFLOPs | GFLOP/s, frozen | GFLOP/s, steps | core hours |")
    print("| --- | ---: | ---: | ---: | ---: |")
    total = hours = 0.0
    for name in PAPERS:
        spec = ModelSpec.named(name, classes, (options.size, options.size))
        frozen, trained = preparation_gflops(spec, settings)
        frozen_speed, step_speed = speeds(spec, settings)
        each = (frozen / frozen_speed + trained / step_speed) / 3600
        total, hours = total + frozen + trained, hours + each
        tera = (frozen + trained) / 1e3
        print(f"| {name} | {tera:,.1f} | {frozen_speed:.0f} | {step_speed:.0f} | {each:.2f} |")
    print(f"| all twelve | {total / 1e3:,.1f} | | | {hours:.1f} |")
    print(
        f"\n{options.bundles} bundles of them: {options.bundles * total / 1e6:,.1f} PFLOPs, "
        f"{options.bundles * hours:,.0f} core hours."
    )


if __name__ == "__main__":
    main()
