"""Fixtures of the process tier."""

from ros_fixtures import bench, bundle, car

__all__ = ["bench", "bundle", "car"]
