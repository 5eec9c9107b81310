"""PatchLine: a frozen source model with patches beside its first k groups, in one of three wirings.

    inline     x[i] = G[i](x[i-1]) + P[i](x[i-1])       ordinary gradient, through the frozen groups
    detached   x[i] = sg(G[i](x[i-1])) + P[i](x[i-1])   no gradient through frozen groups: biased
    side       x[i] = f[i] + P[i](x[i-1])               f: the frozen path, which sees no patch

sg is stop-gradient. Side wiring changes what the paper writes down as x = G(x) + P(x) least in
cost and most in meaning: the frozen path stays that of the source, so no gradient has to cross it,
the gradient is exact all the same, and the frozen activations depend on the picture alone.

Detached and side wiring lead a gradient only along the patches. Where the last group has none, a
classifier behind it would leave them without any: an *exit*, one more patch, leads from the last
patched tap to the deepest one. Over a skipped group the next patch spans the gap for the same
reason. Inline wiring needs neither.

A *side head* goes on where side wiring stops: the head's body is frozen too and sees no patch, head
patches stand beside it, and only its last layers are trained. Nothing of the decoder is computed
after the first epoch then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from patchline_ros.config_files import StrictModel
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.patching.head_patch import HeadPatch
from patchline_ros.patching.patch import Patch, PatchDesign
from patchline_ros.vision.backbone import spanned
from patchline_ros.vision.model import TaskModel

Wiring = Literal["inline", "detached", "side"]
HEAD_PATCH_CHANNELS = 64
FINEST_READ = 4
"""Least total stride of the taps that head patches read; finer ones cost more than they tell."""

Size = tuple[int, ...]


class PatchSettings(StrictModel):
    """How a model is patched; the defaults are the product's."""

    method: Literal["patchline"] = "patchline"
    k: int = Field(ge=1)
    """Groups 1..k, counted from the input, get a patch."""
    wiring: Wiring = "side"
    skip: frozenset[int] = frozenset()
    """Groups among 1..k that get no patch after all (paper, section 6.3.1)."""
    design: PatchDesign = PatchDesign()
    head: Literal["trained", "frozen", "side"] = "trained"

    @model_validator(mode="after")
    def _side_head_beside_side_patches(self) -> PatchSettings:
        if self.head == "side" and self.wiring != "side":
            raise ValueError(
                f"a side head stands beside a head that sees no patch; {self.wiring} wiring "
                "changes what it sees, so use side wiring"
            )
        return self

    @model_validator(mode="after")
    def _something_is_patched(self) -> PatchSettings:
        # k may come from outside and be any number: nothing as long as it is built.
        named = all(1 <= group <= self.k for group in self.skip)
        if not named or len(self.skip) >= self.k:
            raise ValueError(
                f"groups {sorted(self.skip)} can't be skipped: of groups 1 to {self.k} at least "
                "one must be patched, and no others named"
            )
        return self


class _Edge(NamedTuple):
    """A patch that reads one tap and adds to a deeper one."""

    start: int
    end: int


def _edges(settings: PatchSettings, groups: int) -> list[_Edge]:
    patched = [i for i in range(1, settings.k + 1) if i not in settings.skip]
    if settings.wiring == "inline":
        return [_Edge(i - 1, i) for i in patched]
    ends = patched if patched[-1] == groups else [*patched, groups]
    return [_Edge(start, end) for start, end in zip([0, *ends], ends, strict=False)]


