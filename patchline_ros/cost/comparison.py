"""What `patchline cost` is asked, checked, and the methods that the answer compares."""

from __future__ import annotations

import json
import platform
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import torch
from pydantic import TypeAdapter, ValidationError

from patchline_ros import __version__
from patchline_ros.config_files import first_mistake
from patchline_ros.cost.memory import peak_cuda_bytes
from patchline_ros.cost.step_cost import MethodCost, largest_affordable_k, method_cost
from patchline_ros.files import write_file
from patchline_ros.patching.fine_tuned import FineTuneSettings, FineTuning
from patchline_ros.patching.ladder import LadderSettings
from patchline_ros.patching.methods import NAMES, MethodSettings
from patchline_ros.patching.patched_model import PatchSettings, Wiring
from patchline_ros.vision.model import ModelSpec

FINE_TUNINGS: tuple[FineTuning, ...] = get_args(FineTuning)
WIRINGS: tuple[Wiring, ...] = get_args(Wiring)
HeadTraining = Literal["trained", "frozen"]
HEADS: tuple[HeadTraining, ...] = get_args(HeadTraining)
_Known = TypeVar("_Known", bound=str)
FULL = FineTuneSettings(method="ft_full")
_SETTINGS: TypeAdapter[MethodSettings] = TypeAdapter(MethodSettings)


@dataclass(frozen=True)
class CostOptions:
    """The options of the command, as they were given; None: not given."""

    model: str
    method: str
    patches: int | None
    wiring: str | None
    head: str | None
    size: str
    classes: int
    batch: int
    epochs: int


@dataclass(frozen=True)
class Comparison:
    """The asked method's cost first, then that of those it is compared with."""

    options: CostOptions
    spec: ModelSpec
    affordable: int | None
    """Patches that Algorithm 1 allows; None for a method without patches."""
    costs: list[MethodCost]
    peaks: list[int | None] | None
    """Peak memory on the GPU, a method each (None: did not fit); None where there is no GPU."""
    lst: MethodCost
    full: MethodCost


def _one_of(option: str, value: str, known: tuple[_Known, ...]) -> _Known:
    for each in known:
        if each == value:
            return each
    raise ValueError(f"there is no {option} {value!r}; known are {', '.join(known)}")


def _input_size(size: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", size.strip())
    if found is None:
        raise ValueError(
            f"--size {size!r} is neither one number nor height and width; write 350 or 240x320"
        )
    return int(found[1]), int(found[2] or found[1])


def _spec(options: CostOptions) -> ModelSpec:
    names = tuple(f"class {i}" for i in range(1, options.classes + 1))
    try:
        return ModelSpec.named(options.model, names, _input_size(options.size))
    except ValidationError as error:
        raise ValueError(first_mistake(error, ModelSpec, whole="")) from error


def _check(options: CostOptions) -> None:
    _one_of("method", options.method, NAMES)
    if options.method != "patchline":
        for name, value in (("--patches", options.patches), ("--wiring", options.wiring)):
            if value is not None:
                raise ValueError(
                    f"{name} is for patches, and {options.method} has none; leave it out or ask "
                    "for --method patchline"
                )
    if options.method in FINE_TUNINGS and options.head is not None:
        raise ValueError(
            f"--head is for patchline and lst; {options.method} itself says what it trains of the "
            "head"
        )


def compare(options: CostOptions) -> Comparison:
    """Counts the asked method, FT-full, LST, FT-norm and FT-last.

    Raises:
        ValueError: an option is wrong, or does not fit the model.
    """
    _check(options)
    wiring = _one_of("wiring", options.wiring or "side", WIRINGS)
    head = _one_of("head", options.head or "trained", HEADS)
    spec = _spec(options)
    lst = LadderSettings(head=head)
    others: dict[str, MethodSettings] = {
        "ft_full": FULL,
        "lst": lst,
        "ft_norm": FineTuneSettings(method="ft_norm"),
        "ft_last": FineTuneSettings(method="ft_last"),
    }
    affordable = None
    if options.method == "patchline":
        affordable = largest_affordable_k(spec, wiring)
        k = affordable if options.patches is None else options.patches
        asked: MethodSettings = PatchSettings(k=k, wiring=wiring, head=head)
    else:
        asked = others.pop(options.method, None) or _SETTINGS.validate_python(
            {"method": options.method}
        )
    settings = [asked, *others.values()]
    costs = {each: method_cost(spec, each, options.batch) for each in settings}
    peaks = None
    if torch.cuda.is_available():
        peaks = [peak_cuda_bytes(spec, each, options.batch) for each in settings]
    return Comparison(
        options, spec, affordable, list(costs.values()), peaks, lst=costs[lst], full=costs[FULL]
    )


def _figures(cost: MethodCost, epochs: int) -> dict[str, Any]:
    return {
        "settings": cost.settings.model_dump(mode="json"),
        "parameters": cost.parameters,
        "trained_parameters": cost.trained_parameters,
        "saved_bytes": cost.saved_bytes,
        "flops": {
            "source_forward": cost.source_forward,
            "parts": {
                name: {
                    "frozen_forward": part.frozen_forward,
                    "trained_forward": part.trained_forward,
                    "backward": part.backward,
                }
                for name, part in cost.parts.items()
            },
            "head_input_gradient": cost.head_input_gradient,
            "paper": cost.paper,
            "actual_uncached": cost.uncached,
            "actual_cached": cost.cached,
            "actual_mean": cost.mean_of(epochs),
        },
    }


def write_json(comparison: Comparison, path: Path) -> None:
    """Writes all figures, with what they were counted for and by which versions.

    FLOPs are for one image, bytes for one batch.
    """
    options = comparison.options
    methods = [_figures(cost, options.epochs) for cost in comparison.costs]
    for figures, peak in zip(methods, comparison.peaks or (), strict=False):
        figures["peak_cuda_bytes"] = peak
    document = {
        "model": options.model,
        "input_size": comparison.spec.input_size,
        "classes": options.classes,
        "batch": options.batch,
        "epochs": options.epochs,
        "affordable_patches": comparison.affordable,
        "methods": methods,
        "versions": {
            "python": platform.python_version(),
            "patchline_ros": __version__,
            "torch": torch.__version__,
            "torchvision": metadata.version("torchvision"),
        },
    }
    write_file(path, f"{json.dumps(document, indent=2)}\n".encode())
