"""Fixtures of the node tier."""

from ros_fixtures import bench, bundle

__all__ = ["bench", "bundle"]
