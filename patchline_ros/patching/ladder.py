"""Ladder-Side-Tuning, which PatchLine is compared with.

    s[0] = down[0](h[0])
    s[i] = mu[i] B[i](s[i-1]) + (1 - mu[i]) down[i](h[i])        mu[i] = sigmoid(alpha[i] / 0.1)
    x[j] = h[e(j)] + up[j](s[e(j)])

h[0] is the stem's tap; h[i] is the output of group i (rungs of stages) or of the i-th block of all
groups (rungs of blocks), and e(j) is the rung at which group j ends. B[i] is that group or block
with a 1/r of its channels. down[i] and up[j] are 1x1 convolutions without bias; alpha[i] is one
number, 0 at the start. x[j] is what the head reads in place of tap j; tap 0 stays as it is, and a
tap that the head does not read has no up. The backbone never sees the side path: it runs without
a gradient, and all h can be computed once for all epochs, just as for patches.

Source: Sung, Cho, Bansal, "LST: Ladder Side-Tuning for Parameter and Memory Efficient Transfer
Learning", NeurIPS 2022, for transformers of text and of text with pictures: the gated ladder, its
temperature, its alpha, and side blocks that start as pruned backbone blocks. The rest is ours,
since there is no such ladder for convolutional or windowed vision models:

- the rungs, which follow the blocks' own strides and widths, and so the two densities of them;
- pruning by L1 norm, with one choice of channels for each width of a group (see `pruning`);
- down starts as the choice of these channels, so that both summands of a rung mean the same;
- an up for each tap, since dense heads read several; it starts at zero, so that a fresh ladder
  changes nothing, as fresh patches do;
- the side blocks' norms have statistics of their own, which begin as the source's and then follow
  the training; dropped paths (Swin-T) are dropped at the source's rates.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from patchline_ros.config_files import StrictModel
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.patching.pruning import Channels, chosen_channels, thinned
from patchline_ros.vision.backbone import GroupedBackbone
from patchline_ros.vision.heads.base import Head
from patchline_ros.vision.model import TaskModel

Rungs = Literal["stage", "block"]
TEMPERATURE = 0.1
_PICTURE_CHANNELS = 3


class LadderSettings(StrictModel):
    """How a ladder is built."""

    method: Literal["lst"] = "lst"
    reduction: Literal[4, 8] = 4
    """r: the side path has 1/r of the backbone's channels."""
    rungs: Rungs = "stage"
    """A rung behind each group, or behind each of its blocks."""
    head: Literal["trained", "frozen"] = "trained"


def _steps(group: nn.Module, rungs: Rungs) -> list[nn.Module]:
    return [group] if rungs == "stage" else list(group.children())


def _activations(backbone: GroupedBackbone, images: Tensor, rungs: Rungs) -> list[Tensor]:
    """h[0], h[1], ... of images (B, 3, H, W)."""
    activations: list[Tensor] = [backbone.stem(images)]
    for group in backbone.groups:
        for step in _steps(group, rungs):
            activations.append(step(activations[-1]))
    return activations


def _taps_read(head: Head, taps: list[Tensor]) -> list[int]:
    """Indices of the taps that a head's outputs depend on."""
    with torch.enable_grad():
        leaves = [tap.detach().requires_grad_() for tap in taps]
        total = torch.stack([features.sum() for features in head.body(leaves)]).sum()
        gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    return [i for i, gradient in enumerate(gradients) if gradient is not None]


def _choice(channels: int, chosen: Tensor, like: Tensor) -> nn.Conv2d:
    """A 1x1 convolution that starts as the choice of some channels."""
    convolution = nn.Conv2d(
        channels, len(chosen), 1, bias=False, device=like.device, dtype=like.dtype
    )
    with torch.no_grad():
        rows = torch.eye(channels, device=like.device).index_select(0, chosen)
        convolution.weight.copy_(rows[:, :, None, None])
    return convolution


def _nothing(in_channels: int, out_channels: int, like: Tensor) -> nn.Conv2d:
    """A 1x1 convolution that starts at zero."""
    convolution = nn.Conv2d(
        in_channels, out_channels, 1, bias=False, device=like.device, dtype=like.dtype
    )
    nn.init.zeros_(convolution.weight)
    return convolution


