"""A learnt patch predictor as one safetensors file, with its facts as JSON in the header.

The VGG16 of the paper's predictor is not in it: who loads brings its weights, and a fingerprint
tells whether they are the right ones.
"""

from __future__ import annotations

import json
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from patchline_ros.adaptation.predictor import Classifier, NetworkPredictor, Reader
from patchline_ros.adaptation.readers import ImageReader, TapReader
from patchline_ros.config_files import first_mistake
from patchline_ros.vision.model import fingerprint
from patchline_ros.vision.torchvision_backbones import Weights

FORMAT: Final = 1
_HEADER_KEY = "patchline_predictor"
_BACKBONE = "reader.backbone."


class PredictorError(ValueError):
    """A predictor's file can't be used; the message says why in one sentence."""


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = FORMAT
    outputs: int = Field(ge=2)
    hidden: tuple[Annotated[int, Field(ge=1)], ...]


class _TapFacts(_Facts):
    reads: Literal["taps"] = "taps"
    widths: tuple[Annotated[int, Field(ge=2)], ...]
    source_frames: int = Field(ge=2)


class _ImageFacts(_Facts):
    reads: Literal["images"] = "images"
    size: tuple[int, int]
    vgg16_width: float = Field(gt=0)
    vgg16_fingerprint: str


class _Header(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

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
            vgg16_fingerprint=fingerprint(reader.backbone),
        )
    raise TypeError(f"there is no file for a predictor that reads by {type(reader).__name__}")


def to_bytes(predictor: NetworkPredictor) -> bytes:
    """The predictor as a safetensors file, without the VGG16."""
    tensors = {
        name: value.contiguous()
        for name, value in predictor.state_dict().items()
        if not name.startswith(_BACKBONE)
    }
    header = _Header(predictor=_facts(predictor))
    return save_tensors(tensors, metadata={_HEADER_KEY: header.model_dump_json()})


def _read_facts(data: bytes) -> _TapFacts | _ImageFacts:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise PredictorError("this is not a safetensors file: its header does not fit in it")
    try:
        text = json.loads(data[8 : 8 + length])["__metadata__"][_HEADER_KEY]
        return _Header.model_validate_json(text).predictor
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise PredictorError("the file's header holds no patch predictor") from error
    except ValidationError as error:
        raise PredictorError(f"patch predictor, {first_mistake(error, _Header)}") from error


def _reader(facts: _TapFacts | _ImageFacts, weights: Weights | None) -> Reader:
    if isinstance(facts, _TapFacts):
        return TapReader(facts.widths, facts.source_frames)
    if weights is None:
        raise PredictorError("this predictor reads pictures; give the VGG16 weights it was made on")
    reader = ImageReader(weights, facts.size, facts.vgg16_width)
    found = fingerprint(reader.backbone)
    if found != facts.vgg16_fingerprint:
        raise PredictorError(
            f"this predictor was trained on another VGG16: fingerprint "
            f"{facts.vgg16_fingerprint[:12]}..., here {found[:12]}..."
        )
    return reader


def from_bytes(data: bytes, weights: Weights | None = None) -> NetworkPredictor:
    """The predictor of a file, strictly.

    Args:
        data: what `to_bytes` gave.
        weights: torchvision's VGG16 state dict, for a predictor that reads pictures.

    Raises:
        PredictorError: no predictor, missing, unknown, misshapen or non-finite tensors, or
            another VGG16.
        ValueError: weights that are not a VGG16's.
    """
    facts = _read_facts(data)
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise PredictorError(f"the predictor's tensors can't be read: {error}") from error
    reader = _reader(facts, weights)
    predictor = NetworkPredictor(reader, Classifier(reader.width, facts.hidden, facts.outputs))
    expected = {k: v for k, v in predictor.state_dict().items() if not k.startswith(_BACKBONE)}
    odd = sorted(expected.keys() ^ tensors.keys())
    if odd:
        raise PredictorError(f"{len(odd)} tensors are missing or unknown, the first {odd[0]}")
    for name, value in tensors.items():
        if value.shape != expected[name].shape or value.dtype != expected[name].dtype:
            raise PredictorError(
                f"tensor {name} is {value.dtype} {tuple(value.shape)}, the predictor needs "
                f"{expected[name].dtype} {tuple(expected[name].shape)}"
            )
        if not value.isfinite().all():
            raise PredictorError(f"tensor {name} has values that are not finite")
    predictor.load_state_dict(tensors, strict=False)
    return predictor.eval().requires_grad_(False)
