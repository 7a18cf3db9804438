"""What one teacher's labels of a dataset are: the file ``info.json`` beside them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mola_core.data.labels.rigid_flow import Pinhole


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LabelCamera(_Record):
    """The label maps of one camera: their size, and where they look."""

    width: int = Field(ge=1)
    height: int = Field(ge=1)
    focal: float = Field(gt=0.0)
    """Pixels of the map."""

    @property
    def pinhole(self) -> Pinhole:
        """With the principal point in the middle."""
        return Pinhole(self.width, self.height, self.focal, (self.width - 1) / 2, (self.height - 1) / 2)


class RigidSceneInfo(_Record):
    """Depth, geom numbers and poses from a simulator, from which semantic maps and the flow between any two rows follow.

    Arrays of an episode of R rows: ``depth/CAMERA`` uint16 [R, h, w], ``geom/CAMERA`` uint8 [R, h, w] (255: nothing),
    ``base_from_camera/CAMERA`` float32 [R, 3, 4], ``base_from_body`` float32 [R, bodies, 3, 4]; with ``refers`` also
    ``part_of_class`` uint8 [R, classes], the part of each class in the instruction (:data:`mola_core.data.sample.ACTED_ON`).
    """

    kind: Literal["rigid_scene"] = "rigid_scene"
    format: Literal[1] = 1
    teacher: str
    cameras: dict[str, LabelCamera]
    depth_unit_m: float = Field(gt=0.0)
    """Of one count; 0 counts: unknown."""
    classes: tuple[str, ...]
    class_of_geom: tuple[int, ...]
    body_of_geom: tuple[int, ...]
    refers: bool = False
    """Whether it says what the instruction speaks of; older labels do not."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Which of :data:`mola_core.data.sample.LABELS` it gives."""
        return ("depth", "semantic", "flow", *(("referred",) if self.refers else ()))


class MapsInfo(_Record):
    """Maps from a picture model. Arrays of an episode of R rows, by what is in ``labels``:

    ``depth/CAMERA`` uint16 [R, h, w], 0 unknown, times ``depth_scale/CAMERA`` float32 [R] in ``depth_unit``;
    ``semantic/CAMERA`` int8 [R, h, w, D] times ``semantic_scale/CAMERA`` float32 [R, D];
    ``flow+K/CAMERA`` int16 [R, h, w, 2], from each row to the one K later, in ``flow_unit`` fractions of the view, and
    ``flow_known+K/CAMERA`` uint8 [R, h, w].
    """

    kind: Literal["maps"] = "maps"
    format: Literal[1] = 1
    teacher: str
    model: str
    """Which weights."""
    labels: tuple[str, ...]
    sizes: dict[str, tuple[int, int]]
    """(width, height) of the maps of each camera."""
    depth_unit: Literal["metres", "relative"] = "relative"
    """``relative``: inverse depth up to a factor and an offset of each frame's own (:mod:`.relative_depth`), as monocular models give
    it, and as all maps were before this was said."""
    flow_offsets: tuple[int, ...] = ()
    flow_unit: float = Field(default=2.0**-13, gt=0.0)


LabelInfo = Annotated[RigidSceneInfo | MapsInfo, Field(discriminator="kind")]
