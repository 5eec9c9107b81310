"""torchvision's VGG16, ResNet50, MobileNetV2 and Swin-T, cut into their convolution groups.

The only place that knows layer names. The state dicts that load are torchvision's own.
"""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, NamedTuple, get_args
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.resnet import Bottleneck
from torchvision.models.vgg import make_layers
from torchvision.ops import Permute

from patchline_ros.vision.backbone import GroupedBackbone, GroupSpec

BackboneName = Literal["vgg16", "resnet50", "mobilenet_v2", "swin_t"]
BACKBONES: tuple[BackboneName, ...] = get_args(BackboneName)

Weights = Mapping[str, Tensor]


class CutBackbone(NamedTuple):
    """A grouped backbone, and what the library puts between it and a classifier's last layer."""

    name: BackboneName
    backbone: GroupedBackbone
    classifier_neck: Callable[[], nn.Module]
    """Makes the layers from the deepest tap to a map (B, C, H, W) that is then averaged."""
    classifier_channels: int
    classifier_dropout: float


# What NumPy's and PyTorch's readers raise, depending on which byte of a file is wrong.
_UNREADABLE = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    BadZipFile,
    UnpicklingError,
    struct.error,
    zlib.error,
)
WEIGHTS_FILES = {
    ".npz": "a whole .npz with an array for each name of a state dict",
    ".pth": "a whole state dict: a tensor for each name",
    ".pt": "a whole state dict: a tensor for each name",
}
"""Endings of files with weights, and what such a file should hold."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """State dict from a `.npz` or a `.pth` file (tensors only, nothing is unpickled freely).

    Raises:
        ValueError: the file is missing, damaged, can't be read, or holds something else.
    """
    if not path.is_file():
        raise ValueError(f"weights file {path} does not exist; name a .npz or .pth file")
    if path.suffix not in WEIGHTS_FILES:
        raise ValueError(
            f"weights file {path} has the ending {path.suffix!r}; use .npz, .pth or .pt"
        )
    wanted = f"it should be {WEIGHTS_FILES[path.suffix]}"
    try:
        state = _read_arrays(path) if path.suffix == ".npz" else _read_tensors(path)
    except OSError as error:
        raise ValueError(f"weights file {path} can't be read: {error.strerror}") from error
    except _UNREADABLE as error:
        raise ValueError(f"weights file {path} is damaged or something else; {wanted}") from error
    if not isinstance(state, dict):
        raise ValueError(f"weights file {path} holds no names; {wanted}")
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"weights file {path} holds {name!r}, which is no tensor; {wanted}")
    return state


def _read_arrays(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def _read_tensors(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def imagenet_weights(name: BackboneName) -> dict[str, Tensor]:
    """torchvision's best ImageNet weights of a backbone, which it fetches once and caches.

    Raises:
        OSError: they are not cached and can't be fetched, or what came is not them.
    """
    weights = models.get_model_weights(name).DEFAULT
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (RuntimeError, HTTPException) as error:
        # A download that broke off, or the page of a proxy.
        raise OSError(f"what was fetched as weights of {name} is not them: {error}") from error


def cut_backbone(
    name: BackboneName, width: float = 1.0, weights: Weights | None = None
) -> CutBackbone:
    """One of the four backbones.

    Args:
        name: which.
        width: multiplier of every channel count.
        weights: torchvision state dict to start from (the last classifier layer is not used), or
            None for a random start.

    Raises:
        ValueError: the weights do not fit the architecture, or a name that is not known.
    """
    if name not in _CUTS:
        raise ValueError(f"there is no backbone {name!r}; known are {', '.join(BACKBONES)}")
    return _CUTS[name](width, weights)


def _load(module: nn.Module, weights: Weights, prefix: str, title: str, width: float) -> None:
    """Loads what lies below `prefix` into a module, strictly."""
    own = {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ValueError(
            f"these weights are not those of a {title} of width {width}: {reason}"
        ) from error


def _kaiming(module: nn.Module) -> None:
    """torchvision's start of a convolutional network."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


_VGG16_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def _vgg16(width: float, weights: Weights | None) -> CutBackbone:
    """5 groups; each but the first begins with its max pool, the last pool is in the neck.

    So each tap lies before a pool, where SSD and U-Net read it.
    """
    blocks = [[round(channels * width) for channels in block] for block in _VGG16_BLOCKS]
    layers = make_layers([entry for block in blocks for entry in (*block, "M")])
    _kaiming(layers)
    if weights is not None:
        _load(layers, weights, "features.", "VGG16", width)
    parts = iter(layers)
    groups, specs = [], []
    below, pool = 3, None
    for block in blocks:
        convolutions = [nn.Sequential(next(parts), next(parts)) for _ in block]
        if pool is not None:
            convolutions[0] = nn.Sequential(pool, *convolutions[0])
        specs.append(
            GroupSpec(below, block[-1], 1 if pool is None else 2, 0 if pool is None else 2)
        )
        groups.append(nn.Sequential(*convolutions))
        pool = next(parts)
        below = block[-1]

    def neck() -> nn.Module:
        hidden = round(4096 * width)
        dense = nn.Sequential(
            OrderedDict(
                [
                    ("0", nn.Linear(below * 49, hidden)),
                    ("1", nn.ReLU()),
                    ("2", nn.Dropout(0.5)),
                    ("3", nn.Linear(hidden, hidden)),
                    ("4", nn.ReLU()),
                ]
            )
        )
        if weights is not None:
            kept = {name: value for name, value in weights.items() if ".6." not in name}
            _load(dense, kept, "classifier.", "VGG16", width)
        return nn.Sequential(
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(7),
            nn.Flatten(),
            dense,
            nn.Unflatten(1, (hidden, 1, 1)),
        )

    return CutBackbone(
        name="vgg16",
        backbone=GroupedBackbone(nn.Identity(), groups, specs, stem_stride=1),
        classifier_neck=neck,
        classifier_channels=round(4096 * width),
        classifier_dropout=0.5,
    )


