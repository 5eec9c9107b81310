"""Fixtures of the process tier."""

from demo_drives import shipped_bundle
from ros_fixtures import bench, bundle, car

__all__ = ["bench", "bundle", "car", "shipped_bundle"]
