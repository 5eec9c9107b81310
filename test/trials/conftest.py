"""Fixtures of the trials tier."""

from ros_fixtures import bench, bundle, car

__all__ = ["bench", "bundle", "car"]
