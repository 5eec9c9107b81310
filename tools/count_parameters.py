"""Prints the table of docs/models.md: parameters of the models of the paper's Table 2."""

import torch

from patchline_ros.vision.model import MODELS, ModelSpec, TaskModel

CLASSES = tuple(f"class {i}" for i in range(6))
INPUT_SIZE = (350, 350)
PAPER = {
    "vgg16": 134.29,
    "ssd_vgg16": 24.41,
    "unet_vgg16": 24.89,
    "resnet50": 23.52,
    "retinanet_resnet50": 36.45,
    "unet_resnet50": 43.93,
    "mobilenet_v2": 2.23,
    "yolov4_mobilenet_v2": 12.10,
    "deeplabv3plus_mobilenet_v2": 5.82,
    "swin_t": 28.27,
    "retinanet_swin_t": 37.98,
    "deeplabv3plus_swin_t": 34.84,
}
"""Millions."""


def parameters(name: str) -> float:
    """Millions of parameters of a model with 6 classes, as on Core50, for 350x350 pixels."""
    with torch.device("meta"):
        model = TaskModel(ModelSpec.named(name, CLASSES, INPUT_SIZE))
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def table() -> str:
    """The table, in Markdown."""
    lines = [
        "| model | backbone | head | here, M | paper, M | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name, paper in PAPER.items():
        here = parameters(name)
        _, backbone, head = MODELS[name]
        lines.append(
            f"| `{name}` | {backbone} | {head} | {here:.2f} | {paper:.2f} | {here / paper:.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