class Ladder(nn.Module):
    """The side path: thin copies of a backbone's groups or blocks, and what joins them to it."""

    def __init__(
        self,
        backbone: GroupedBackbone,
        settings: LadderSettings,
        widths: list[int],
        taps_read: list[int],
    ) -> None:
        """Makes a fresh ladder beside a backbone, which is left untouched.

        Args:
            backbone: with the weights that the side path starts from.
            settings: reduction and rungs.
            widths: channels of h[0], h[1], ...
            taps_read: the taps that the head reads; all but tap 0 get an up.

        Raises:
            ValueError: the backbone has layers that can't be thinned.
        """
        super().__init__()
        like = next(backbone.parameters())
        chosen: Channels = {}
        if widths[0] == _PICTURE_CHANNELS:
            # VGG16 has no stem: the picture itself is read, and whole.
            chosen[widths[0]] = torch.arange(widths[0], device=like.device)
        steps: list[nn.Module] = []
        downs: list[nn.Module] = []
        ups: dict[str, nn.Module] = {}
        ends = [0]
        for tap, (group, spec) in enumerate(
            zip(backbone.groups, backbone.specs, strict=True), start=1
        ):
            handed_on = {w: kept for w, kept in chosen.items() if w == spec.in_channels}
            chosen = chosen_channels(group, spec, settings.reduction, handed_on)
            if not downs:
                downs.append(_choice(widths[0], chosen[widths[0]], like))
            for step in _steps(thinned(group, chosen), settings.rungs):
                steps.append(step)
                width = widths[len(steps)]
                downs.append(_choice(width, chosen[width], like))
            ends.append(len(steps))
            if tap in taps_read:
                thin = len(chosen[spec.out_channels])
                ups[str(tap)] = _nothing(thin, spec.out_channels, like)
        self._ends = tuple(ends)
        self.steps = nn.ModuleList(steps).requires_grad_(True)
        self.downs = nn.ModuleList(downs)
        self.ups = nn.ModuleDict(ups)
        self.alpha = nn.Parameter(torch.zeros(len(steps), device=like.device, dtype=like.dtype))

    def forward(self, activations: list[Tensor]) -> list[Tensor]:
        """The taps x[0], x[1], ..., from h[0], h[1], ..."""
        shares = torch.sigmoid(self.alpha / TEMPERATURE)
        thin = [self.downs[0](activations[0])]
        for share, step, down, wide in zip(
            shares, self.steps, self.downs[1:], activations[1:], strict=True
        ):
            thin.append(share * step(thin[-1]) + (1 - share) * down(wide))
        taps = [activations[end] for end in self._ends]
        for tap, up in self.ups.items():
            taps[int(tap)] = taps[int(tap)] + up(thin[self._ends[int(tap)]])
        return taps


class LadderModel(AdaptedModel):
    """A frozen copy of a source model with a ladder beside it, and a head of its own to train."""

    def __init__(self, source: TaskModel, settings: LadderSettings) -> None:
        """Copies `source`, which is left untouched.

        Raises:
            ValueError: the backbone has layers that can't be thinned.
        """
        super().__init__(source)
        self.settings = settings
        picture = self.black_picture()
        with torch.no_grad():
            widths = [h.shape[1] for h in _activations(self.backbone, picture, settings.rungs)]
            taps = self.backbone(picture)
        self.ladder = Ladder(self.backbone, settings, widths, _taps_read(self.head, taps))
        if settings.head == "trained":
            self.head.requires_grad_(True)

    def trained_modules(self) -> list[nn.Module]:
        """The ladder, and the head when it is trained."""
        return [self.ladder, self.head] if self.settings.head == "trained" else [self.ladder]

    def frozen_part(self, images: Tensor) -> list[Tensor]:
        """The backbone's activations at all rungs."""
        with torch.no_grad():
            return _activations(self.backbone, images, self.settings.rungs)

    def trained_part(self, frozen: list[Tensor]) -> Any:
        """Raw outputs of the head."""
        return self.head(self.ladder(frozen))
