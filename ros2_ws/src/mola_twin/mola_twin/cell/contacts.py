"""Reading MuJoCo's contacts: who touches whom, how hard the arm leans on the furniture, whether it stands in something."""

import mujoco

from mola_twin.cell.model import CellModel

SURFACE_STIFFNESS = 4.0e4
"""N/m. The arm is driven kinematically, so MuJoCo's own force would be that of an unstoppable arm; what is reported is a
spring over the penetration, about as stiff as a UR5e under position control on a table."""

OVERLAP_M = 0.001


def furniture_force(cell: CellModel, data: mujoco.MjData) -> float:
    """Largest force between arm or gripper and the table or fixed furniture, N."""
    if data.ncon == 0:
        return 0.0
    geoms = data.contact.geom
    robot, furniture = cell.robot_geom[geoms], cell.furniture_geom[geoms]
    pressed = (robot[:, 0] & furniture[:, 1]) | (robot[:, 1] & furniture[:, 0])
    if not pressed.any():
        return 0.0
    return SURFACE_STIFFNESS * float(max(0.0, -data.contact.dist[pressed].min()))


def touch_table(cell: CellModel, data: mujoco.MjData) -> dict[str, tuple[str, ...]]:
    """For each thing the sorted names of what it touches."""
    touching: dict[str, set[str]] = {}
    for first, second in data.contact.geom[data.contact.dist < 0.0005].tolist():
        one, other = cell.geom_words[first], cell.geom_words[second]
        if one != other:
            touching.setdefault(one, set()).add(other)
            touching.setdefault(other, set()).add(one)
    return {name: tuple(sorted(others)) for name, others in touching.items()}


def penetrates(cell: CellModel, data: mujoco.MjData) -> str | None:
    """Name of a thing that some part of the robot is inside of, or None."""
    for (first, second), distance in zip(data.contact.geom.tolist(), data.contact.dist.tolist(), strict=True):
        robot_first, robot_second = cell.robot_geom[first], cell.robot_geom[second]
        if robot_first != robot_second and distance < -OVERLAP_M:
            return cell.geom_words[second if robot_first else first]
    return None
