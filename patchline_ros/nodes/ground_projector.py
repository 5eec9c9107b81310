"""The node that puts the lane segmenter's mask on the ground before the car."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NoReturn

from nav_msgs.msg import OccupancyGrid
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from patchline_ros.geometry.boundaries import find_boundaries
from patchline_ros.geometry.camera_model import CameraModel, CameraModelError
from patchline_ros.geometry.frames import FixedFrames, FrameError
from patchline_ros.geometry.mounted_camera import MountedCamera, Pose
from patchline_ros.geometry.occupancy import DrivableGrid, GridShape
from patchline_ros.geometry.surface import Surface
from patchline_ros.graph.description import (
    ANSWER_OF_TASK,
    NODE_OF_TASK,
    ROAD_IMAGE_TOPIC,
    camera_info_topic,
)
from patchline_ros.messages.labels import ConversionError
from patchline_ros.messages.pictures import image_to_classmap
from patchline_ros.nodes import parameters, qos
from patchline_ros.nodes.ground_messages import (
    boundaries_to_cloud,
    boundaries_to_markers,
    grid_to_msg,
    pose_of_transform,
)
from patchline_ros.nodes.input_watchdog import InputWatchdog
from patchline_ros.nodes.managed import ManagedNode
from patchline_ros.nodes.node_main import run
from patchline_ros.nodes.parameter import ParameterError
from patchline_ros.nodes.refusals import Refusals
from patchline_ros.nodes.trouble import Trouble
from patchline_ros.tasks import ClassMap, Task
from patchline_ros.word_lists import comma_separated

_MOST_CELLS: Final = 4_000_000
"""Of a grid: 4 MB of each message."""
_LOG_AGAIN_SECONDS: Final = 5.0
_NEWEST: Final = QoSProfile(depth=1)
_STATIC_FRAMES: Final = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""Each of the programs that tell of frames keeps its own last message."""