def _bottlenecks(in_channels: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    out_channels = planes * Bottleneck.expansion
    downsample = nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )
    first = Bottleneck(in_channels, planes, stride, downsample)
    return nn.Sequential(first, *(Bottleneck(out_channels, planes) for _ in range(blocks - 1)))


def _resnet50(width: float, weights: Weights | None) -> CutBackbone:
    """4 groups; the first begins with the max pool, so that the stem's tap has stride 2."""
    stem_channels = round(64 * width)
    planes = [round(channels * width) for channels in (64, 128, 256, 512)]
    ins = [stem_channels, *(Bottleneck.expansion * p for p in planes[:-1])]
    convolution = nn.Conv2d(3, stem_channels, 7, 2, padding=3, bias=False)
    norm = nn.BatchNorm2d(stem_channels)
    stages = [
        _bottlenecks(ins[i], planes[i], blocks, stride)
        for i, (blocks, stride) in enumerate(((3, 1), (4, 2), (6, 2), (3, 2)))
    ]
    whole = nn.ModuleDict({"conv1": convolution, "bn1": norm})
    whole.update({f"layer{i}": stage for i, stage in enumerate(stages, start=1)})
    _kaiming(whole)
    if weights is not None:
        kept = {name: value for name, value in weights.items() if not name.startswith("fc.")}
        _load(whole, kept, "", "ResNet50", width)
    stages[0][0] = nn.Sequential(nn.MaxPool2d(3, 2, padding=1), stages[0][0])
    channels = [*ins, Bottleneck.expansion * planes[-1]]
    specs = [GroupSpec(channels[i], channels[i + 1], 2, pool=3 if i == 0 else 0) for i in range(4)]
    return CutBackbone(
        name="resnet50",
        backbone=GroupedBackbone(
            nn.Sequential(convolution, norm, nn.ReLU()), stages, specs, stem_stride=2
        ),
        classifier_neck=nn.Identity,
        classifier_channels=channels[-1],
        classifier_dropout=0.0,
    )


# MobileNetV2's inverted residual blocks, by torchvision's index, that make up each of its 7 groups.
_MOBILENET_V2_GROUPS = ((1, 2), (2, 4), (4, 7), (7, 11), (11, 14), (14, 17), (17, 18))


def _mobilenet_v2(width: float, weights: Weights | None) -> CutBackbone:
    """7 groups (76,416 patch weights at width 1)."""
    features = models.mobilenet_v2(weights=None, width_mult=width).features
    if weights is not None:
        _load(features, weights, "features.", "MobileNetV2", width)
    blocks = list(features)
    groups, specs = [], []
    channels = blocks[0].out_channels
    for start, end in _MOBILENET_V2_GROUPS:
        stride = int(np.prod([block.stride for block in blocks[start:end]]))
        specs.append(GroupSpec(channels, blocks[end - 1].out_channels, stride))
        groups.append(nn.Sequential(*blocks[start:end]))
        channels = blocks[end - 1].out_channels
    return CutBackbone(
        name="mobilenet_v2",
        backbone=GroupedBackbone(blocks[0], groups, specs, stem_stride=2),
        classifier_neck=lambda: blocks[-1],
        classifier_channels=blocks[-1].out_channels,
        classifier_dropout=0.2,
    )


class ChannelsFirst(nn.Module):
    """A block that works on (B, H, W, C), made to take and give (B, C, H, W)."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the block's output, channels first; no copy is made."""
        y: Tensor = self.block(x.permute(0, 2, 3, 1))
        return y.permute(0, 3, 1, 2)


def _swin_t(width: float, weights: Weights | None) -> CutBackbone:
    """4 groups, each a stage and the merging of patches behind it; the last has none."""
    whole = models.SwinTransformer(
        patch_size=[4, 4],
        embed_dim=round(96 * width),
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=[7, 7],
        stochastic_depth_prob=0.2,
        num_classes=1,
    )
    trunk = nn.ModuleDict({"features": whole.features, "norm": whole.norm})
    if weights is not None:
        kept = {name: value for name, value in weights.items() if not name.startswith("head.")}
        _load(trunk, kept, "", "Swin-T", width)
    embed, *rest = whole.features
    groups, specs = [], []
    channels = round(96 * width)
    for stage, merge in zip(rest[::2], [*rest[1::2], None], strict=True):
        blocks = [*stage] if merge is None else [*stage, merge]
        specs.append(
            GroupSpec(channels, channels, 1)
            if merge is None
            else GroupSpec(channels, 2 * channels, 2)
        )
        groups.append(nn.Sequential(*(ChannelsFirst(block) for block in blocks)))
        channels = specs[-1].out_channels
    return CutBackbone(
        name="swin_t",
        backbone=GroupedBackbone(
            nn.Sequential(embed, Permute([0, 3, 1, 2])), groups, specs, stem_stride=4
        ),
        classifier_neck=lambda: ChannelsFirst(whole.norm),
        classifier_channels=channels,
        classifier_dropout=0.0,
    )


_CUTS: dict[str, Callable[[float, Weights | None], CutBackbone]] = {
    "vgg16": _vgg16,
    "resnet50": _resnet50,
    "mobilenet_v2": _mobilenet_v2,
    "swin_t": _swin_t,
}
