"""Puts patches beside a segmenter of your own, and trains them on pictures of a drift.

    python examples/adapt_own_segmenter.py

The network here is a small one that is trained in a few seconds on the simulated road. Yours needs
two parts: a `GroupedBackbone`, which says where its groups begin, and a head that reads the taps.
"""

from itertools import pairwise

import torch
from torch import nn

from patchline_ros.adaptation.trainer import train_adapted
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.sim import LANE_CLASSES, Condition, RoadSimulator
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.backbone import GroupedBackbone, GroupSpec
from patchline_ros.vision.evaluation import evaluate
from patchline_ros.vision.heads.segmentation import PyramidSegmentationHead
from patchline_ros.vision.inputs import image_tensor, resized
from patchline_ros.vision.model import ModelSpec, TaskModel

SIZE = (96, 128)
CHANNELS = (16, 32, 48, 64, 96)
"""Of the stem and of each group; every group halves the map, to a stride of 32."""


def block(before: int, after: int) -> nn.Sequential:
    """A group of the network: it halves the map."""
    convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


class OwnSegmenter(TaskModel):
    """A network of one's own, in the form that patches can stand beside."""

    def __init__(self, spec: ModelSpec) -> None:
        nn.Module.__init__(self)
        self.spec = spec
        pairs = list(pairwise(CHANNELS))
        self.backbone = GroupedBackbone(
            stem=block(3, CHANNELS[0]),
            groups=[block(before, after) for before, after in pairs],
            specs=[GroupSpec(before, after, stride=2) for before, after in pairs],
            stem_stride=2,
        )
        self.head = PyramidSegmentationHead(self.backbone, len(spec.classes), spec.input_size)


def drive(seed: int, weather: Condition, count: int) -> list[Sample]:
    """Labelled pictures of the simulated road."""
    road = RoadSimulator(seed, SIZE)
    frames = [road.frame(20 * i, weather) for i in range(count)]
    return [resized(frame.samples[Task.SEGMENTATION], SIZE) for frame in frames]


def train(model: OwnSegmenter, samples: list[Sample], epochs: int) -> None:
    """An ordinary training loop: nothing in it knows of patches."""
    images = torch.stack([image_tensor(sample.image) for sample in samples])
    maps = torch.stack([torch.as_tensor(sample.label).long() for sample in samples])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(samples)).split(8):
            optimiser.zero_grad()
            model.head.loss(model(images[batch]), maps[batch]).backward()
            optimiser.step()


def main() -> None:
    """Trains on clear roads, and then patches on night."""
    torch.manual_seed(0)
    spec = ModelSpec(task=Task.SEGMENTATION, classes=LANE_CLASSES, input_size=SIZE)
    source = OwnSegmenter(spec)
    train(source, drive(1, Condition.CLEAR, 48), epochs=10)
    source.eval()

    night, test = drive(2, Condition.NIGHT, 30), drive(3, Condition.NIGHT, 20)
    patched = PatchedModel(source, PatchSettings(k=4))
    train_adapted(patched, night[:24], night[24:], [], TrainingSettings(rate=3.0), seed=0)
    trained = sum(p.numel() for p in patched.parameters() if p.requires_grad)
    print(f"{trained} weights were trained; the backbone's stayed frozen")
    print(f"clear roads:          {evaluate(source, drive(3, Condition.CLEAR, 20)):.1%} mean IoU")
    print(f"night, source model:  {evaluate(source, test):.1%}")
    print(f"night, with patches:  {evaluate(patched.eval(), test):.1%}")


if __name__ == "__main__":
    main()
