"""The simulated road: a camera source with weather and labels that needs no download."""

from patchline_ros.sim.labels import LANE_CLASSES, OBJECT_CLASSES, SIGN_CLASSES
from patchline_ros.sim.light import Condition
from patchline_ros.sim.simulator import RoadSimulator

__all__ = ["LANE_CLASSES", "OBJECT_CLASSES", "SIGN_CLASSES", "Condition", "RoadSimulator"]