class PatchedModel(AdaptedModel):
    """A frozen copy of a source model with patches, and a head of its own to train."""

    def __init__(self, source: TaskModel, settings: PatchSettings) -> None:
        """Copies `source`, which is left untouched.

        Raises:
            ValueError: k is larger than the number of groups.
        """
        super().__init__(source)
        specs = self.backbone.specs
        if settings.k > len(specs):
            raise ValueError(
                f"{settings.k} patches asked for; the backbone {self.spec.backbone} takes 1 to "
                f"{len(specs)}"
            )
        self.settings = settings
        self._edges = _edges(settings, len(specs))
        self.patches = nn.ModuleList(
            Patch(spanned(specs[edge.start : edge.end]), settings.design) for edge in self._edges
        )
        self.head_patches = nn.ModuleList()
        self._read: list[list[int]] = []
        if settings.head == "trained":
            self.head.requires_grad_(True)
        elif settings.head == "side":
            self._add_head_patches()

    def _add_head_patches(self) -> None:
        """One for each output of the head's body; the last layers are trained with them."""
        channels = self.backbone.channels
        taps, features = self._shapes()
        strides = sorted({stride for stride in self.backbone.reductions if stride >= FINEST_READ})
        readable = [self.backbone.last_tap_at(stride) for stride in strides]
        for feature in features:
            # A vector reads every tap; a map those that are no finer than itself.
            read = [tap for tap in readable if feature[1:] == () or taps[tap][1] <= feature[1]]
            self._read.append(read or readable[-1:])
            widths = [channels[tap] for tap in self._read[-1]]
            self.head_patches.append(HeadPatch(widths, feature[0], HEAD_PATCH_CHANNELS))
        for layer in self.head.last_layers():
            layer.requires_grad_(True)

    def _shapes(self) -> tuple[list[Size], list[Size]]:
        """(C, H, W) of the taps, and (C, H, W) or (C,) of each output of the head's body."""
        with torch.no_grad():
            taps = self.backbone(self.black_picture())
            features = self.head.body(taps)
        return [tuple(tap.shape[1:]) for tap in taps], [tuple(f.shape[1:]) for f in features]

    @property
    def _frozen_depth(self) -> int:
        """Deepest tap that no patch has changed on its way."""
        if self.settings.wiring == "side":
            return len(self.backbone.specs)
        return self._edges[0].end

    def trained_modules(self) -> list[nn.Module]:
        """The patches, and the head or what of it is trained."""
        trained: list[nn.Module] = [self.patches]
        if self.settings.head == "trained":
            trained.append(self.head)
        elif self.settings.head == "side":
            trained += [self.head_patches, *self.head.last_layers()]
        return trained

    def frozen_part(self, images: Tensor) -> list[Tensor]:
        """Taps up to the first that a patch adds to; all of them in side wiring.

        With a side head also what the head's body gives for them.
        """
        with torch.no_grad():
            taps: list[Tensor] = [self.backbone.stem(images)]
            for group in self.backbone.groups[: self._frozen_depth]:
                taps.append(group(taps[-1]))
            return [*taps, *self.head.body(taps)] if self.settings.head == "side" else taps

    def patched_taps(self, frozen: list[Tensor]) -> list[Tensor]:
        """The taps that the head reads."""
        crossing: AbstractContextManager[object] = (
            torch.no_grad() if self.settings.wiring == "detached" else nullcontext()
        )
        summands = dict(zip((edge.end for edge in self._edges), self._patches(), strict=True))
        taps = [frozen[0]]
        for i, group in enumerate(self.backbone.groups, start=1):
            if i < len(frozen):
                tap = frozen[i]
            else:
                with crossing:
                    tap = group(taps[-1])
            if i in summands:
                start, patch = summands[i]
                height, width = tap.shape[-2:]
                # A chain of pools rounds a size down where one stride rounds it up.
                tap = tap + patch(taps[start])[..., :height, :width]
            taps.append(tap)
        return taps

    def _patches(self) -> Iterator[tuple[int, nn.Module]]:
        """Each patch with the tap that it reads."""
        for edge, patch in zip(self._edges, self.patches, strict=True):
            yield edge.start, patch

    def trained_part(self, frozen: list[Tensor]) -> Any:
        """Raw outputs of the head."""
        if self.settings.head != "side":
            return self.head(self.patched_taps(frozen))
        count = len(self.backbone.specs) + 1
        taps = self.patched_taps(frozen[:count])
        features = [
            feature + patch([taps[i] for i in read], feature)
            for feature, patch, read in zip(
                frozen[count:], self.head_patches, self._read, strict=True
            )
        ]
        return self.head.tail(features)

    def warm_start(self, other: PatchedModel) -> None:
        """Takes over the trained patches of a model with the same backbone architecture.

        Raises:
            ValueError: the other model's patches have another number, wiring, design or channels.
        """
        if other.settings != self.settings or other.backbone.specs != self.backbone.specs:
            raise ValueError(
                f"patches move between equal backbones and settings only: {other.settings.k} "
                f"{other.settings.wiring} patches on {other.backbone.channels} channels do not "
                f"fit {self.settings.k} {self.settings.wiring} ones on {self.backbone.channels}"
            )
        self.patches.load_state_dict(other.patches.state_dict())
