"""Segmenters: a light pyramid, U-Net and DeepLabv3+."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional

from patchline_ros.tasks import IGNORE, ClassMap, Label
from patchline_ros.vision.backbone import GroupedBackbone
from patchline_ros.vision.heads.base import Head, Pyramid, Reading

UNET_CHANNELS = (512, 256, 128, 64, 64)
"""Channels of the decoder's blocks, the deepest first: those with which U-Net-VGG16 and
U-Net-ResNet50 have the paper's number of parameters."""
ATROUS_RATES = (6, 12, 18)
DEEPLAB_CHANNELS = 256


class SegmentationHead(Head):
    """What segmenters share: a body that ends in one map, and a 1x1 classifier on it.

    Raw output: logits (B, C, H, W) at the input's size. Targets: class maps (B, H, W), IGNORE
    where nothing is known.
    """

    classifier: nn.Conv2d
    input_size: tuple[int, int]
    stride: int
    """Stride of the map that the body ends in."""

    def tail(self, features: list[Tensor]) -> Tensor:
        """Logits (B, C, H, W), stretched to the input's size."""
        logits: Tensor = self.classifier(features[0])
        if self.stride == 1:
            return logits
        stretched = functional.interpolate(
            logits, scale_factor=self.stride, mode="bilinear", align_corners=False
        )
        # A map of a picture whose size is no multiple of the stride reaches beyond its edge.
        height, width = self.input_size
        return stretched[..., :height, :width]

    def last_layers(self) -> list[nn.Module]:
        """The 1x1 classifier."""
        return [self.classifier]

    def loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy over the labelled pixels; 0 where there is none."""
        if bool((targets == IGNORE).all()):
            return 0 * raw.sum()
        return functional.cross_entropy(raw, targets, ignore_index=IGNORE)

    def decode(self, raw: Tensor) -> list[Label]:
        """The likeliest class of each pixel, uint8 (H, W)."""
        # The same as argmax, which takes several times as long on a CPU.
        return _class_maps(raw.max(dim=1).indices)

    def read(self, raw: Tensor) -> Reading:
        """All of it from one exponential of each logit, which is most of the work."""
        best = raw.max(dim=1, keepdim=True)
        below = raw - best.values
        odds = below.exp()
        total = odds.sum(dim=1)
        entropies = total.log() - below.mul_(odds).sum(dim=1) / total
        return Reading(
            labels=_class_maps(best.indices[:, 0]),
            confidences=total.reciprocal().mean(dim=(1, 2)),
            entropies=entropies.mean(dim=(1, 2)),
        )

    def class_logits(self, raw: Tensor) -> Tensor:
        """(B, C, H * W): each pixel is an output."""
        return raw.flatten(2)

    def confidence(self, raw: Tensor) -> Tensor:
        """(B,) probability of the likeliest class, mean over the pixels."""
        return raw.softmax(dim=1).amax(dim=1).mean(dim=(1, 2))


def _class_maps(classes: Tensor) -> list[Label]:
    """Classes (B, H, W) as one uint8 array an image."""
    maps: list[ClassMap] = list(classes.to(torch.uint8).cpu().numpy())
    return list(maps)


class PyramidSegmentationHead(SegmentationHead):
    """Sum of a pyramid's levels at the finest stride, 4 (Panoptic FPN's merge); the light one."""

    takes_crops = True

    def __init__(
        self, backbone: GroupedBackbone, classes: int, input_size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.input_size = input_size
        channels = 64
        reductions = tuple(sorted({r for r in backbone.reductions if r >= 4}))
        self.stride = reductions[0]
        self.pyramid = Pyramid(backbone, reductions, channels)
        self.norm = nn.GroupNorm(8, channels)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def body(self, taps: list[Tensor]) -> list[Tensor]:
        """One map at stride 4."""
        levels = self.pyramid(taps)
        size = levels[0].shape[-2:]
        merged = levels[0]
        for level in levels[1:]:
            merged = merged + functional.interpolate(
                level, size, mode="bilinear", align_corners=False
            )
        return [functional.relu(self.norm(merged))]


def _segmentation_models() -> ModuleType:
    """segmentation_models_pytorch, which only U-Net and DeepLabv3+ need.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import segmentation_models_pytorch
    except ModuleNotFoundError as error:
        raise ValueError(
            "U-Net and DeepLabv3+ need segmentation_models_pytorch: pip install "
            "'patchline_ros[models]'"
        ) from error
    return segmentation_models_pytorch


class UNetHead(SegmentationHead):
    """The U-Net decoder of segmentation_models_pytorch on the deepest tap of each stride."""

    def __init__(
        self, backbone: GroupedBackbone, classes: int, input_size: tuple[int, int]
    ) -> None:
        super().__init__()
        library = _segmentation_models()
        self.input_size = input_size
        self.stride = 1
        self.levels = [backbone.last_tap_at(r) for r in sorted(set(backbone.reductions))]
        channels = [backbone.channels[level] for level in self.levels]
        # One step up for each level but the finest, and one more to the input's size.
        steps = len(channels) - (backbone.reductions[self.levels[0]] == 1)
        self.decoder = library.decoders.unet.decoder.UnetDecoder(
            encoder_channels=(0, *channels),
            decoder_channels=UNET_CHANNELS[:steps],
            n_blocks=steps,
        )
        library.base.initialization.initialize_decoder(self.decoder)
        self.classifier = nn.Conv2d(UNET_CHANNELS[steps - 1], classes, 1)

    def body(self, taps: list[Tensor]) -> list[Tensor]:
        """One map at the input's size."""
        # The decoder reads the size of its last step off a first entry that it does not use.
        size = taps[0].new_empty((len(taps[0]), 0, *self.input_size))
        return [self.decoder([size, *(taps[level] for level in self.levels)])]


class DeepLabV3PlusHead(SegmentationHead):
    """The DeepLabv3+ decoder of segmentation_models_pytorch on the deepest tap and that at 4.

    The backbone is not dilated: the frozen groups stay those of the other models that share them.
    """

    takes_crops = True

    def __init__(
        self, backbone: GroupedBackbone, classes: int, input_size: tuple[int, int]
    ) -> None:
        super().__init__()
        library = _segmentation_models()
        self.input_size = input_size
        self.stride = 4
        self.fine = backbone.last_tap_at(self.stride)
        self.decoder = library.decoders.deeplabv3.decoder.DeepLabV3PlusDecoder(
            encoder_channels=(0, 0, backbone.channels[self.fine], backbone.channels[-1]),
            encoder_depth=3,
            out_channels=DEEPLAB_CHANNELS,
            atrous_rates=ATROUS_RATES,
            output_stride=16,
            aspp_separable=False,
            aspp_dropout=0.5,
        )
        library.base.initialization.initialize_decoder(self.decoder)
        self.classifier = nn.Conv2d(DEEPLAB_CHANNELS, classes, 1)

    def body(self, taps: list[Tensor]) -> list[Tensor]:
        """One map at stride 4."""
        fine = self.decoder.block1(taps[self.fine])
        # Not the decoder's own forward: that stretches by a fixed factor, which fits neither a
        # deepest tap at stride 32 nor a size that is no multiple of it.
        coarse = functional.interpolate(
            self.decoder.aspp(taps[-1]), fine.shape[-2:], mode="bilinear", align_corners=False
        )
        return [self.decoder.block2(torch.cat([coarse, fine], dim=1))]
