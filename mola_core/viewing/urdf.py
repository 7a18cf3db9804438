"""A URDF of the UR5e with its gripper, from the same Denavit-Hartenberg parameters as the kinematics; shapes are cylinders and boxes.

Link ``i`` is DH frame ``i - 1`` turned by joint ``i``; ``flange`` and ``tcp`` follow. The fingers slide apart by
:data:`FINGER_TRAVEL` each.
"""

from dataclasses import dataclass
from math import atan2, hypot, pi
from xml.etree.ElementTree import Element, SubElement, tostring

from mola_core.contracts.types import JOINT_NAMES
from mola_core.control.kinematics import A2, A3, D1, D4, D5, D6

ROOT_LINK = "base"
FINGER_JOINTS = ("left_finger_joint", "right_finger_joint")
FINGER_TRAVEL = 0.0425
"""m, from closed to open."""

_OFFSETS = ((0.0, D1), (A2, 0.0), (A3, 0.0), (0.0, D4), (0.0, D5), (0.0, D6))
"""(a, d) of each DH row, m."""
_TWISTS = (pi / 2, 0.0, 0.0, pi / 2, -pi / 2, 0.0)
_PALM_FRACTION = 0.6
"""The gripper's body ends this far along the way from flange to TCP."""

Point = tuple[float, float, float]
_GREY, _BLUE, _DARK = "0.78 0.79 0.80 1", "0.36 0.62 0.80 1", "0.30 0.31 0.33 1"


@dataclass(frozen=True, slots=True)
class _Tube:
    """A cylinder between two points of a link, m."""

    start: Point
    end: Point
    radius: float
    colour: str = _GREY


_TUBES: dict[str, tuple[_Tube, ...]] = {
    "base": (_Tube((0, 0, 0), (0, 0, 0.09), 0.075),),
    "shoulder_pan": (
        _Tube((0, 0, 0.09), (0, 0, D1 + 0.055), 0.06),
        _Tube((0, 0.062, D1), (0, -0.085, D1), 0.058, _BLUE),
    ),
    "shoulder_lift": (
        _Tube((0, 0, 0.075), (0, 0, 0.203), 0.059, _BLUE),
        _Tube((0, 0, 0.138), (A2, 0, 0.138), 0.046),
        _Tube((A2, 0, 0.08), (A2, 0, 0.2), 0.05, _BLUE),
    ),
    "elbow": (
        _Tube((0, 0, -0.035), (0, 0, 0.08), 0.05),
        _Tube((0, 0, 0.012), (A3, 0, 0.012), 0.038),
        _Tube((A3, 0, -0.046), (A3, 0, 0.075), 0.04, _BLUE),
    ),
    "wrist_1": (_Tube((0, 0, 0.075), (0, 0, D4 + 0.046), 0.038, _BLUE), _Tube((0, 0.03, D4), (0, -0.045, D4), 0.038)),
    "wrist_2": (_Tube((0, 0, 0.045), (0, 0, D5 + 0.046), 0.038, _BLUE), _Tube((0, -0.03, D5), (0, 0.045, D5), 0.038)),
    "wrist_3": (_Tube((0, 0, 0.045), (0, 0, D6), 0.038),),
}


def ur5e_urdf(*, tcp_offset: tuple[float, float, float, float, float, float], gripper: bool) -> str:
    """The description as XML; ``tcp_offset`` is ``flange_from_tcp`` (m, rotation vector in rad)."""
    robot = Element("robot", name="ur5e")
    _link(robot, ROOT_LINK, _TUBES["base"])
    parent = ROOT_LINK
    for index, joint in enumerate(JOINT_NAMES):
        link = joint.removesuffix("_joint")
        _link(robot, link, _TUBES[link])
        a, d = _OFFSETS[index - 1] if index else (0.0, 0.0)
        twist = _TWISTS[index - 1] if index else 0.0
        _joint(robot, joint, kind="revolute", parent=parent, child=link, xyz=(a, 0.0, d), rpy=(twist, 0.0, 0.0))
        parent = link
    _link(robot, "flange", ())
    _joint(robot, "flange_joint", kind="fixed", parent=parent, child="flange", xyz=(0.0, 0.0, D6), rpy=(0.0, 0.0, 0.0))
    if gripper:
        _add_gripper(robot, reach=tcp_offset[2])
    return tostring(robot, encoding="unicode")


def _add_gripper(robot: Element, *, reach: float) -> None:
    """Palm and two fingers along the flange's z axis, up to the TCP at ``reach``."""
    palm = _PALM_FRACTION * reach
    _link(robot, "palm", (_Tube((0, 0, 0), (0, 0, palm), 0.035, _DARK),))
    _joint(robot, "palm_joint", kind="fixed", parent="flange", child="palm", xyz=(0.0, 0.0, 0.0), rpy=(0.0, 0.0, 0.0))
    for name, side in zip(FINGER_JOINTS, (1.0, -1.0), strict=True):
        link = name.removesuffix("_joint")
        element = SubElement(robot, "link", name=link)
        geometry = _visual(element, xyz=(0.0, side * 0.006, (palm + reach) / 2), rpy=(0.0, 0.0, 0.0), colour=_DARK)
        SubElement(geometry, "box", size=f"0.022 0.012 {reach - palm:.6f}")
        _joint(
            robot,
            name,
            kind="prismatic",
            parent="palm",
            child=link,
            xyz=(0.0, 0.0, 0.0),
            rpy=(0.0, 0.0, 0.0),
            axis=(0.0, side, 0.0),
        )


def _link(robot: Element, name: str, tubes: tuple[_Tube, ...]) -> None:
    link = SubElement(robot, "link", name=name)
    for tube in tubes:
        along = tuple(b - a for a, b in zip(tube.start, tube.end, strict=True))
        middle = tuple((a + b) / 2 for a, b in zip(tube.start, tube.end, strict=True))
        # turns z, a cylinder's axis, into the tube's: about y, then about z
        rpy = (0.0, atan2(hypot(along[0], along[1]), along[2]), atan2(along[1], along[0]))
        length = hypot(*along)
        geometry = _visual(link, xyz=middle, rpy=rpy, colour=tube.colour)
        SubElement(geometry, "cylinder", radius=f"{tube.radius:.6f}", length=f"{length:.6f}")


def _visual(link: Element, *, xyz: tuple[float, ...], rpy: tuple[float, ...], colour: str) -> Element:
    visual = SubElement(link, "visual")
    SubElement(visual, "origin", xyz=_numbers(xyz), rpy=_numbers(rpy))
    geometry = SubElement(visual, "geometry")
    material = SubElement(visual, "material", name=colour.replace(" ", "_"))
    SubElement(material, "color", rgba=colour)
    return geometry


def _joint(
    robot: Element,
    name: str,
    *,
    kind: str,
    parent: str,
    child: str,
    xyz: Point,
    rpy: Point,
    axis: Point = (0.0, 0.0, 1.0),
) -> None:
    joint = SubElement(robot, "joint", name=name, type=kind)
    SubElement(joint, "origin", xyz=_numbers(xyz), rpy=_numbers(rpy))
    SubElement(joint, "parent", link=parent)
    SubElement(joint, "child", link=child)
    if kind != "fixed":
        SubElement(joint, "axis", xyz=_numbers(axis))
        lower, upper = (-2 * pi, 2 * pi) if kind == "revolute" else (0.0, FINGER_TRAVEL)
        SubElement(joint, "limit", lower=f"{lower:.6f}", upper=f"{upper:.6f}", effort="150", velocity="3.2")


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.9f}" for value in values)
