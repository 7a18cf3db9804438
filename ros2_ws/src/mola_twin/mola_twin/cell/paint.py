"""The colours of the named objects: one MuJoCo material for each shade, so that repainting is one row each."""

import mujoco
import numpy as np

Rgba = tuple[float, float, float, float]

COLOURS: dict[str, Rgba] = {
    "bottle": (0.05, 0.62, 0.68, 1.0),
    "bowl": (0.90, 0.88, 0.82, 1.0),
    "block_a": (0.80, 0.08, 0.08, 1.0),
    "block_b": (0.10, 0.55, 0.16, 1.0),
    "block_c": (0.08, 0.18, 0.78, 1.0),
    "bin": (0.24, 0.25, 0.28, 1.0),
    "cabinet": (0.50, 0.31, 0.17, 1.0),
    "button": (0.97, 0.74, 0.05, 1.0),
}
"""Base colours of the training scene."""

SHADES = {
    "bottle/label": 0.55,
    "bowl/foot": 0.82,
    "bin/floor": 0.65,
    "cabinet/drawer": 1.35,
    **dict.fromkeys(COLOURS, 1.0),
}
"""Material -> brightness against the base colour of the object before the slash."""


def shaded(material: str, base: Rgba) -> list[float]:
    """Colour of ``material`` when its object is painted in ``base``."""
    return [*np.clip(np.multiply(base[:3], SHADES[material]), 0.0, 1.0), base[3]]


def add_paints(spec: mujoco.MjSpec) -> None:
    """Add all materials in the colours of the training scene."""
    for material in SHADES:
        spec.add_material(name=material, rgba=shaded(material, COLOURS[material.split("/")[0]]))


def repaint(model: mujoco.MjModel, colours: dict[str, Rgba]) -> None:
    """Paint the objects named in ``colours``, and all others as in the training scene."""
    for material in SHADES:
        name = material.split("/")[0]
        row = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_MATERIAL, material)
        model.mat_rgba[row] = shaded(material, colours.get(name, COLOURS[name]))
