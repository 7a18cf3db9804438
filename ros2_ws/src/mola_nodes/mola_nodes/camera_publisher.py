"""From frames to the topics of one camera."""

from contextlib import ExitStack

from mola_core.contracts.site import CameraSpec
from mola_core.contracts.types import CameraInfo, Frame
from mola_nodes import graph
from mola_nodes.conversions import images
from mola_nodes.lifecycle import MolaNode


class CameraPublisher:
    """The publishers of the camera with ``role``; :meth:`publish` may be called from the camera's thread."""

    def __init__(self, node: MolaNode, *, role: str, stack: ExitStack) -> None:
        topics = graph.camera_topics(role)
        self._frame_id = graph.optical_frame(role)
        self._color = node.open_publisher(topics.color, stack)
        self._color_info = node.open_publisher(topics.color_info, stack)
        self._metadata = node.open_publisher(topics.color_metadata, stack)
        self._depth = node.open_publisher(topics.depth, stack)
        self._depth_info = node.open_publisher(topics.depth_info, stack)
        self._mount = node.open_publisher(topics.mount, stack)

    def publish(self, frame: Frame, info: CameraInfo) -> None:
        """One frame on all topics, under its capture stamp; the metadata first, because it says how the rest came."""
        self._metadata.publish(images.metadata_message(frame))
        self._color.publish(images.color_message(frame, frame_id=self._frame_id))
        # the depth is aligned to colour, so it has the calibration of the colour camera
        calibration = images.camera_info_message(info.color, stamp_ns=frame.stamp_ns, frame_id=self._frame_id)
        self._color_info.publish(calibration)
        if frame.depth is not None:
            self._depth.publish(images.depth_message(frame, frame_id=self._frame_id))
            self._depth_info.publish(calibration)

    def publish_mount(self, spec: CameraSpec, *, stamp_ns: int) -> None:
        """Where the site says that the camera sits."""
        parent = graph.BASE_FRAME if spec.base_from_camera is not None else graph.TCP_FRAME
        self._mount.publish(
            images.mount_message(
                spec.parent_from_camera, parent_frame=parent, camera_frame=self._frame_id, stamp_ns=stamp_ns
            )
        )
