"""Random numbers of training as a pure function of (seed, stage, step, place in the batch, purpose).

There is no generator whose state could be lost: a resumed run, and a run over any number of processes or parts of a batch, draws for
each sample what an uninterrupted single process would have drawn. Two things still draw from torch's own generator, which the loop
seeds anew for every part of a step in every process: dropout, whose masks are others in another number of processes or parts, and
codebooks, for which all processes take what the first one draws. A CPU draws from a generator for each sample; on a GPU the numbers
are hashes of counters (SplitMix64, Steele et al. 2014), so that it does not wait for a CPU to draw: other numbers, of the same
distribution.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

_GOLDEN, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_BITS = 24
"""Of a uniform number: what a float32 holds."""


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


@dataclass(frozen=True)
class Draws:
    """The random numbers of one part of one step's batch; an ``ItemDraws``."""

    seed: int
    """Of stage and step together."""
    places: Sequence[int]
    """Which samples of the whole batch these are."""
    device: torch.device

    def normal(self, purpose: str, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers [B, *shape], float32."""
        if self.device.type == "cpu":
            return self._drawn(purpose, shape, normal=True)
        return hashed_normal(self._rows(purpose), shape)

    def uniform(self, purpose: str, shape: Sequence[int] = ()) -> Tensor:
        """Numbers in [0, 1), [B, *shape], float32."""
        if self.device.type == "cpu":
            return self._drawn(purpose, shape, normal=False)
        return hashed_uniform(self._rows(purpose), shape)

    def chance(self, purpose: str, probability: float) -> Tensor:
        """True with ``probability``, [B]."""
        return self.uniform(purpose) < probability

    def _drawn(self, purpose: str, shape: Sequence[int], *, normal: bool) -> Tensor:
        generator = torch.Generator()
        rows = []
        for place in self.places:
            generator.manual_seed(seed_of(self.seed, purpose, place))
            draw = torch.randn if normal else torch.rand
            rows.append(draw(*shape, generator=generator) if shape else draw(1, generator=generator)[0])
        return torch.stack(rows)

    def _rows(self, purpose: str) -> Int[Tensor, "B"]:
        """A hash for each sample."""
        places = torch.tensor(list(self.places), dtype=torch.int64).to(self.device, non_blocking=True)
        return _mixed(places * _signed(_GOLDEN) + seed_of(self.seed, purpose))


def hashed_normal(rows: Int[Tensor, "B"], shape: Sequence[int]) -> Float[Tensor, "B *shape"]:
    """Standard normal numbers that follow from each row's hash (Box and Muller)."""
    hashes = _hashes(rows, shape)
    radius = (-2.0 * (_unit(_shifted(hashes, 64 - _BITS)) + 0.5 ** (_BITS + 1)).log()).sqrt()
    return radius * (2.0 * math.pi * _unit(hashes)).cos()


def hashed_uniform(rows: Int[Tensor, "B"], shape: Sequence[int]) -> Float[Tensor, "B *shape"]:
    """Numbers in [0, 1) that follow from each row's hash."""
    return _unit(_hashes(rows, shape))


def _hashes(rows: Int[Tensor, "B"], shape: Sequence[int]) -> Int[Tensor, "B *shape"]:
    """64 bits each."""
    within = torch.arange(1, math.prod(shape) + 1, dtype=torch.int64, device=rows.device) * _signed(_GOLDEN)
    return _mixed(rows[:, None] + within).reshape(len(rows), *shape)


def _mixed(value: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """SplitMix64's output function; products wrap around."""
    value = (value ^ _shifted(value, 30)) * _signed(_MIX_1)
    value = (value ^ _shifted(value, 27)) * _signed(_MIX_2)
    return value ^ _shifted(value, 31)


def _shifted(value: Int[Tensor, "*n"], bits: int) -> Int[Tensor, "*n"]:
    """To the right, with zeros coming in from the left as if there were no sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _unit(value: Int[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The lowest bits as a number in [0, 1)."""
    return (value & ((1 << _BITS) - 1)).float() * 2.0**-_BITS


def _signed(value: int) -> int:
    """The 64 bits of ``value`` as a signed number."""
    return value - (1 << 64) if value >= 1 << 63 else value
