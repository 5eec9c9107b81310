"""A learnt patch predictor as one safetensors file, with its facts as JSON in the header.

It holds all that a car needs to run it: source features for the light one, its VGG16 for the
paper's. Who reads it trusts nothing in it: what it says of itself is bounded, and nothing is built
but what its own tensors fill.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import torch
from pydantic import Field, ValidationError
from pydantic_core import from_json
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from patchline_ros.adaptation.predictor import Classifier, NetworkPredictor, Reader
from patchline_ros.adaptation.readers import LARGEST_SIDE, ImageReader, TapReader
from patchline_ros.config_files import StrictModel, first_mistake
from patchline_ros.vision.model import SMALLEST_SIDE

FORMAT: Final = 1
_HEADER_KEY = "patchline_predictor"
MOST_BYTES: Final = 96 * 2**20
"""VGG16 takes 59 MB of it; the light predictor of Swin-T, the largest one, half a MB."""
_MOST_HEADER_BYTES = 64 * 2**10
_MOST_OUTPUTS = 100
_MOST_TAPS = 100
_MOST_LAYERS = 8
_WIDEST = 2**20
"""What is said of a layer, a tap or a number of frames may not be too large to multiply."""
_POSITIVE = ("classifier.scale", "reader.scale", "reader.bandwidths")


class PredictorError(ValueError):
    """A predictor's file can't be used; the message says why in one sentence."""


class _Facts(StrictModel):
    format: Literal[1] = FORMAT
    outputs: int = Field(ge=2, le=_MOST_OUTPUTS)
    hidden: tuple[Annotated[int, Field(ge=1, le=_WIDEST)], ...] = Field(max_length=_MOST_LAYERS)


class _TapFacts(_Facts):
    reads: Literal["taps"] = "taps"
    widths: tuple[Annotated[int, Field(ge=2, le=_WIDEST)], ...] = Field(
        min_length=1, max_length=_MOST_TAPS
    )
    source_frames: int = Field(ge=2, le=_WIDEST)


_Side = Annotated[int, Field(ge=SMALLEST_SIDE, le=LARGEST_SIDE)]


class _ImageFacts(_Facts):
    reads: Literal["images"] = "images"
    size: tuple[_Side, _Side]
    vgg16_width: float = Field(ge=1 / 64, le=1)


class _Header(StrictModel):
    predictor: Annotated[_TapFacts | _ImageFacts, Field(discriminator="reads")]


def _facts(predictor: NetworkPredictor) -> _TapFacts | _ImageFacts:
    classifier, reader = predictor.classifier, predictor.reader
    if isinstance(reader, TapReader):
        return _TapFacts(
            outputs=classifier.outputs,
            hidden=classifier.hidden,
            widths=reader.widths,
            source_frames=len(reader.source),
        )
    if isinstance(reader, ImageReader):
        return _ImageFacts(
            outputs=classifier.outputs,
            hidden=classifier.hidden,
            size=reader.size,
            vgg16_width=reader.vgg16_width,
        )
    raise TypeError(f"there is no file for a predictor that reads by {type(reader).__name__}")


def to_bytes(predictor: NetworkPredictor) -> bytes:
    """The predictor as a safetensors file."""
    tensors = {name: value.contiguous() for name, value in predictor.state_dict().items()}
    header = _Header(predictor=_facts(predictor))
    return save_tensors(tensors, metadata={_HEADER_KEY: header.model_dump_json()})


def _read_facts(data: bytes) -> _TapFacts | _ImageFacts:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, _MOST_HEADER_BYTES):
        raise PredictorError("this is not a safetensors file: its header does not fit in it")
    try:
        text = from_json(data[8 : 8 + length])["__metadata__"][_HEADER_KEY]
        return _Header.model_validate_json(text).predictor
    except ValidationError as error:
        raise PredictorError(f"patch predictor, {first_mistake(error, _Header)}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PredictorError("the file's header holds no patch predictor") from error


def _unfilled(facts: _TapFacts | _ImageFacts) -> NetworkPredictor:
    """The predictor without memory for its tensors, so that it costs nothing to say too much."""
    with torch.device("meta"):
        reader: Reader
        if isinstance(facts, _TapFacts):
            reader = TapReader(facts.widths, facts.source_frames)
        else:
            reader = ImageReader(None, facts.size, facts.vgg16_width)
        classifier = Classifier(reader.width, facts.hidden, facts.outputs)
        return NetworkPredictor(reader, classifier)


def _check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    odd = sorted(expected.keys() ^ tensors.keys())
    if odd:
        raise PredictorError(f"{len(odd)} tensors are missing or unknown, the first {odd[0]}")
    # safetensors gives the tensors in any order; the first that is wrong is the one named.
    for name, value in sorted(tensors.items()):
        if value.shape != expected[name].shape or value.dtype != expected[name].dtype:
            raise PredictorError(
                f"tensor {name} is {value.dtype} {tuple(value.shape)}, the predictor needs "
                f"{expected[name].dtype} {tuple(expected[name].shape)}"
            )
        if not value.isfinite().all():
            raise PredictorError(f"tensor {name} has values that are not finite")
        if name in _POSITIVE and not (value > 0).all():
            raise PredictorError(f"tensor {name} has values that are not above 0")


def from_bytes(data: bytes) -> NetworkPredictor:
    """The predictor of a file, strictly; the global random state is left alone.

    Raises:
        PredictorError: no predictor, one that is too large, or missing, unknown, misshapen or
            non-finite tensors.
    """
    if len(data) > MOST_BYTES:
        raise PredictorError(
            f"the file has {len(data)} bytes; a patch predictor has {MOST_BYTES} at most"
        )
    predictor = _unfilled(_read_facts(data))
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise PredictorError(f"the predictor's tensors can't be read: {error}") from error
    _check_tensors(tensors, predictor.state_dict())
    predictor.load_state_dict(tensors, assign=True)
    return predictor.eval().requires_grad_(False)
