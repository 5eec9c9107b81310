"""Backbones cut into convolution groups, task heads on them, their inputs and metrics."""

# Before any module of this package imports torchvision.
import patchline_ros.vision.torchvision_ops  # noqa: F401
