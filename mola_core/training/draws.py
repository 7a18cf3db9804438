"""Random numbers of training as a pure function of (seed, stage, step, place in the batch, purpose).

There is no generator whose state could be lost: a resumed run, and a run over any number of processes, draws for each sample what an
uninterrupted single process would have drawn.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


@dataclass(frozen=True)
class Draws:
    """The random numbers of one part of one step's batch."""

    seed: int
    """Of stage and step together."""
    places: Sequence[int]
    """Which samples of the whole batch these are."""
    device: torch.device

    def normal(self, purpose: str, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers [B, *shape], float32."""
        return self._stacked(purpose, shape, normal=True)

    def uniform(self, purpose: str, shape: Sequence[int] = ()) -> Tensor:
        """Numbers in [0, 1), [B, *shape], float32."""
        return self._stacked(purpose, shape, normal=False)

    def chance(self, purpose: str, probability: float) -> Tensor:
        """True with ``probability``, [B]."""
        return self.uniform(purpose) < probability

    def seed_for(self, purpose: str) -> int:
        """For modules that draw from the global generator (dropout, revival of dead codes): equal in all parts of a step."""
        return seed_of(self.seed, purpose)

    def _stacked(self, purpose: str, shape: Sequence[int], *, normal: bool) -> Tensor:
        generator = torch.Generator()
        rows = []
        for place in self.places:
            generator.manual_seed(seed_of(self.seed, purpose, place))
            draw = torch.randn if normal else torch.rand
            rows.append(draw(*shape, generator=generator) if shape else draw(1, generator=generator)[0])
        return torch.stack(rows).to(self.device, non_blocking=True)
