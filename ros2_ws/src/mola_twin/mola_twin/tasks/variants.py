"""The ways in which an episode may leave the training distribution, one at a time.

``id`` is the training scene. ``distractors`` adds objects that no instruction names, ``lighting`` changes the light's
direction, strength and tint, ``camera`` moves both cameras by centimetres and degrees, ``phrasing`` uses held-out
sentences, ``colour`` paints the named objects in colours never seen (the stacking instruction names the new ones).
"""

from dataclasses import dataclass, field

import numpy as np

from mola_core.contracts.geometry import Pose

VARIANTS = ("id", "distractors", "lighting", "camera", "phrasing", "colour")

Rgba = tuple[float, float, float, float]

NEW_BLOCK_COLOURS: dict[str, Rgba] = {
    "purple": (0.42, 0.12, 0.60, 1.0),
    "orange": (0.95, 0.45, 0.05, 1.0),
    "pink": (0.95, 0.50, 0.65, 1.0),
    "black": (0.07, 0.07, 0.08, 1.0),
}
NEW_COLOURS: dict[str, tuple[Rgba, ...]] = {
    "bottle": ((0.70, 0.10, 0.45, 1.0), (0.45, 0.30, 0.10, 1.0), (0.55, 0.75, 0.20, 1.0)),
    "bowl": ((0.85, 0.35, 0.25, 1.0), (0.20, 0.35, 0.45, 1.0), (0.45, 0.60, 0.35, 1.0)),
    "bin": ((0.60, 0.20, 0.18, 1.0), (0.20, 0.40, 0.62, 1.0), (0.72, 0.72, 0.70, 1.0)),
    "cabinet": ((0.80, 0.80, 0.78, 1.0), (0.25, 0.38, 0.32, 1.0), (0.35, 0.30, 0.45, 1.0)),
    "button": ((0.90, 0.90, 0.92, 1.0), (0.20, 0.75, 0.75, 1.0), (0.85, 0.25, 0.60, 1.0)),
}


@dataclass(frozen=True, slots=True)
class Light:
    """The one directional light of the cell."""

    direction: tuple[float, float, float] = (-0.25, 0.35, -1.0)
    diffuse: tuple[float, float, float] = (0.62, 0.62, 0.60)
    ambient: tuple[float, float, float] = (0.38, 0.38, 0.40)


@dataclass(frozen=True)
class Appearance:
    """What is seen and not touched."""

    colours: dict[str, Rgba] = field(default_factory=dict)
    """Object name -> colour, for those that differ from the training scene."""
    block_names: tuple[str, str, str] = ("red", "green", "blue")
    """Colour words of block_a, block_b, block_c."""
    light: Light = Light()
    camera_offsets: dict[str, Pose] = field(default_factory=dict)
    """Camera name -> pose of the moved camera in the frame of the unmoved one, for those that moved."""


def variant_rng(*, variant: str, seed: int) -> np.random.Generator:
    """A generator of its own for each variant and seed."""
    return np.random.default_rng([seed, 1 + VARIANTS.index(variant)])


def sample_appearance(*, variant: str, seed: int) -> Appearance:
    """The appearance of ``seed`` in ``variant``; the training scene's unless the variant changes it."""
    rng = variant_rng(variant=variant, seed=seed)
    if variant == "lighting":
        return Appearance(light=_sample_light(rng))
    if variant == "camera":
        return Appearance(camera_offsets={name: _sample_offset(rng) for name in ("third_person", "wrist")})
    if variant == "colour":
        return _sample_colours(rng)
    return Appearance()


def _sample_light(rng: np.random.Generator) -> Light:
    azimuth = rng.uniform(-np.pi, np.pi)
    slant = rng.uniform(0.5, 1.3)
    strength = rng.choice([rng.uniform(0.25, 0.45), rng.uniform(0.85, 1.1)])
    tint = np.array([1.0, 1.0, 1.0]) + rng.uniform(-0.2, 0.2) * np.array([1.0, 0.1, -1.0])
    diffuse = np.clip(strength * tint, 0, 1.2)
    ambient = np.clip(rng.uniform(0.12, 0.30) * tint, 0, 1)
    return Light(
        direction=(float(slant * np.cos(azimuth)), float(slant * np.sin(azimuth)), -1.0),
        diffuse=(float(diffuse[0]), float(diffuse[1]), float(diffuse[2])),
        ambient=(float(ambient[0]), float(ambient[1]), float(ambient[2])),
    )


def _sample_offset(rng: np.random.Generator) -> Pose:
    """2 to 5 cm and 3 to 7 degrees, each in a random direction."""
    shift, turn = rng.normal(size=3), rng.normal(size=3)
    shift *= rng.uniform(0.02, 0.05) / np.linalg.norm(shift)
    turn *= np.deg2rad(rng.uniform(3.0, 7.0)) / np.linalg.norm(turn)
    return np.concatenate([shift, turn])


def _sample_colours(rng: np.random.Generator) -> Appearance:
    words = [str(word) for word in rng.permutation(list(NEW_BLOCK_COLOURS))[:3]]
    colours = {name: choices[int(rng.integers(len(choices)))] for name, choices in NEW_COLOURS.items()}
    colours |= {f"block_{letter}": NEW_BLOCK_COLOURS[word] for letter, word in zip("abc", words, strict=True)}
    return Appearance(colours=colours, block_names=(words[0], words[1], words[2]))