class GroundProjector(ManagedNode):
    """Masks to a grid of the drivable area, and to the road's edges and lines, in metres."""

    def __init__(self) -> None:
        super().__init__("ground_projector", parameters.GROUND_PROJECTOR)

    def configure(self, values: Mapping[str, Any]) -> None:
        """Reads which classes there are. Raises BundleError or ParameterError."""
        bundle = self.load_bundle(values)
        if Task.SEGMENTATION not in bundle.manifest.models:
            raise ParameterError(f"bundle {bundle.path} has no model for lanes")
        try:
            self._surface = Surface.of_names(
                bundle.spec(Task.SEGMENTATION).classes,
                drivable=comma_separated(values["drivable_classes"]),
                line=comma_separated(values["line_classes"]),
                standing=comma_separated(values["standing_classes"]),
            )
        except ValueError as error:
            raise ParameterError(f"drivable, line and standing classes: {error}") from error
        self._shape = GridShape(values["reach"], values["width"], values["resolution"])
        rows, columns = self._shape.cells
        if not 0 < rows * columns <= _MOST_CELLS:
            raise ParameterError(
                f"reach {values['reach']}, width {values['width']} and resolution "
                f"{values['resolution']} make {rows} x {columns} cells; take 1 to {_MOST_CELLS}"
            )
        self._frame: str = values["ground_frame"]
        self._height: float = values["camera_height"]
        self._pitch: float = values["camera_pitch"]
        self._field_of_view: float = values["field_of_view"]
        self._grids = self.advertise(OccupancyGrid, "~/drivable", qos.LATCHED)
        self._points = self.advertise(PointCloud2, "~/boundary_points", qos.RESULTS)
        self._lines = self.advertise(MarkerArray, "~/boundaries", qos.RESULTS)

    def activate(self) -> None:
        """Listens to the mask, and to what says where the camera is and how it projects."""
        self._info: CameraInfo | None = None
        self._fixed = FixedFrames()
        self._refused = Refusals("masks refused")
        self._projected = 0
        self._grid_of = lru_cache(maxsize=1)(self._make_grid)
        topic = f"{NODE_OF_TASK[Task.SEGMENTATION]}/{ANSWER_OF_TASK[Task.SEGMENTATION]}"
        masks = self.subscribe(Image, topic, self._on_mask, _NEWEST, overridable=True)
        self._watchdog = InputWatchdog(self, "mask", masks, "check that the lane_segmenter runs")
        self._info_topic = camera_info_topic(self.resolve_topic_name(ROAD_IMAGE_TOPIC))
        self.subscribe(CameraInfo, self._info_topic, self._on_info, qos.images())
        self.subscribe(TFMessage, "/tf_static", self._on_frames, _STATIC_FRAMES)

    def report(self) -> tuple[Trouble, Mapping[str, object]]:
        """How many masks came to the ground, and why others did not."""
        trouble = self._watchdog.trouble() or self._refused.trouble()
        return trouble, {"projected": self._projected, "refused": self._refused.count}

    def _on_info(self, msg: CameraInfo) -> None:
        msg.header = Header()  # its time alone is no news
        if msg != self._info:
            self._info = msg
            self._grid_of.cache_clear()

    def _on_frames(self, msg: TFMessage) -> None:
        for transform in msg.transforms:
            try:
                pose = pose_of_transform(transform)
                self._fixed.tell(transform.child_frame_id, transform.header.frame_id, pose)
            except (ValueError, FrameError) as error:
                self.get_logger().error(str(error), throttle_duration_sec=_LOG_AGAIN_SECONDS)
        self._grid_of.cache_clear()

    def _on_mask(self, msg: Image) -> None:
        self._watchdog.heard()
        try:
            mask = image_to_classmap(msg)
            height, width = mask.shape
            grid = self._grid_of(msg.header.frame_id, width, height)
        except (ConversionError, CameraModelError, FrameError) as error:
            self._refused.add(str(error))
            sentence = f"mask not put on the ground: {error}"
            self.get_logger().error(sentence, throttle_duration_sec=_LOG_AGAIN_SECONDS)
            return
        self._refused.taken()
        self._publish(mask, grid, Header(stamp=msg.header.stamp, frame_id=self._frame))
        self._projected += 1

    def _publish(self, mask: ClassMap, grid: DrivableGrid, header: Header) -> None:
        """What somebody listens to."""
        if self._grids.get_subscription_count():
            self._grids.publish(grid_to_msg(grid.of(mask), self._shape, header))
        if self._points.get_subscription_count() or self._lines.get_subscription_count():
            found = find_boundaries(mask, self._surface, grid.camera, self._shape.reach)
            self._points.publish(boundaries_to_cloud(found, header))
            self._lines.publish(boundaries_to_markers(found, header))

    def _make_grid(self, frame: str, width: int, height: int) -> DrivableGrid:
        """For masks of that size in that frame.

        Raises:
            CameraModelError: how the camera projects is not known.
            FrameError: where it is is not known.
        """
        pose = (
            Pose.of_camera(self._height, self._pitch)
            if self._height
            else self._fixed.pose(frame, self._frame)
        )
        return DrivableGrid(
            MountedCamera(self._model(width, height), pose), self._shape, self._surface
        )

    def _model(self, width: int, height: int) -> CameraModel:
        if self._field_of_view:
            return CameraModel.of_field_of_view(width, height, self._field_of_view)
        if self._info is None:
            raise CameraModelError(
                f"no camera_info has come on {self._info_topic}; have the camera driver publish "
                "it, or state field_of_view"
            )
        model = CameraModel.of_message(self._info)
        if (model.width, model.height) != (width, height):
            raise CameraModelError(
                f"camera_info is of pictures of {model.width} x {model.height}, the mask is "
                f"{width} x {height}"
            )
        return model


def main() -> NoReturn:
    """Runs the node in this process until it is told to end."""
    run(GroundProjector)


if __name__ == "__main__":
    main()
