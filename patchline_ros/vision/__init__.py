"""Backbones cut into convolution groups, task heads on them, their inputs and metrics."""
