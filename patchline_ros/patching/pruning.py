"""Thins a group of convolutions or window attention to a fraction of its channels.

Within a group, all dimensions of one size n share one index set, so that whatever adds up or
follows in the group still fits, and no layer needs to be known by name. The set has ceil(n / r)
channels: those with the largest L1 norm of what writes them (filters of convolutions, rows of
linear layers; Li et al., "Pruning Filters for Efficient ConvNets", 2017), each weight's norms
divided by their sum before they are added up. A thin weight is `wide[written][:, read]`.

Where a group has window attention (Swin), channels are chosen head by head, as many in each. The
multiples of its width that have to match it part by part (queries, keys and values; the four
neighbours that are merged; the hidden layer, which has the same size as these) take the width's
own set in each part, and its norms count theirs. Attention divides by the square root of its now
smaller head width; that factor is left as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torchvision.models.swin_transformer import ShiftedWindowAttention

from patchline_ros.vision.backbone import GroupSpec

Channels = dict[int, Tensor]
"""The channels that are kept, ascending, by the width that they are chosen from."""


class _Attention(Protocol):
    qkv: nn.Linear
    num_heads: int


def _attention(group: nn.Module) -> _Attention | None:
    found = (m for m in group.modules() if isinstance(m, ShiftedWindowAttention))
    return next(found, None)


def _widths(layer: nn.Module) -> tuple[int, ...]:
    """Sizes of the dimensions that a layer has to have thinned.

    Raises:
        ValueError: weights that are not known how to thin.
    """
    if isinstance(layer, nn.Conv2d):
        if layer.groups not in (1, layer.in_channels) or (
            layer.groups > 1 and layer.out_channels != layer.in_channels
        ):
            raise ValueError(
                f"a convolution of {layer.in_channels} channels in {layer.groups} groups can't be "
                "thinned; only dense and depthwise ones can"
            )
        return (layer.out_channels, layer.in_channels)
    if isinstance(layer, nn.Linear):
        return (layer.out_features, layer.in_features)
    if isinstance(layer, nn.BatchNorm2d):
        return (layer.num_features,)
    if isinstance(layer, nn.LayerNorm):
        return tuple(layer.normalized_shape)
    # The position bias of window attention has no channels; all else is in its linear layers.
    if next(layer.parameters(recurse=False), None) is None or isinstance(
        layer, ShiftedWindowAttention
    ):
        return ()
    raise ValueError(f"a {type(layer).__name__} can't be thinned; it is not known which way")


def _norms(group: nn.Module, width: int, tied: set[int]) -> Tensor:
    """(width,) L1 norms of what writes each channel, be it once or in each part of a tied width.

    Raises:
        ValueError: nothing in the group writes this width.
    """
    of_weights = []
    for layer in group.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and _widths(layer)[0] in {width, *tied}:
            norms = layer.weight.detach().double().abs().flatten(1).sum(dim=1)
            share = norms / norms.sum().clamp_min(torch.finfo(norms.dtype).tiny)
            of_weights.append(share.view(-1, width).sum(dim=0))
    if not of_weights:
        raise ValueError(
            f"nothing in the group writes its {width} channels: say which of them are kept"
        )
    return torch.stack(of_weights).sum(dim=0)


def _largest(norms: Tensor, stratum: int, reduction: int) -> Tensor:
    """The channels with the largest norms, as many of each `stratum` consecutive ones."""
    kept = -(-stratum // reduction)
    order = norms.view(-1, stratum).argsort(dim=1, descending=True, stable=True)
    starts = torch.arange(0, len(norms), stratum, device=norms.device)
    return (order[:, :kept].sort(dim=1).values + starts[:, None]).flatten()


def chosen_channels(
    group: nn.Module, spec: GroupSpec, reduction: int, given: Mapping[int, Tensor]
) -> Channels:
    """The channels of every width in a group that are kept.

    Args:
        group: a module of convolutions, batch norms, linear layers and layer norms.
        spec: its channels in and out.
        reduction: r, at least one r-th of a width is kept.
        given: widths whose channels are chosen already, as those that the group reads are by the
            group in front of it.

    Raises:
        ValueError: layers that can't be thinned, or a width that is not given and that nothing in
            the group writes.
    """
    widths = {width for layer in group.modules() for width in _widths(layer)}
    attention = _attention(group)
    unit = attention.qkv.in_features if attention else 0
    tied = {w for w in widths if unit and w % unit == 0} - {unit, spec.out_channels}
    chosen: Channels = dict(given)
    for width in sorted(widths - given.keys()):
        if width in tied:
            starts = torch.arange(0, width, unit, device=chosen[unit].device)
            chosen[width] = (chosen[unit] + starts[:, None]).flatten()
            continue
        stratum = width
        if attention and width in (unit, spec.out_channels):
            # What the group hands on is in heads too: those of the next one are as wide.
            stratum = unit // attention.num_heads
        norms = _norms(group, width, tied if width == unit else set())
        chosen[width] = _largest(norms, stratum, reduction)
    return chosen


def thinned(group: nn.Module, chosen: Mapping[int, Tensor]) -> nn.Module:
    """A copy of a group that has the chosen channels only; the group is left untouched.

    Args:
        group: a module that `chosen_channels` takes.
        chosen: what it gave, or other channels of every width.

    Raises:
        ValueError: layers that can't be thinned.
    """
    thin = copy.deepcopy(group)
    for layer in thin.modules():
        kept = [chosen[width] for width in _widths(layer)]
        if isinstance(layer, nn.Conv2d):
            _keep(layer, "weight", kept if layer.groups == 1 else kept[:1])
            _keep(layer, "bias", kept[:1])
            layer.out_channels, layer.in_channels = len(kept[0]), len(kept[1])
            layer.groups = 1 if layer.groups == 1 else len(kept[0])
        elif isinstance(layer, nn.Linear):
            _keep(layer, "weight", kept)
            _keep(layer, "bias", kept[:1])
            layer.out_features, layer.in_features = len(kept[0]), len(kept[1])
        elif isinstance(layer, nn.BatchNorm2d):
            for name in ("weight", "bias", "running_mean", "running_var"):
                _keep(layer, name, kept)
            layer.num_features = len(kept[0])
        elif isinstance(layer, nn.LayerNorm):
            for name in ("weight", "bias"):
                _keep(layer, name, kept)
            layer.normalized_shape = (len(kept[0]),)
    return thin


def _keep(layer: nn.Module, name: str, kept: list[Tensor]) -> None:
    """Replaces a parameter or buffer, if the layer has it, by what is kept of it."""
    value: Tensor | None = getattr(layer, name)
    if value is None:
        return
    thin = value.detach()
    for dimension, channels in enumerate(kept):
        thin = thin.index_select(dimension, channels)
    setattr(layer, name, nn.Parameter(thin) if isinstance(value, nn.Parameter) else thin)
